"""The inner loops of a dense product as LLVM code: a tile of the result in registers.

Loops that numba compiles keep the result in memory: 44 GFLOP/s at 32 x 784 x 100 in
float64 on one core. Here a tile of 8 rows (4 with sixteen registers) and up to 3 vectors
of columns stays in registers while the inner dimension runs: 53, OpenBLAS 37, the core's
peak 57; in float32 100, OpenBLAS 82. Each sum runs in the order of the inner index, in
blocks of one size, whatever tile it falls into: its bits do not depend on its neighbours,
nor on the threads.
"""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

from fastnn._compiler.jit import emit_shared_call, shared

INT, INDEX, BOOL, DOUBLE = ir.IntType(32), ir.IntType(64), ir.IntType(1), ir.DoubleType()


def find_registers():  # pragma: no cover (one of them, by machine)
    """Return how wide the registers are, in bits, that code is compiled for, and how many there are.

    By NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX, where they are set, as numba does.
    """
    features = config.CPU_FEATURES
    features = (codegen.get_host_cpu_features() if features is None else features).split(",")
    if "+avx512f" in features:
        return 512, 32
    if platform.machine().lower() in ("aarch64", "arm64"):
        return 128, 32
    return 256 if "+avx" in features else 128, 16


VECTOR_BITS, N_REGISTERS = find_registers()
# Rows of a tile, the most first. Sixteen registers do not hold eight: with AVX2, 32 x 392 x 100
# ran at 52 and 72 GFLOP/s (float64, float32) by four rows, at 35 and 62 by eight.
ROWS = (8, 4, 2, 1) if N_REGISTERS == 32 else (4, 2, 1)
PACKED_BYTES = 48 * 2**10  # of a panel, in the nearest cache or the next
WHOLE = 0  # the case of a panel without a mask
UNPACKED = 32  # rows that a panel is not copied for: 32 x 392 x 100 is a tenth faster without


def find_deepest(n_terms):  # pragma: no cover (called by the compiler, perhaps in another process)
    """Return how many vectors a panel is wide at most, and how many rows of it a block has at most."""
    # Accumulators, columns and a row's factor share the registers.
    widest = 3 if n_terms == 1 else 2
    return widest, PACKED_BYTES // (widest * n_terms * VECTOR_BITS // 8)


def splat(builder, number, kind):  # pragma: no cover (called by the compiler, untraced)
    """Return a vector of one number."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, INT(0))
    everywhere = ir.Constant(ir.VectorType(INT, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, everywhere)


def stride(builder, array, axis, kind):  # pragma: no cover (as above)
    """Return the stride of an array's axis, in numbers of its type."""
    return builder.sdiv(cgutils.unpack_tuple(builder, array.strides)[axis], INDEX(kind.bitwidth // 8))


def loop(builder, start, stop, step, carried, body):  # pragma: no cover (as above)
    """Emit ``while k + step <= stop``, from `start` on; return the last k and what is carried."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k, *phis = [builder.phi(value.type) for value in (start, *carried)]
    for phi, value in zip((k, *phis), (start, *carried), strict=True):
        phi.add_incoming(value, before)
    end = builder.add(k, step)
    builder.cbranch(builder.icmp_signed("<=", end, stop), inside, after)
    builder.position_at_end(inside)
    results = body(k, phis)
    for phi, value in zip((k, *phis), (end, *results), strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return k, phis


class Vectors:  # pragma: no cover (called by the compiler, untraced)
    """What emits code for vectors of the widest registers there are: of one type, the last of a row masked."""

    def __init__(self, module, out_type):
        self.out_type = out_type
        self.bytes = 8 if isinstance(out_type, ir.DoubleType) else 4
        self.lanes = VECTOR_BITS // (8 * self.bytes)
        self.vector = ir.VectorType(out_type, self.lanes)
        self.mask_type = ir.VectorType(BOOL, self.lanes)
        vectors = self.vector.as_pointer()
        suffix = f"v{self.lanes}f{8 * self.bytes}"
        parts = {
            "fmuladd": (self.vector, [self.vector] * 3, f"llvm.fmuladd.{suffix}"),
            "load": (self.vector, [vectors, INT, self.mask_type, self.vector], f"llvm.masked.load.{suffix}.p0"),
            "store": (ir.VoidType(), [self.vector, vectors, INT, self.mask_type], f"llvm.masked.store.{suffix}.p0"),
        }
        self.parts = {
            key: cgutils.get_or_insert_function(module, ir.FunctionType(result, arguments), name)
            for key, (result, arguments, name) in parts.items()
        }

    def open(self, module, arguments, name):
        """Make the function, shared by all callers in a module, and begin with its code."""
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.function.linkage = "linkonce_odr"
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))

    def mask(self, n_left):
        """Return which lanes of a vector are among so many numbers."""
        lanes = ir.VectorType(INDEX, self.lanes)
        inside = splat(self.builder, n_left, lanes)
        return self.builder.icmp_signed("<", ir.Constant(lanes, list(range(self.lanes))), inside)

    def multiply_add(self, x, y, z):
        return self.builder.call(self.parts["fmuladd"], [x, y, z])

    def place(self, base, offset, v):
        """Return the address of vector v from an offset on."""
        offset = self.builder.add(offset, INDEX(v * self.lanes))
        return self.builder.bitcast(self.builder.gep(base, [offset]), self.vector.as_pointer())

    def load(self, base, offset, v, mask):
        address = self.place(base, offset, v)
        if mask is None:
            return self.builder.load(address, align=self.bytes)
        return self.builder.call(self.parts["load"], [address, INT(self.bytes), mask, self.vector(None)])

    def store(self, value, base, offset, v, mask):
        address = self.place(base, offset, v)
        if mask is None:
            self.builder.store(value, address, align=self.bytes)
        else:
            self.builder.call(self.parts["store"], [value, address, INT(self.bytes), mask])

    def add(self, offset, v, total, mask):
        """Add the scaled total of vector v from an offset on to the result."""
        value = self.multiply_add(self.scale, total, self.load(self.out, offset, v, mask))
        self.store(value, self.out, offset, v, mask)


class _Product(Vectors):  # pragma: no cover (as above)
    """Emit ``out += scale * sum_k (a**k) b_k``, powers entry by entry.

    The emitted function takes pointers, strides in numbers, and sizes; it is shared
    by all callers in a module. The powers are never stored: per entry of `a` the
    bracket ``b_1 + a (b_2 + a b_3)`` is formed by Horner's rule.

    Panels of columns and blocks of the inner dimension are outermost. What a block needs of
    a panel is copied side by side for the tiles that share it, if they are many: rows of 512
    numbers, 4 kB apart, all want the same few places of the cache. 64 x 512 x 512 in float64
    runs at 79 GFLOP/s, 41 without, on a core whose peak is 99.
    """

    def __init__(self, module, a_type, out_type, n_terms):
        super().__init__(module, out_type)
        self.widen = a_type != out_type
        self.n_terms = n_terms
        self.widest, self.deepest = find_deepest(n_terms)
        pointer = out_type.as_pointer()
        arguments = [a_type.as_pointer(), INDEX, INDEX, *[pointer] * n_terms, INDEX, pointer, *[INDEX] * 4, out_type]
        self.open(module, arguments, f"fastnn_product_{a_type}_{out_type}_{n_terms}")
        self.a, self.a_row, self.a_column, *rest = self.function.args
        self.b = rest[:n_terms]
        self.b_row, self.out, self.out_row, self.n_rows, self.n_inner, self.n_columns, scale = rest[n_terms:]
        self.scale = splat(self.builder, scale, self.vector)
        self.packed = [
            cgutils.alloca_once(self.builder, self.vector, self.deepest * self.widest, f"packed{k}")
            for k in range(n_terms)
        ]
        for buffer in self.packed:
            buffer.align = VECTOR_BITS // 8
        self.packs = self.builder.icmp_signed(">", self.n_rows, INDEX(UNPACKED))
        self.emit_columns()

    def emit_columns(self):
        """Emit the loop over panels of columns; four vectors left become two and two."""
        builder = self.builder
        start, panel, following, leave = (
            self.function.append_basic_block(name) for name in ("start", "panel", "following", "leave")
        )
        empty = [builder.icmp_signed("<=", n, INDEX(0)) for n in (self.n_inner, self.n_columns)]
        builder.cbranch(builder.or_(*empty), leave, start)
        builder.position_at_end(start)
        builder.branch(panel)
        builder.position_at_end(panel)
        column = builder.phi(INDEX)
        column.add_incoming(INDEX(0), start)
        columns_left = builder.sub(self.n_columns, column)
        vectors_left = builder.sdiv(builder.add(columns_left, INDEX(self.lanes - 1)), INDEX(self.lanes))
        many = builder.icmp_signed(">=", vectors_left, INDEX(self.widest))
        width = builder.select(many, INDEX(self.widest), vectors_left)
        if self.widest == 3:
            width = builder.select(builder.icmp_signed("==", vectors_left, INDEX(4)), INDEX(2), width)
        # A mask would take one of the registers, and a masked store a dozen cycles (AVX2, AMD): a panel that is whole
        # and of the widest has none.
        whole = builder.icmp_signed(">=", columns_left, INDEX(self.widest * self.lanes))
        choice = builder.switch(builder.select(whole, INDEX(WHOLE), width), leave)
        ends = []
        for case in (WHOLE, *range(1, self.widest + 1)):
            block = self.function.append_basic_block(f"panel{case}")
            choice.add_case(INDEX(case), block)
            builder.position_at_end(block)
            n_vectors = case or self.widest
            masks = [None] * n_vectors
            if case != WHOLE:
                masks[-1] = self.mask(builder.sub(columns_left, INDEX((n_vectors - 1) * self.lanes)))
            self.emit_blocks(column, masks)
            ends.append((builder.add(column, INDEX(n_vectors * self.lanes)), builder.block))
            builder.branch(following)
        builder.position_at_end(following)
        end = builder.phi(INDEX)
        for value, block in ends:
            end.add_incoming(value, block)
        column.add_incoming(end, following)
        builder.cbranch(builder.icmp_signed("<", end, self.n_columns), panel, leave)
        builder.position_at_end(leave)
        builder.ret_void()

    def emit_blocks(self, column, masks):
        """Emit the loop over blocks of the inner dimension, for one panel of a vector for each mask, None for none."""
        builder = self.builder
        before = builder.block
        head, pack, tiles, after = (builder.append_basic_block(name) for name in ("block", "pack", "tiles", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        block = builder.phi(INDEX)
        block.add_incoming(INDEX(0), before)
        left = builder.sub(self.n_inner, block)
        depth = builder.select(builder.icmp_signed("<", left, INDEX(self.deepest)), left, INDEX(self.deepest))
        start = builder.add(builder.mul(block, self.b_row), column)
        straight = [builder.gep(b, [start]) for b in self.b]
        packed = [builder.bitcast(buffer, self.out_type.as_pointer()) for buffer in self.packed]
        width = INDEX(len(masks) * self.lanes)
        builder.cbranch(self.packs, pack, tiles)
        builder.position_at_end(pack)
        k = builder.phi(INDEX)
        k.add_incoming(INDEX(0), head)
        source, target = builder.mul(k, self.b_row), builder.mul(k, width)
        for b, buffer in zip(straight, packed, strict=True):
            for v, mask in enumerate(masks):
                self.store(self.load(b, source, v, mask), buffer, target, v, None)
        following = builder.add(k, INDEX(1))
        k.add_incoming(following, pack)
        builder.cbranch(builder.icmp_signed("<", following, depth), pack, tiles)
        builder.position_at_end(tiles)
        b = [builder.phi(pointer.type) for pointer in straight]
        b_row = builder.phi(INDEX)
        for phi, direct, copied in zip([*b, b_row], [*straight, self.b_row], [*packed, width], strict=True):
            phi.add_incoming(direct, head)
            phi.add_incoming(copied, pack)
        self.emit_rows(column, block, depth, b, b_row, masks)
        end = builder.add(block, depth)
        block.add_incoming(end, builder.block)
        builder.cbranch(builder.icmp_signed("<", end, self.n_inner), head, after)
        builder.position_at_end(after)

    def emit_rows(self, column, block, depth, b, b_row, masks):
        """Emit the loops over the rows of one block: tiles of the most rows, then of fewer."""
        builder = self.builder
        first, before = INDEX(0), builder.block
        for n_rows in ROWS:
            head, body, after = (builder.append_basic_block(f"{name}{n_rows}") for name in ("rows", "tile", "after"))
            builder.branch(head)
            builder.position_at_end(head)
            row = builder.phi(INDEX)
            row.add_incoming(first, before)
            end = builder.add(row, INDEX(n_rows))
            builder.cbranch(builder.icmp_signed("<=", end, self.n_rows), body, after)
            builder.position_at_end(body)
            self.emit_tile(n_rows, row, column, block, depth, b, b_row, masks)
            row.add_incoming(end, builder.block)
            builder.branch(head)
            builder.position_at_end(after)
            first, before = row, after

    def emit_tile(self, n_rows, row, column, block, depth, b_bases, b_row, masks):
        """Emit one tile: the loop over the block's inner dimension, then the addition to the result."""
        builder = self.builder
        rows = [builder.add(row, INDEX(r)) for r in range(n_rows)]
        inside = builder.mul(block, self.a_column)
        starts = [builder.gep(self.a, [builder.add(builder.mul(r, self.a_row), inside)]) for r in rows]
        before = builder.block
        loop, after = builder.append_basic_block("inner"), builder.append_basic_block("add")
        builder.branch(loop)
        builder.position_at_end(loop)
        counters = [(INDEX(0), INDEX(1)), (INDEX(0), self.a_column), (INDEX(0), b_row)]
        k, a_offset, b_offset = phis = [builder.phi(INDEX) for _ in counters]
        sums = [[builder.phi(self.vector) for _ in masks] for _ in rows]
        b = [[self.load(base, b_offset, v, mask) for v, mask in enumerate(masks)] for base in b_bases]
        results = []
        for r, start in enumerate(starts):
            number = builder.load(builder.gep(start, [a_offset]))
            if self.widen:
                number = builder.fpext(number, self.out_type)
            factor = splat(self.builder, number, self.vector)
            results.append([])
            for v in range(len(masks)):
                bracket = b[-1][v]
                for term in reversed(b[:-1]):
                    bracket = self.multiply_add(factor, bracket, term[v])
                results[r].append(self.multiply_add(factor, bracket, sums[r][v]))
        for phi, (first, stride) in zip(phis, counters, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(builder.add(phi, stride), loop)
        for sums_row, results_row in zip(sums, results, strict=True):
            for phi, result in zip(sums_row, results_row, strict=True):
                phi.add_incoming(self.vector(None), before)
                phi.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", builder.add(k, INDEX(1)), depth), loop, after)
        builder.position_at_end(after)
        for r, results_row in zip(rows, results, strict=True):
            offset = builder.add(builder.mul(r, self.out_row), column)
            for v, (result, mask) in enumerate(zip(results_row, masks, strict=True)):
                self.add(offset, v, result, mask)


def make_code(module, name, emit, n_arguments):  # pragma: no cover (as above)
    """Return a function of a module that is compiled by itself, of so many numbers and pointers: what `emit` emits.

    That is called with a module and the arguments' types, and returns an LLVM function.
    """
    names = ", ".join(f"argument{k}" for k in range(n_arguments))
    source = f"def code(typing_context, {names}):\n    return types.void({names}), generate\n"
    source += f"def {name}({names}):\n    code({names})\n"

    def generate(context, builder, signature, values):
        builder.call(emit(builder.module, [value.type for value in values]), values)
        return context.get_dummy_value()

    scope = {"__name__": module, "types": types, "generate": generate}
    exec(source, scope)
    scope["code"] = intrinsic(scope["code"])
    return shared(scope[name])


def _make_product(n_terms):  # pragma: no cover (as above)
    def emit(module, kinds):
        return _Product(module, kinds[0].pointee, kinds[3].pointee, n_terms).function

    return make_code(__name__, f"product_{n_terms}", emit, 10 + n_terms)


product_1, product_2, product_3 = PRODUCTS = [_make_product(n_terms) for n_terms in (1, 2, 3)]


@intrinsic
def add_tiles(typing_context, a, b, first, last, scale, out):  # pragma: no cover (as above)
    """Add scale * sum_k (a**k) b_k to rows first to last of out; see `_Product`.

    a (n, m) of any strides; b a tuple of C-contiguous (m, p) of one shape; out (n, p) C-contiguous.
    """
    n_terms = len(b)
    signature = types.void(a, b, types.intp, types.intp, out.dtype, out)
    ours, theirs = types.CPointer(a.dtype), types.CPointer(out.dtype)
    kinds = (ours, types.intp, types.intp, *[theirs] * n_terms, types.intp, theirs, *[types.intp] * 4, out.dtype)
    symbol, result = PRODUCTS[n_terms - 1].shared.find(kinds)

    def generate(context, builder, signature, arguments):
        from numba.np import arrayobj  # 20 ms that an import of fastnn can do without

        a_array = arrayobj.make_array(a)(context, builder, arguments[0])
        b_arrays = [
            arrayobj.make_array(b[k])(context, builder, builder.extract_value(arguments[1], k)) for k in range(n_terms)
        ]
        _, _, first, last, scale, out_value = arguments
        out_array = arrayobj.make_array(out)(context, builder, out_value)

        a_row, out_row = stride(builder, a_array, 0, a.dtype), stride(builder, out_array, 0, out.dtype)
        values = [
            builder.gep(a_array.data, [builder.mul(first, a_row)]),
            a_row,
            stride(builder, a_array, 1, a.dtype),
            *[array.data for array in b_arrays],
            stride(builder, b_arrays[0], 0, out.dtype),
            builder.gep(out_array.data, [builder.mul(first, out_row)]),
            out_row,
            builder.sub(last, first),
            cgutils.unpack_tuple(builder, a_array.shape)[1],
            cgutils.unpack_tuple(builder, out_array.shape)[1],
            scale,
        ]
        emit_shared_call(context, builder, symbol, result, kinds, values)
        return context.get_dummy_value()

    return signature, generate


LANES = 4  # numbers of float64 that are taken together in `add_taps`
STRIP = 4  # vectors that stay in registers


class _Taps:  # pragma: no cover (called by the compiler, untraced)
    """Emit ``out += sum_ij weights[i, j] moved[i, j]``: one row of changes, from those under a kernel.

    Sixteen numbers of the row at a time stay in registers while all taps run. What numba makes of
    such loops asks for each short run whether any two of its arrays overlap.
    """

    def __init__(self, module, weight_type, name):
        self.vector = ir.VectorType(DOUBLE, LANES)
        self.fmuladd = cgutils.get_or_insert_function(
            module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fmuladd.v{LANES}f64"
        )
        number = DOUBLE.as_pointer()
        arguments = [weight_type.as_pointer(), INDEX, INDEX, number, INDEX, INDEX, INDEX, number, INDEX]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.function.linkage = "linkonce_odr"
        self.function.attributes.add("noinline")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.weights, self.w_pitch, self.w_step, self.moved, self.m_pitch = self.function.args[:5]
        self.n_rows, self.n_taps, self.out, self.size = self.function.args[5:]
        column = INDEX(0)
        for n_vectors in (STRIP, 1):
            column = self.emit_strips(column, n_vectors)
        self.builder.ret_void()

    def place(self, base, offset, v):
        """Return the address of vector v from an offset on."""
        offset = self.builder.add(offset, INDEX(v * LANES))
        return self.builder.bitcast(self.builder.gep(base, [offset]), self.vector.as_pointer())

    def emit_strips(self, column, n_vectors):
        """Emit the loop over strips of the row, so many vectors each; return where it ends."""

        def strip(column, _):
            places = [self.place(self.out, column, v) for v in range(n_vectors)]
            sums = [self.builder.load(place, align=8) for place in places]
            _, sums = loop(
                self.builder, INDEX(0), self.n_rows, INDEX(1), sums, lambda i, sums: self.emit_row(column, i, sums)
            )
            for place, total in zip(places, sums, strict=True):
                self.builder.store(total, place, align=8)
            return []

        end, _ = loop(self.builder, column, self.size, INDEX(n_vectors * LANES), [], strip)
        return end

    def emit_row(self, column, i, sums):
        """Emit the loop over the taps of one row of the kernel."""
        builder = self.builder
        weights = builder.gep(self.weights, [builder.mul(i, self.w_pitch)])
        moved = builder.gep(self.moved, [builder.add(builder.mul(i, self.m_pitch), column)])

        def tap(j, sums):
            weight = builder.load(builder.gep(weights, [builder.mul(j, self.w_step)]))
            weight = weight if weight.type == DOUBLE else builder.fpext(weight, DOUBLE)
            factor = splat(builder, weight, self.vector)
            start = builder.mul(j, self.size)
            return [
                builder.call(self.fmuladd, [factor, builder.load(self.place(moved, start, v), align=8), total])
                for v, total in enumerate(sums)
            ]

        return loop(self.builder, INDEX(0), self.n_taps, INDEX(1), sums, tap)[1]


@intrinsic
def add_taps(typing_context, weights, w_pitch, w_step, moved, m_pitch, n_rows, n_taps, out):  # pragma: no cover
    """Add sum_ij weights[i * w_pitch + j * w_step] moved[i * m_pitch + j * out.size + b] to out[b].

    Vectors; moved and out are float64, out.size is a multiple of LANES.
    """
    signature = types.void(weights, types.intp, types.intp, moved, types.intp, types.intp, types.intp, out)

    def generate(context, builder, signature, arguments):
        from numba.np import arrayobj  # as above

        weights_array, moved_array, out_array = (
            arrayobj.make_array(kind)(context, builder, arguments[k])
            for k, kind in ((0, weights), (3, moved), (7, out))
        )
        weight_type = context.get_value_type(weights.dtype)
        name = f"fastnn_taps_{weight_type}"
        function = builder.module.globals.get(name) or _Taps(builder.module, weight_type, name).function
        size = cgutils.unpack_tuple(builder, out_array.shape)[0]
        data = weights_array.data, *arguments[1:3], moved_array.data, *arguments[4:7], out_array.data, size
        builder.call(function, data)
        return context.get_dummy_value()

    return signature, generate
