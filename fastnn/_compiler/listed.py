"""A product with a matrix most of whose entries are zero, as LLVM code: those that are not stand in lists.

A row's sums stay in registers while its list runs. They run in the order of the inner index, in the blocks that the
dense product has: an entry that is zero would add nothing, so the bits are the same.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn._compiler.jit import emit_shared_call
from fastnn._compiler.tile import INDEX, INT, Vectors, find_deepest, loop, make_code, splat, stride

REGISTERS = 8  # vectors of a row's sums, and, with several terms, half as many: the rest holds columns


class _Listed(Vectors):  # pragma: no cover (called by the compiler, untraced)
    """Emit ``out += scale * sum_k (a**k) b_k`` over the entries of `a` that are listed, powers entry by entry."""

    def __init__(self, module, a_type, out_type, n_terms):
        super().__init__(module, out_type)
        _, self.deepest = find_deepest(n_terms)
        pointer = out_type.as_pointer()
        lists = [INT.as_pointer(), INDEX, INDEX.as_pointer()]
        arguments = [a_type.as_pointer(), INDEX, INDEX, *lists, *[pointer] * n_terms, INDEX, pointer, *[INDEX] * 3]
        self.open(module, [*arguments, out_type], f"fastnn_listed_{a_type}_{out_type}_{n_terms}")
        self.a, self.a_row, self.a_column, self.lists, self.pitch, self.counts, *rest = self.function.args
        self.b = rest[:n_terms]
        self.b_row, self.out, self.out_row, self.n_rows, self.n_columns, scale = rest[n_terms:]
        self.scale = splat(self.builder, scale, self.vector)
        n_vectors = REGISTERS if n_terms == 1 else REGISTERS // 2
        self.emit_rest(self.emit_panels(n_vectors), n_vectors)
        self.builder.ret_void()

    def emit_panels(self, n_vectors):
        """Emit the loop over panels of so many whole vectors; return where it ends."""

        def panel(column, _):
            self.emit_rows(column, [None] * n_vectors)
            return []

        return loop(self.builder, INDEX(0), self.n_columns, INDEX(n_vectors * self.lanes), [], panel)[0]

    def emit_rest(self, column, n_vectors):
        """Emit the panel of fewer columns, whatever their number: a row's list runs once for them."""
        builder = self.builder
        left = builder.sub(self.n_columns, column)
        whole, over = builder.udiv(left, INDEX(self.lanes)), builder.urem(left, INDEX(self.lanes))
        mask = self.mask(over)
        is_over = builder.icmp_signed(">", over, INDEX(0))
        for n in range(n_vectors):
            with builder.if_then(builder.icmp_signed("==", whole, INDEX(n))), builder.if_else(is_over) as (more, even):
                with more:
                    self.emit_rows(column, [None] * n + [mask])
                with even:
                    if n:
                        self.emit_rows(column, [None] * n)

    def emit_rows(self, column, masks):
        """Emit the loop over a panel's rows."""

        def row(r, _):
            self.emit_row(r, column, masks)
            return []

        loop(self.builder, INDEX(0), self.n_rows, INDEX(1), [], row)

    def emit_row(self, r, column, masks):
        """Emit the loop over a row's list: blocks of the inner dimension, and what is listed of each."""
        builder = self.builder
        a = builder.gep(self.a, [builder.mul(r, self.a_row)])
        entries = builder.gep(self.lists, [builder.mul(r, self.pitch)])
        count = builder.load(builder.gep(self.counts, [r]))
        target = builder.add(builder.mul(r, self.out_row), column)

        def inner_index(i):
            return builder.sext(builder.load(builder.gep(entries, [i])), INDEX)

        before = builder.block
        head, block, inner, following, add, after = (
            builder.append_basic_block(name) for name in ("head", "block", "inner", "following", "add", "after")
        )
        builder.branch(head)
        builder.position_at_end(head)
        start = builder.phi(INDEX)
        start.add_incoming(INDEX(0), before)
        builder.cbranch(builder.icmp_signed("<", start, count), block, after)
        builder.position_at_end(block)
        first = inner_index(start)
        edge = builder.mul(builder.add(builder.udiv(first, INDEX(self.deepest)), INDEX(1)), INDEX(self.deepest))
        builder.branch(inner)
        builder.position_at_end(inner)
        i, k, *sums = [builder.phi(kind) for kind in (INDEX, INDEX, *[self.vector] * len(masks))]
        number = builder.load(builder.gep(a, [builder.mul(k, self.a_column)]))
        if number.type != self.out_type:
            number = builder.fpext(number, self.out_type)
        factor = splat(builder, number, self.vector)
        source = builder.add(builder.mul(k, self.b_row), column)
        results = []
        for v, mask in enumerate(masks):
            bracket = self.load(self.b[-1], source, v, mask)
            for b in reversed(self.b[:-1]):
                bracket = self.multiply_add(factor, bracket, self.load(b, source, v, mask))
            results.append(self.multiply_add(factor, bracket, sums[v]))
        end = builder.add(i, INDEX(1))
        builder.cbranch(builder.icmp_signed("<", end, count), following, add)
        builder.position_at_end(following)
        next_k = inner_index(end)
        builder.cbranch(builder.icmp_signed("<", next_k, edge), inner, add)
        for phi, value in zip((i, k, *sums), (start, first, *[self.vector(None)] * len(masks)), strict=True):
            phi.add_incoming(value, block)
        for phi, value in zip((i, k, *sums), (end, next_k, *results), strict=True):
            phi.add_incoming(value, following)
        builder.position_at_end(add)
        for v, (result, mask) in enumerate(zip(results, masks, strict=True)):
            self.add(target, v, result, mask)
        start.add_incoming(end, add)
        builder.branch(head)
        builder.position_at_end(after)


def _make_listed(n_terms):  # pragma: no cover (as above)
    def emit(module, kinds):
        return _Listed(module, kinds[0].pointee, kinds[-1], n_terms).function

    return make_code(__name__, f"listed_{n_terms}", emit, 12 + n_terms)


listed_1, listed_2, listed_3 = LISTED = [_make_listed(n_terms) for n_terms in (1, 2, 3)]


@intrinsic
def add_listed(typing_context, a, lists, counts, b, first, last, scale, out):  # pragma: no cover (as above)
    """Add scale * sum_k (a**k) b_k to rows first to last of out, of `a` what is listed; see `_Listed`.

    a (n, m) of any strides; lists (n, pitch) int32, rows contiguous and rising; counts (n,) int64, how many of each
    row; b a tuple of C-contiguous (m, p) of one shape; out (n, p) C-contiguous.
    """
    n_terms = len(b)
    signature = types.void(a, lists, counts, b, types.intp, types.intp, out.dtype, out)
    ours, theirs, index = types.CPointer(a.dtype), types.CPointer(out.dtype), types.intp
    rows = ours, index, index, types.CPointer(lists.dtype), index, types.CPointer(counts.dtype)
    kinds = (*rows, *[theirs] * n_terms, index, theirs, *[index] * 3, out.dtype)
    symbol, result = LISTED[n_terms - 1].shared.find(kinds)

    def generate(context, builder, signature, arguments):
        from numba.np import arrayobj  # 20 ms that an import of fastnn can do without

        a_array, list_array, count_array, out_array = (
            arrayobj.make_array(kind)(context, builder, arguments[k])
            for k, kind in ((0, a), (1, lists), (2, counts), (7, out))
        )
        b_arrays = [
            arrayobj.make_array(b[k])(context, builder, builder.extract_value(arguments[3], k)) for k in range(n_terms)
        ]
        first, last, scale = arguments[4:7]

        def begin(array, pitch):
            return builder.gep(array.data, [builder.mul(first, pitch)])

        a_row, out_row, pitch = (
            stride(builder, array, 0, kind.dtype)
            for array, kind in ((a_array, a), (out_array, out), (list_array, lists))
        )
        values = [
            begin(a_array, a_row),
            a_row,
            stride(builder, a_array, 1, a.dtype),
            begin(list_array, pitch),
            pitch,
            begin(count_array, INDEX(1)),
            *[array.data for array in b_arrays],
            stride(builder, b_arrays[0], 0, out.dtype),
            begin(out_array, out_row),
            out_row,
            builder.sub(last, first),
            cgutils.unpack_tuple(builder, out_array.shape)[1],
            scale,
        ]
        emit_shared_call(context, builder, symbol, result, kinds, values)
        return context.get_dummy_value()

    return signature, generate
