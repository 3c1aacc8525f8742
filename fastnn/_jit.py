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
compiler setting, keeps the old machine code. Here the folder's name is a digest
of every source file of the package and of the settings that change the code.
"""

import contextlib
import functools
import hashlib
import math
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import caching, cgutils, types
from numba.extending import intrinsic, models, register_model

PACKAGE = Path(__file__).parent
# Settings that change the code that is compiled, and that numba's own key leaves out.
SETTINGS = ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")
FOLDERS_KEPT = 4
# Added to a number below 2**51 it leaves the nearest whole number in the low bits.
ROUNDER = 1.5 * 2.0**52
# ``error_model="numpy"``: a division by zero gives inf or nan, as in NumPy, and leaves
# loops free of branches. Without wrappers for Python, compiling is a tenth faster.
UNWRAPPED = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
JIT_DISABLED: bool = getattr(numba.config, "DISABLE_JIT")  # noqa: B009 (made at run time)


def kernel(function=None, *, inline=False, fastmath=False, returns_view=False):
    """Compile a function that other compiled functions call. Python must not call it.

    One with `inline` becomes part of its caller before anything is compiled: right for
    what is called from one place, where it is neither compiled by itself nor handed the
    hundred words of the layout and the room. With the dozen that are, the first fit took
    12 s instead of 17, a step of the smallest network 0.7 us instead of 1.1. Not for what
    writes and is called from a parallel entry point: numba's passes for those take a
    write into a `view` for dead and leave it out.

    No references are counted in it: each call with the layout and the room as
    arguments counted some sixteen in and out, atomically, for 5 ns each. So it makes no
    arrays. One that returns a part of an array says so, since numba then asks for it;
    such are small, and the compiler takes their counting out.
    """
    if function is None:
        return lambda f: kernel(f, inline=inline, fastmath=fastmath, returns_view=returns_view)
    dispatcher = numba.njit(inline="always" if inline else "never", fastmath=fastmath, _nrt=returns_view, **UNWRAPPED)(
        function
    )
    if not JIT_DISABLED:
        dispatcher.get_call_template = functools.partial(_resolve_plainly, dispatcher.get_call_template)
    return dispatcher


def _resolve_plainly(resolve, arguments, keywords):
    """Find the version of a kernel for these types, a constant counting as any number of its type.

    Otherwise each constant argument makes a version of its own: thirteen of
    `work.values`, and a third of the compile time.
    """
    plain = (types.unliteral(kind) for kind in arguments)
    return resolve(tuple(kind.dtype if isinstance(kind, types.IntEnumMember) else kind for kind in plain), keywords)


def by_code(name, arguments, functions, default=None, inline=False):
    """Return a kernel (choice, *arguments) that calls the function of that code, or default(choice, *arguments).

    Without a default the last function is that of every code that is no other's. One `if` after
    another, as one would write them: functions as arguments would be compiled anew in every process.
    """
    names = {f"{name}_{code.name.lower()}": function for code, function in functions.items()}
    *cases, last = [(int(code), f"{called}({arguments})") for code, called in zip(functions, names, strict=True)]
    if default is not None:
        cases, last = [*cases, last], (None, f"default(choice, {arguments})")
    lines = [f"    if choice == {code}:\n        return {call}\n" for code, call in cases]
    source = f"def {name}(choice, {arguments}):\n{''.join(lines)}    return {last[1]}\n"
    scope = {"__name__": __name__, "default": default, **names}
    exec(source, scope)
    return kernel(scope[name], inline=inline)


def entry_point(function=None, *, parallel=False):
    """Compile a function that Python calls, without the interpreter lock, and cache it on disk."""
    if function is None:
        return lambda f: entry_point(f, parallel=parallel)
    dispatcher = numba.njit(error_model="numpy", nogil=True, parallel=parallel)(function)
    if not JIT_DISABLED:
        dispatcher._cache = _DigestCache(function)
    return dispatcher


class unit:
    """Compile a function by itself, for compiled code that calls it through its address.

    Not a kernel, that is compiled into whatever calls it; see the module's text. It
    returns nothing. What does not change from call to call it is handed packed: copying
    that, 170 words, was a quarter of the time of the smallest network's step.
    """

    def __init__(self, function):
        self.function = function
        self._addresses = {}
        self._dispatcher = numba.njit(**UNWRAPPED, _nrt=False)(function)
        if not JIT_DISABLED:
            self._dispatcher._cache = _DigestCache(function)

    def address(self, arguments: tuple[Any, ...]) -> Any:
        """Return what `call` calls, compiled if need be: for arguments like these, the first one packed."""
        if JIT_DISABLED:
            return self.function
        shared, *rest = (numba.typeof(argument) for argument in arguments)
        signature = (Packed(shared), *rest)
        if signature not in self._addresses:
            self._dispatcher.compile(signature)
            compiled = self._dispatcher.overloads[signature]
            self._addresses[signature] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        return self._addresses[signature]


def pack(shared):
    """Return what units are handed in place of a tuple: where it is, for as long as the caller runs."""
    return shared


def unpack(packed):
    """Return the tuple."""
    return packed


def call(address, packed, block, task, step, chunk):
    """Call a unit."""
    address(packed, block, task, step, chunk)


def view(flat, start, n_rows, n_columns):
    """Return part of an array, read as a vector, as (n_rows, n_columns), for kernels."""
    return flat.reshape(-1)[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


def line(flat, start, size):
    """Return part of an array, read as a vector, as (size,), for kernels."""
    return flat.reshape(-1)[start : start + size]


def order_by_size(number):
    """Return an integer for a number: the larger its absolute value, the larger; nan the largest."""
    return math.inf if math.isnan(number) else abs(number)


def size_in_order(order):
    """Return the absolute value that `order_by_size` made an integer of."""
    return order


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

    @intrinsic
    def call(typing_context, address, packed, block, task, step, chunk):  # pragma: no cover (as above)
        """Call a unit through its address, with the calling convention of compiled code."""
        arguments = (types.voidptr, block, task, step, chunk)

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

        return types.void(address, packed, *arguments[1:]), generate

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

    def _make_view(flat, n_dimensions):  # pragma: no cover (called by the compiler, untraced)
        """Return the type and the code of a part of an array, without a reference counted.

        A slice and a reshape do that, and check, for 60 ns each; a step takes some forty
        views. The caller's caller owns the array for as long as a kernel runs.
        """
        result_type = types.Array(flat.dtype, n_dimensions, "C")

        def generate(context, builder, signature, arguments):
            from numba.np import arrayobj  # 20 ms that an import of fastnn can do without

            source = arrayobj.make_array(flat)(context, builder, arguments[0])
            result = arrayobj.make_array(result_type)(context, builder)
            size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype)))
            shape = list(arguments[2:])
            arrayobj.populate_array(
                result,
                data=builder.gep(source.data, [arguments[1]]),
                shape=shape,
                strides=[builder.mul(columns, size) for columns in shape[1:]] + [size],
                itemsize=size,
                meminfo=None,
            )
            return result._getvalue()

        return result_type(flat, *[types.intp] * (1 + n_dimensions)), generate

    @intrinsic
    def view(typing_context, flat, start, n_rows, n_columns):  # pragma: no cover (called by the compiler, untraced)
        """Return part of an array, read as a vector, as (n_rows, n_columns)."""
        return _make_view(flat, 2)

    @intrinsic
    def line(typing_context, flat, start, size):  # pragma: no cover (called by the compiler, untraced)
        """Return part of an array, read as a vector, as (size,)."""
        return _make_view(flat, 1)


def user_cache_folder():
    """Return the folder that holds one folder of compiled code per digest."""
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR) / "fastnn"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "fastnn"


def source_digest(package=PACKAGE):
    """Return a digest of the package's sources and of the settings that change compiled code."""
    digest = hashlib.sha256()
    digest.update(numba.__version__.encode())
    for name in SETTINGS:
        digest.update(f"{name}={getattr(numba.config, name, None)}\n".encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def prune(folder, kept=FOLDERS_KEPT):
    """Delete all but the most recently used digest folders."""
    try:
        used = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return
    for path in used[kept:]:
        shutil.rmtree(path, ignore_errors=True)


DIGEST = source_digest()


class _DigestLocator(caching._CacheLocator):
    """Tell numba where the compiled code of this very source is kept."""

    def __init__(self, function):
        self.function = function
        self.folder = user_cache_folder() / DIGEST

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)

    def get_cache_path(self):
        return str(self.folder)

    def get_source_stamp(self):
        return DIGEST

    def get_disambiguator(self):
        return self.function.__module__

    def ensure_cache_path(self):
        if not self.folder.exists():
            # 0o700: the files are unpickled on load, so nobody else may write them.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            prune(self.folder.parent)


class _DigestCacheImpl(caching.CompileResultCacheImpl):
    _locator_classes: list[Any] = [_DigestLocator]  # noqa: RUF012 (as in its base)


class _DigestCache(caching.FunctionCache):
    """A cache that never stands in the way: when it cannot load or save, code is compiled anew.

    A damaged file raises whatever its bytes make the unpickler raise, hence the broad
    `except`; it is emptied, so that the next process finds a sound one.
    """

    _impl_class = _DigestCacheImpl

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None  # nothing there to read; saving will say more
        except Exception as error:
            warnings.warn(
                f"compiled code in {self.cache_path} cannot be read ({error!r}); compiling again", stacklevel=2
            )
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warnings.warn(
                f"compiled code cannot be kept in {self.cache_path} ({error}); the next process compiles again. "
                "Set NUMBA_CACHE_DIR to a folder that can be written",
                stacklevel=2,
            )
