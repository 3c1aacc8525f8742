"""The only file with compiler options, and the cache of compiled code.

Three decorators: `kernel` for compiled code that becomes part of its callers,
`unit` for the parts of a step, each compiled by itself and called through its
address, and `entry_point` for what Python calls. A unit is compiled when it is first
needed, and never again inside a caller: numba optimises a callee anew at each level
of callers, which made the first step 45 s. Only units and entry points are cached on
disk: the first call is as fast as with every kernel cached, and there is less to go
stale.

Numba's own ``cache=True`` gives wrong answers silently: it looks at the file of
the cached function alone, so an edit to a kernel in another file, or a changed
compiler setting, keeps the old machine code; and its index, written without a lock, can
name the code of other types. Here the folder's name is a digest of every file that the
package is imported from, and a file's name and checksum say which function, types and
settings it holds. What is loaded is unpickled, hence the care about whose it is.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.resources
import inspect
import math
import os
import pickle
import re
import secrets
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import caching, cgutils, serialize, types
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError as NumbaError
from numba.extending import intrinsic, models, register_model

# Settings that change the code that is compiled, and that numba's own key leaves out.
SETTINGS = (
    *("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT", "EXTEND_VARIABLE_LIFETIMES"),
    *("USING_SVML", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS"),
)
CACHE_NAME = "fastnn-compiled"
# Called before something is compiled that no file has.
listeners: list[Callable[[], None]] = []
FOLDERS_KEPT = 4
LARGEST_FILE = 2**26  # bytes; the largest that there is has 0.3 MB
CHECKSUM_BYTES = hashlib.sha256().digest_size
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
MODULE_SUFFIXES = tuple(importlib.machinery.all_suffixes())
# In each folder of compiled code: fastnn deletes none without, and archivers leave out those with
# (https://bford.info/cachedir).
MARKER = "CACHEDIR.TAG"
MARKER_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Code that fastnn compiled, and compiles again.\n"
FOLDER_NAME = re.compile(r"[0-9a-f]{16}(\.[0-9a-f]{16}\.tmp)?")
FILE_NAME = re.compile(r"(CACHEDIR\.TAG|[\w.]+-[0-9a-f]{16}\.code)(\.[0-9a-f]{16}\.tmp)?")
# Of functions that are called by symbols, what these begin with, and which are known: the function, the signature, and
# what it returns.
SYMBOL = "fastnn."
_symbols: dict[str, tuple[Any, tuple[Any, ...], Any]] = {}
# Added to a number below 2**51 it leaves the nearest whole number in the low bits.
ROUNDER = 1.5 * 2.0**52
N_WORDS = 32  # see `make_words`
# ``error_model="numpy"``: a division by zero gives inf or nan, as in NumPy, and leaves
# loops free of branches. Without wrappers for Python, compiling is a tenth faster.
UNWRAPPED = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
JIT_DISABLED: bool = getattr(numba.config, "DISABLE_JIT")  # noqa: B009 (made at run time)
# Of arrays of what `unit.address` gives.
ADDRESS = np.dtype(object if JIT_DISABLED else np.int64)


def kernel(function=None, *, inline=False, fastmath=False, returns_view=False, cached=False):
    """Compile a function that other compiled functions call. Python must not call it.

    One with `inline` becomes part of its caller before anything is compiled: right for
    what is called from one place, where it is neither compiled by itself nor handed the
    hundred words of the layout and the workspace. With the dozen that are, the first fit took
    12 s instead of 17, a step of the smallest network 0.7 us instead of 1.1. Not for what
    writes and is called from a parallel entry point: numba's passes for those take a
    write into a `view` for dead and leave it out.

    No references are counted in it: each call with the layout and the workspace as
    arguments counted some sixteen in and out, atomically, for 5 ns each. So it makes no
    arrays. One that returns a part of an array says so, since numba then asks for it;
    such are small, and the compiler takes their counting out.

    One that is `cached` is on disk, for entry points that are not.
    """
    if function is None:
        return lambda f: kernel(f, inline=inline, fastmath=fastmath, returns_view=returns_view, cached=cached)
    dispatcher = numba.njit(inline="always" if inline else "never", fastmath=fastmath, _nrt=returns_view, **UNWRAPPED)(
        function
    )
    if not JIT_DISABLED:
        dispatcher.get_call_template = functools.partial(_resolve_plainly, dispatcher.get_call_template)
        if cached:
            dispatcher._cache = _DigestCache(function)
    return dispatcher


def _resolve_plainly(resolve, arguments, keywords):
    """Find the version of a kernel for these types, a constant counting as any number of its type.

    Otherwise each constant argument makes a version of its own: thirteen of
    `work.values`, and a third of the compile time.
    """
    return resolve(_make_plain(arguments), keywords)


def _make_plain(kinds):
    """Return types, those of constants and of members of enumerations as the numbers' own."""
    plain = (types.unliteral(kind) for kind in kinds)
    return tuple(kind.dtype if isinstance(kind, types.IntEnumMember) else kind for kind in plain)


def by_code(name, arguments, functions, default=None, inline=False):
    """Return a kernel (choice, *arguments) that calls the function of that code, or default(choice, *arguments).

    Without a default, what most codes share, the last of equals, is also that of every code that is no other's. One
    `if` after another, as one would write them: functions as arguments would be compiled anew in every process. One for
    each function, not for each code: LLVM splits a loop over residuals into one for each of four, not of eleven, and a
    step of 64-32-10 in float32 takes 13.7 us instead of 16.1 (AMD EPYC, Zen 4, one thread).
    """
    groups = {}
    for code, function in functions.items():
        groups.setdefault(function, []).append(code)
    names = {f"{name}_{codes[0].name.lower()}": function for function, codes in groups.items()}
    cases = [(codes, f"{called}({arguments})") for codes, called in zip(groups.values(), names, strict=True)]
    if default is None:
        last = max(reversed(cases), key=lambda case: len(case[0]))
        cases.remove(last)
    else:
        last = [], f"default(choice, {arguments})"
    lines = []
    for codes, call in cases:
        chosen = " or ".join(f"choice == {int(code)}" for code in codes)
        lines.append(f"    if {chosen}:\n        return {call}\n")
    source = f"def {name}(choice, {arguments}):\n{''.join(lines)}    return {last[1]}\n"
    scope = {"__name__": __name__, "default": default, **names}
    exec(source, scope)
    return kernel(scope[name], inline=inline)


def entry_point(function=None, *, parallel=False, cached=True):
    """Compile a function that Python calls, without the interpreter lock, and cache it on disk.

    Not one that is handed compiled functions of others: whether those are the same, no file says.
    """
    if function is None:
        return lambda f: entry_point(f, parallel=parallel, cached=cached)
    dispatcher = numba.njit(error_model="numpy", nogil=True, parallel=parallel)(function)
    if cached and not JIT_DISABLED:
        dispatcher._cache = _DigestCache(function)
    return dispatcher


def bind(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Return an entry point for arguments of the types of these, which are not looked at any more.

    Finding the types of a dozen arguments, tuples of arrays among them, takes 4 us a call. Arguments of
    other types would be taken for what they are not.
    """
    return function if JIT_DISABLED else function.compile(sign(arguments))


def sign(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the types of arguments, by which a version of a function is known."""
    return tuple(numba.typeof(argument) for argument in arguments)


def is_kept(dispatcher: Any, signature: tuple[Any, ...]) -> bool:
    """Return whether a version of a function is compiled already, in this process or by the cache on disk."""
    return signature in dispatcher.overloads or dispatcher._cache.has(signature, dispatcher.targetctx.codegen())


def _compile(dispatcher, signature):
    """Return where a version of a function is in this process, compiled or loaded if need be, and what it returns."""
    dispatcher.compile(signature)
    compiled = dispatcher.overloads[signature]
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address, compiled.signature.return_type


def is_compiled(function: object) -> bool:
    """Return whether a function is one that numba compiles, which others can call in compiled code."""
    return isinstance(function, Dispatcher)


class unit:
    """Compile a function by itself, for compiled code that calls it through its address.

    Not a kernel, that is compiled into whatever calls it; see the module's text. It
    returns nothing. What does not change from call to call it is handed packed: copying
    that, 170 words, was a quarter of the time of the smallest network's step.
    """

    def __init__(self, function):
        self.function = function
        self._addresses = {}
        self.dispatcher = numba.njit(**UNWRAPPED, _nrt=False)(function)
        if not JIT_DISABLED:
            self.dispatcher._cache = _DigestCache(function)

    def address(self, arguments: tuple[Any, ...]) -> Any:
        """Return what `call` calls, compiled if need be: for arguments like these, the first one packed."""
        if JIT_DISABLED:
            return self.function
        signature = self.sign(arguments)
        if signature not in self._addresses:
            self._addresses[signature], _ = _compile(self.dispatcher, signature)
        return self._addresses[signature]

    def sign(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the signature for arguments like these, the first one packed."""
        shared, *rest = sign(arguments)
        return (Packed(shared), *rest)


def pack(shared):
    """Return what units are handed in place of a tuple: where it is, for as long as the caller runs."""
    return shared


def unpack(packed):
    """Return the first of the tuple's four parts, which stands where the tuple does."""
    return packed[0]


def unpack_stem(packed):
    """Return the first two: what `unpack` does, and a `layers.maps.Stem`."""
    return packed[:2]


def unpack_scheme(packed):
    """Return the first and the third: what `unpack` does, and a `schemes.scheme.Scheme` with what it has below."""
    return packed[0], packed[2]


def unpack_listed(packed):
    """Return the first and the last: what `unpack` does, and a `sparse.Listed`."""
    return packed[0], packed[3]


def unpack_all(packed):
    """Return the first three."""
    return packed[:3]


def call(address, packed, block, task, step, chunk):
    """Call a unit."""
    address(packed, block, task, step, chunk)


def call_part(address, packed, part):
    """Call a unit that does a part of what another does, such as with one layer and one sample."""
    address(packed, part)


def view(flat, start, n_rows, n_columns):
    """Return part of an array, read as a vector, as (n_rows, n_columns), for kernels."""
    return flat.reshape(-1)[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


def line(flat, start, size):
    """Return part of an array, read as a vector, as (size,), for kernels."""
    return flat.reshape(-1)[start : start + size]


def rows(flat, start, n_rows, n_columns, pitch):
    """Return part of an array, read as a vector, as rows (n_rows, n_columns) that begin `pitch` numbers apart.

    They may overlap: with channels innermost, what a kernel's row meets on its way along an image's row.
    """
    flat = flat.reshape(-1)[start:]
    return np.lib.stride_tricks.as_strided(flat, (n_rows, n_columns), (pitch * flat.itemsize, flat.itemsize))


def order_by_size(number):
    """Return an integer for a number: the larger its absolute value, the larger; nan the largest."""
    return math.inf if math.isnan(number) else abs(number)


def size_in_order(order):
    """Return the absolute value that `order_by_size` made an integer of."""
    return order


def to_bits(number):
    """Return the bits of a number as an integer of its size."""
    number = np.asarray(number)
    return number.view(f"i{number.itemsize}")[()]


def from_bits(bits):
    """Return the number that an integer has the bits of."""
    bits = np.asarray(bits)
    return bits.view(f"f{bits.itemsize}")[()]


def make_words():
    """Return room for N_WORDS words of 32 bits, for as long as the caller runs."""
    return np.empty(N_WORDS, np.uint32)


def write_signs(word, out, start):
    """Write 32 signs, +1 or, where a word's bit is set, -1, the lowest first."""
    bits = int(word) >> np.arange(32) & 1
    out[start : start + 32] = 1 - 2 * bits


def add_exponent(number, rounded):
    """Return number times two to the power of rounded - ROUNDER."""
    return math.nan if math.isnan(rounded) else math.ldexp(number, int(rounded - ROUNDER))


if not JIT_DISABLED:

    class Packed(types.Type):
        """The address of a tuple of a kind."""

        def __init__(self, kind):
            self.kind = kind
            super().__init__(f"Packed({kind})")

    register_model(Packed)(models.OpaqueModel)

    @intrinsic
    def pack(typing_context, shared):  # pragma: no cover (called by the compiler, untraced)
        """Return the address of a copy of a tuple, whole for as long as the caller runs."""

        def generate(context, builder, signature, values):
            place = cgutils.alloca_once_value(builder, values[0])
            return builder.ptrtoint(place, context.get_value_type(types.intp))

        return types.intp(shared), generate

    @intrinsic
    def unpack(typing_context, packed):  # pragma: no cover (called by the compiler, untraced)
        """Return the tuple at an address; no references are counted."""

        def generate(context, builder, signature, values):
            kind = context.get_value_type(packed.kind)
            return builder.load(builder.bitcast(values[0], kind.as_pointer()))

        return packed.kind(packed), generate

    unpack_stem = unpack_all = unpack  # a unit's signature says which part of the tuple it is handed

    def _unpack_two(packed, which):  # pragma: no cover (called by the compiler, untraced)
        """Return the type and the code of the first part and another of the tuple at an address."""
        kind = packed.kind

        def generate(context, builder, signature, values):
            whole = builder.bitcast(values[0], context.get_value_type(kind).as_pointer())
            parts = [builder.load(cgutils.gep_inbounds(builder, whole, 0, k)) for k in (0, which)]
            return context.make_tuple(builder, signature.return_type, parts)

        return types.Tuple((kind[0], kind[which]))(packed), generate

    @intrinsic
    def unpack_scheme(typing_context, packed):  # pragma: no cover (as above)
        """Return the first and the third part of the tuple at an address; no references are counted."""
        return _unpack_two(packed, 2)

    @intrinsic
    def unpack_listed(typing_context, packed):  # pragma: no cover (as above)
        """Return the first and the last part of the tuple at an address; no references are counted."""
        return _unpack_two(packed, 3)

    def call_shared(made, arguments):  # pragma: no cover (as above)
        """Return the signature and the code of a call of something shared, by the convention of compiled code."""
        plain = _make_plain(arguments)
        symbol, result = made.find(plain)

        def generate(context, builder, signature, values):
            kinds = zip(values, signature.args, plain, strict=True)
            values = [context.cast(builder, value, kind, to) for value, kind, to in kinds]
            return emit_shared_call(context, builder, symbol, result, plain, values)

        return result(*arguments), generate

    def emit_shared_call(context, builder, symbol, result, kinds, values):  # pragma: no cover (as above)
        """Emit a call of what a symbol stands for."""
        convention = context.call_conv
        callee = cgutils.get_or_insert_function(builder.module, convention.get_function_type(result, kinds), symbol)
        status, found = convention.call_function(builder, callee, result, kinds, values)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return found

    def _make_call(address, packed, *rest):  # pragma: no cover (as above)
        """Return the signature and the code of a call through an address, by the convention of compiled code."""
        arguments = (types.voidptr, *rest)

        def generate(context, builder, signature, values):
            convention = context.call_conv
            function_type = convention.get_function_type(types.none, arguments)
            address, packed, *rest = values
            pointer = builder.inttoptr(address, function_type.as_pointer())
            packed = builder.inttoptr(packed, context.get_value_type(types.voidptr))
            status, _ = convention.call_function(builder, pointer, types.none, arguments, [packed, *rest])
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.void(address, packed, *rest), generate

    @intrinsic
    def call(typing_context, address, packed, block, task, step, chunk):  # pragma: no cover (as above)
        """Call a unit."""
        return _make_call(address, packed, block, task, step, chunk)

    @intrinsic
    def call_part(typing_context, address, packed, part):  # pragma: no cover (as above)
        """Call a unit that does a part of what another does, such as with one layer and one sample."""
        return _make_call(address, packed, part)

    @intrinsic
    def order_by_size(typing_context, number):  # pragma: no cover (called by the compiler, untraced)
        """Return an integer for a number: the larger its absolute value, the larger; nan the largest.

        Its bits, without the sign. The largest of integers is found eight at a time, that of
        numbers, whose order nan does not share, one after another.
        """
        integer = types.Integer.from_bitwidth(number.bitwidth)

        def generate(context, builder, signature, values):
            bits = builder.bitcast(values[0], context.get_value_type(integer))
            return builder.and_(bits, bits.type((1 << (number.bitwidth - 1)) - 1))

        return integer(number), generate

    @intrinsic
    def size_in_order(typing_context, order):  # pragma: no cover (called by the compiler, untraced)
        """Return the absolute value that `order_by_size` made an integer of."""
        number = types.Float(f"float{order.bitwidth}")

        def generate(context, builder, signature, values):
            return builder.bitcast(values[0], context.get_value_type(number))

        return number(order), generate

    @intrinsic
    def to_bits(typing_context, number):  # pragma: no cover (called by the compiler, untraced)
        """Return the bits of a number as an integer of its size."""
        integer = types.Integer.from_bitwidth(number.bitwidth)

        def generate(context, builder, signature, values):
            return builder.bitcast(values[0], context.get_value_type(integer))

        return integer(number), generate

    @intrinsic
    def from_bits(typing_context, bits):  # pragma: no cover (called by the compiler, untraced)
        """Return the number that an integer has the bits of."""
        number = types.Float(f"float{bits.bitwidth}")

        def generate(context, builder, signature, values):
            return builder.bitcast(values[0], context.get_value_type(number))

        return number(bits), generate

    @intrinsic
    def make_words(typing_context):  # pragma: no cover (called by the compiler, untraced)
        """Return room for N_WORDS words of 32 bits, for as long as the caller runs: on the stack."""
        result_type = types.Array(types.uint32, 1, "C")

        def generate(context, builder, signature, values):
            place = cgutils.alloca_once(builder, ir.IntType(32), N_WORDS)
            return _fill_array(context, builder, result_type, place, [context.get_constant(types.intp, N_WORDS)])

        return result_type(), generate

    @intrinsic
    def write_signs(typing_context, word, out, start):  # pragma: no cover (called by the compiler, untraced)
        """Write 32 signs, +1 or, where a word's bit is set, -1, the lowest first.

        As a vector, 0.1 ns a sign: loops of so many turns are written out before they would be vectorised.
        """

        def generate(context, builder, signature, values):
            from numba.np import arrayobj

            width = out.dtype.bitwidth
            integers = ir.VectorType(ir.IntType(width), 32)
            numbers = ir.VectorType(context.get_value_type(out.dtype), 32)
            array = arrayobj.make_array(out)(context, builder, values[1])
            place = builder.bitcast(builder.gep(array.data, [values[2]]), numbers.as_pointer())
            whole = context.cast(builder, values[0], word, types.Integer.from_bitwidth(width, signed=False))
            first = builder.insert_element(ir.Constant(integers, ir.Undefined), whole, ir.IntType(32)(0))
            every = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), 32), [0] * 32))
            to_top = builder.shl(every, ir.Constant(integers, [width - 1 - k for k in range(32)]))
            sign = builder.and_(to_top, ir.Constant(integers, [1 << (width - 1)] * 32))
            one = ir.Constant(integers, [int(np.array(1.0, out.dtype.name).view(f"u{width // 8}"))] * 32)
            builder.store(builder.bitcast(builder.or_(sign, one), numbers), place, align=width // 8)
            return context.get_dummy_value()

        return types.void(word, out, start), generate

    @intrinsic
    def add_exponent(typing_context, number, rounded):  # pragma: no cover (called by the compiler, untraced)
        """Return number times two to the power of rounded - ROUNDER, a whole number in rounded's low bits.

        Loops over it vectorise; nan stays nan.
        """

        def generate(context, builder, signature, values):
            bits = ir.IntType(64)
            exponent = builder.shl(builder.bitcast(values[1], bits), bits(52))
            moved = builder.add(builder.bitcast(values[0], bits), exponent)
            return builder.bitcast(moved, context.get_value_type(types.float64))

        return types.float64(types.float64, types.float64), generate

    def _fill_array(context, builder, kind, place, shape, pitches=()):  # pragma: no cover (as above)
        """Return an array whose numbers are at a place, rows being so many numbers apart; no references are counted."""
        from numba.np import arrayobj

        array = arrayobj.make_array(kind)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        strides = [builder.mul(numbers, size) for numbers in pitches] + [size]
        arrayobj.populate_array(array, data=place, shape=shape, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    def _make_view(flat, n_dimensions, has_pitch=False):  # pragma: no cover (called by the compiler, untraced)
        """Return the type and the code of a part of an array, without a reference counted.

        A slice and a reshape do that, and check, for 60 ns each; a step takes some forty
        views. The caller's caller owns the array for as long as a kernel runs.
        """
        result_type = types.Array(flat.dtype, n_dimensions, "A" if has_pitch else "C")

        def generate(context, builder, signature, arguments):
            from numba.np import arrayobj  # 20 ms that an import of fastnn can do without

            source = arrayobj.make_array(flat)(context, builder, arguments[0])
            shape = list(arguments[2 : 2 + n_dimensions])
            pitches = [arguments[-1]] if has_pitch else shape[1:]
            place = builder.gep(source.data, [arguments[1]])
            return _fill_array(context, builder, result_type, place, shape, pitches)

        return result_type(flat, *[types.intp] * (1 + n_dimensions + has_pitch)), generate

    @intrinsic
    def view(typing_context, flat, start, n_rows, n_columns):  # pragma: no cover (called by the compiler, untraced)
        """Return part of an array, read as a vector, as (n_rows, n_columns)."""
        return _make_view(flat, 2)

    @intrinsic
    def line(typing_context, flat, start, size):  # pragma: no cover (called by the compiler, untraced)
        """Return part of an array, read as a vector, as (size,)."""
        return _make_view(flat, 1)

    @intrinsic
    def rows(typing_context, flat, start, n_rows, n_columns, pitch):  # pragma: no cover (as above)
        """Return part of an array, read as a vector, as rows that begin `pitch` numbers apart."""
        return _make_view(flat, 2, has_pitch=True)


class Shared:
    """A function that is compiled by itself, and called by a symbol; see `shared`."""

    def __init__(self, function):
        self.function = function
        self._dispatcher = numba.njit(**UNWRAPPED, _nrt=False)(function)
        self._dispatcher._cache = _DigestCache(function)

    def find(self, signature: tuple[Any, ...]) -> tuple[str, Any]:
        """Return the symbol of the version for a signature, and what it returns; compiled if need be."""
        key = repr((self.function.__module__, self.function.__name__, signature)).encode()
        symbol = f"{SYMBOL}{self.function.__name__}.{hashlib.sha256(key).hexdigest()[:16]}"
        if symbol not in _symbols:
            address, result = _compile(self._dispatcher, signature)
            binding.add_symbol(symbol, address)
            _symbols[symbol] = self, signature, result
        return symbol, _symbols[symbol][2]

    def __reduce__(self):
        return _find_shared, (self.function.__module__, self.function.__name__)


def _find_shared(module, name):
    """Return the `Shared` of a function, by where that is."""
    return getattr(importlib.import_module(module), name).shared


def _list_symbols(library):
    """Return what compiled code calls by symbols: functions and their signatures."""
    names = [function.name for function in library._final_module.functions if function.is_declaration]
    return [_symbols[name][:2] for name in names if name.startswith(SYMBOL)]


def shared(function):
    """Compile a function by itself, for compiled code that calls it as it would call a kernel.

    A kernel becomes part of each of its callers, and is optimised anew with each. A shared one is compiled once for
    each signature, and kept on disk: callers know it by a symbol, whose address is found before they are loaded. For
    what many callers have and what does enough in a call.
    """
    if JIT_DISABLED:
        return function
    made = Shared(function)
    names = ", ".join(inspect.signature(function).parameters)
    source = f"def {function.__name__}(typing_context, {names}):\n    return make_call(made, ({names},))\n"
    scope = {"__name__": function.__module__, "make_call": call_shared, "made": made}
    exec(source, scope)
    called = intrinsic(scope[function.__name__])
    called.shared = made
    return called


def user_cache_folder():
    """Return the folder that holds one folder of compiled code per digest, or None where no home is known."""
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR) / CACHE_NAME
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else "~/.cache"  # as the specification of XDG says
    base = Path(os.path.expanduser(base))
    return base / CACHE_NAME if base.is_absolute() else None


def source_digest(package, origin):
    """Return a digest of the files that a package is imported from, and of what else compiled code depends on.

    None where the module that came from `origin` is not among them, as in programs that
    are frozen into one file: then nothing tells one version's compiled code from another's.
    """
    versions = [sys.implementation.cache_tag, getattr(sys, "abiflags", ""), numba.__version__, llvmlite.__version__]
    digest = hashlib.sha256(repr([*versions, np.__version__]).encode())
    is_found = False
    try:
        for file in _find_modules(package):
            content = file.read_bytes()
            digest.update(f"{str(file)[len(str(package)) :]} {len(content)}\n".encode())
            digest.update(content)
            is_found |= os.path.normpath(str(file)) == os.path.normpath(origin)
    except OSError:
        return None
    return digest.hexdigest()[:16] if is_found else None


def _find_modules(folder):
    """Yield the files that modules are imported from: sources, in a zip file too, and bytecode without a source."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name, dot, suffix = entry.name.partition(".")
        if not name.isidentifier() or name == "__pycache__":  # an editor's, or what has its source beside it
            continue
        if dot + suffix in MODULE_SUFFIXES:
            yield entry
        elif not dot and entry.is_dir():
            yield from _find_modules(entry)


# Of the files as they are imported: later they may be another version's.
_PACKAGE = sys.modules[__name__.partition(".")[0]]
DIGEST = source_digest(importlib.resources.files(_PACKAGE), __spec__.origin or "")


def has_cache() -> bool:
    """Return whether compiled code is kept on disk."""
    return open_folder(user_cache_folder())[0] is not None


def check_folder(path, *, is_own):
    """Raise OSError where another user could put something into a folder, or another folder in its place.

    One of fastnn's own must be this user's alone. In one above, others may make what they
    like, as in ``/tmp``, but not move what is there.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{path} is not a folder")
    if not hasattr(os, "geteuid"):  # Windows, where a user's folders are closed to others
        return
    if status.st_uid != os.geteuid() and (is_own or status.st_uid != 0):
        raise PermissionError(f"{path} belongs to another user")
    if status.st_mode & OTHERS_WRITE and (is_own or not status.st_mode & stat.S_ISVTX):
        raise PermissionError(f"{path} can be written by other users")


def make_folder(folder):
    """Make a folder of compiled code, and what is missing above it, for this user alone, or raise OSError.

    Files in it are unpickled, so who can write one runs code as this user.
    """
    is_new = False
    for path in (*reversed(folder.parents), folder):
        if not os.path.lexists(path):
            path.mkdir(mode=0o700, exist_ok=True)  # another process may be as far
            is_new = True
        check_folder(path, is_own=path in (folder, folder.parent))
    marker = folder / MARKER
    if not _is_marker(marker):
        replace(marker, MARKER_TEXT)
    with contextlib.suppress(OSError):  # what cannot be written can be read
        os.utime(marker)
    if is_new:
        prune(folder)


@functools.cache
def open_folder(root):
    """Return this version's folder of compiled code, or None, and why there is none."""
    if DIGEST is None:
        return None, "the files that fastnn was imported from cannot be read"
    try:
        if root is None:
            raise FileNotFoundError("no home folder is known")
        folder = Path(os.path.realpath(root.parent), root.name, DIGEST)
        make_folder(folder)
    except OSError as error:
        return None, f"{error}. Set NUMBA_CACHE_DIR to a folder that only you can write"
    return folder, ""


def read(path):
    """Return the bytes of a file that only this user can have written; raise ValueError for anything else."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:  # a pipe would be waited for
        raise ValueError("no file of compiled code")
    if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & OTHERS_WRITE):
        raise ValueError("other users can write it")
    return path.read_bytes()


def replace(path, content):
    """Put a file under a name in one step, for this user alone, or leave what was there.

    What a crash of the machine leaves is found by its checksum: nothing waits for the disk.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _is_marker(path):
    try:
        return read(path) == MARKER_TEXT
    except (OSError, ValueError):
        return False


def _holds_code(path):
    """Return whether a folder is one that `make_folder` made, with nothing else in it: no link, no other file."""
    return (
        FOLDER_NAME.fullmatch(path.name) is not None
        and not path.is_symlink()
        and _is_marker(path / MARKER)
        and all(FILE_NAME.fullmatch(file.name) and stat.S_ISREG(file.lstat().st_mode) for file in path.iterdir())
    )


def prune(folder):
    """Delete folders of compiled code beside this one, all but the most recently used, and nothing else.

    Each is renamed first: a process that has just written there makes the folder anew.
    """
    with contextlib.suppress(OSError):
        others = [path for path in folder.parent.iterdir() if path != folder and _holds_code(path)]
        others.sort(key=lambda path: (path / MARKER).stat().st_mtime_ns, reverse=True)
        for path in others[FOLDERS_KEPT - 1 :]:
            _delete(path)


def _delete(folder):
    """Delete a folder of compiled code, as far as that is possible; the marker goes last."""
    with contextlib.suppress(OSError):
        folder = folder.rename(folder.with_name(f"{folder.name[:16]}.{secrets.token_hex(8)}.tmp"))
        for path in sorted(folder.iterdir(), key=lambda path: path.name == MARKER):
            if FILE_NAME.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


@functools.cache
def _warn_once(reason):
    warnings.warn(f"compiled code is not kept, and each process compiles it again: {reason}", stacklevel=3)


class _DigestCache(caching.NullCache):
    """A file per function, signature, processor and setting, that never stands in the way.

    Numba's own cache writes an index of signatures before the code, and without a lock:
    of two processes at once, one's index named the other's code. Here the name says what
    a file holds and its checksum covers that, too. What cannot be loaded is compiled
    again and replaced; a damaged file raises whatever its bytes make the unpickler
    raise, hence the broad `except`.
    """

    def __init__(self, function):
        self.function = f"{function.__module__}.{function.__name__}"

    def _find_file(self, folder, signature, codegen):
        """Return where code is kept, and what a checksum begins with."""
        settings = [getattr(numba.config, name, None) for name in SETTINGS]
        key = repr((self.function, signature, codegen.magic_tuple(), settings)).encode()
        return folder / f"{self.function}-{hashlib.sha256(key).hexdigest()[:16]}.code", hashlib.sha256(key)

    def has(self, signature, codegen):
        """Return whether there is a file for a signature, whatever is in it."""
        folder, _ = open_folder(user_cache_folder())
        return folder is not None and self._find_file(folder, signature, codegen)[0].exists()

    def load_overload(self, sig, target_context):
        found = self._load(sig, target_context)
        if found is None:
            for tell in [*listeners]:
                tell()
        return found

    def _load(self, sig, target_context):
        folder, _ = open_folder(user_cache_folder())
        if folder is None:
            return None  # saving will say why
        path, checksum = self._find_file(folder, sig, target_context.codegen())
        try:
            content = read(path)
            checksum.update(content[CHECKSUM_BYTES:])
            if content[:CHECKSUM_BYTES] != checksum.digest():
                raise ValueError("not what it should hold, by its checksum")
            target_context.refresh()
            called, reduced = pickle.loads(content[CHECKSUM_BYTES:])
            for other, signature in called:
                other.find(signature)
            return CompileResult._rebuild(target_context, *reduced)
        except FileNotFoundError:
            return None
        except Exception as error:
            warnings.warn(f"compiled code in {path} cannot be read ({error!r}); compiling again", stacklevel=3)
            return None

    def save_overload(self, sig, data):
        folder, reason = open_folder(user_cache_folder())
        if folder is None:
            return _warn_once(reason)
        if data.library.has_dynamic_globals:
            return None  # addresses in this process
        path, checksum = self._find_file(folder, sig, data.codegen)
        content = serialize.dumps((_list_symbols(data.library), data._reduce()))
        checksum.update(content)
        content = checksum.digest() + content
        try:
            try:
                replace(path, content)
            except FileNotFoundError:  # deleted meanwhile, by hand or by another version
                make_folder(folder)
                replace(path, content)
        except OSError as error:
            _warn_once(f"{error.strerror or error}, {folder}. Set NUMBA_CACHE_DIR to a folder that can be written")
        return None
