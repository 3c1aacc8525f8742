"""Every cast and every error message: whatever reaches a kernel has passed here."""

import contextlib
import math
import numbers
import reprlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastnn._support.names import find_nearest

Array = NDArray[Any]

DTYPES = ("float64", "float32")
# A copy of more bytes than this is not made silently.
LARGE = 64 * 2**20
# Entries of an array that are looked at to tell if it has text in it.
N_LOOKED_AT = 1000
# Packages between a user's line and the code that warns about it.
BETWEEN = ("fastnn", "joblib", "sklearn")
# What is installed, where modules have other names.
PACKAGES = {"sklearn": "scikit-learn"}

_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 500


def show(value: object) -> str:
    """Return a value as it is written in Python, for a message: of one that is long or deep, the beginning."""
    return _SHORT.repr(value)


def printable(text: str) -> str:
    """Return text so that it cannot drive a terminal: what is no letter, mark or space is written in escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def choice(name: str, value: object, options: Iterable[str]) -> str:
    """Return value if it is one of the options, or say which option is nearest."""
    options = list(options)
    if isinstance(value, str) and value in options:
        return value
    listed = ", ".join(map(repr, options))
    raise ValueError(f"{name} must be one of {listed}, got {show(value)}{did_you_mean(value, options)}")


def did_you_mean(value: object, options: Sequence[str]) -> str:
    """Return a hint at which of the options is nearest, or nothing if none is near."""
    near = find_nearest(value, options)
    return f"; did you mean {near!r}?" if near else ""


def dtype(value: DTypeLike) -> np.dtype[Any]:
    """Return float64 or float32 as a NumPy dtype."""
    try:
        found = np.dtype(value)
    except TypeError:
        found = np.dtype(object)
    if found.name not in DTYPES or not found.isnative:
        raise ValueError(f"dtype must be float64 or float32, got {show(value)}")
    return found


def number(
    name: str,
    value: object,
    *,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return value as a float that lies between low and high."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {show(value)}")
    try:
        result = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        result = math.inf
    above = result > low if open_low else result >= low
    below = result < high if open_high else result <= high
    if not (above and below and math.isfinite(result)):
        wanted = f"{'>' if open_low else '>='} {low:g}"
        if high != math.inf:
            wanted += f" and {'<' if open_high else '<='} {high:g}"
        raise ValueError(f"{name} must be a finite number {wanted}, got {show(value)}")
    return result


def integer(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Return value as an int that is at least low and, unless that is None, at most high."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {show(value)}")
    result = int(value)
    if result < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {show(value)}")
    if high is not None and result > high:
        raise ValueError(f"{name} must be an integer <= {high}, got {show(value)}")
    return result


def pair(name: str, value: object) -> tuple[int, int]:
    """Return one positive integer for both height and width, or a sequence of two, as a tuple."""
    if isinstance(value, numbers.Integral):
        value = (value, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be an integer, or a pair of them for height and width, got {show(value)}")
    return integer(name, value[0], low=1), integer(name, value[1], low=1)


def share(name: str, value: object) -> float:
    """Return value as a float above 0 and at most 1."""
    return number(name, value, low=0.0, high=1.0, open_low=True)


def flag(name: str, value: object) -> bool:
    """Return value as a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {show(value)}")
    return bool(value)


def instance(name: str, value: object, kinds: tuple[type, ...]) -> None:
    """Refuse a value that is no instance of the classes (the class itself is a common slip)."""
    if not isinstance(value, kinds):
        *others, last = [f"fastnn.{kind.__name__}" for kind in kinds]
        wanted = f"{', '.join(others)} or {last}" if others else last
        hint = f"; write {value.__name__}(...)" if isinstance(value, type) and value in kinds else ""
        hint += getattr(value, "_elsewhere", "")  # what takes such a one
        raise TypeError(f"{name} must be a {wanted}, got {show(value)}{hint}")


def generator(name: str, value: int | np.random.Generator | None) -> np.random.Generator:
    """Return value, or a new generator seeded with it."""
    if isinstance(value, np.random.Generator):
        return value
    return np.random.default_rng(None if value is None else integer(name, value, low=0))


def array(name: str, value: ArrayLike, to: np.dtype[Any], *, hint: str = "") -> Array:
    """Return value as a C-contiguous array of finite numbers, without a copy where it already is one."""
    if type(value) is not np.ndarray:
        if is_sparse(value):
            raise TypeError(f"{name} is a sparse matrix; pass {name}.toarray() if it fits in memory")
        if hasattr(value, "collect"):
            raise TypeError(f"{name} is a lazy frame; pass {name}.collect()")
        if isinstance(value, np.ndarray) and hasattr(value, "mask") and np.any(value.mask):  # np.ma: a 10 ms import
            raise ValueError(f"{name} has masked values; fill them, or drop such samples")
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if found.dtype == object and hasattr(value, "columns"):  # columns of several kinds: a frame
        frame: Any = value
        found = np.column_stack([array(f"{name}[{key!r}]", frame[key], to, hint=hint) for key in frame.columns])
    if found.dtype == object and hasattr(value, "astype"):
        hint = f"; if all of it is numbers, pass {name}.astype(float)" + hint
    if found.dtype.kind not in "biuf":
        if found.dtype.kind in "OSTU" and any(isinstance(value, str) for value in found.ravel()[:N_LOOKED_AT].tolist()):
            hint += "; fastnn.tables makes inputs and classes of text"
        raise TypeError(f"{name} must be real numbers, got dtype {found.dtype}{hint}")
    if found.dtype == np.float16:
        raise TypeError(f"{name} is float16, whose 11 bits are too few to train with; pass {name}.astype('float32')")
    if found.size == 0:
        raise ValueError(f"{name} is empty: shape {found.shape}")
    result: Array = found
    if found.dtype != to or not found.flags.c_contiguous:
        with np.errstate(over="ignore"):
            result = np.ascontiguousarray(found, dtype=to).reshape(found.shape)
    if result.nbytes > LARGE and not np.may_share_memory(result, found):
        order = "" if found.flags.c_contiguous else ", not C-contiguous"
        warnings.warn(
            f"{name} is {found.dtype}{order}, and copied whole: {result.nbytes / 2**20:,.0f} MB. "
            f"A C-contiguous array of {to.name} is not",
            stacklevel=find_caller(),
        )
    if not is_finite(result):
        if found.dtype.kind != "f" or np.isfinite(found).all():
            raise ValueError(f"{name} has values beyond the range of {to.name}")
        first = tuple(int(k) for k in np.argwhere(~np.isfinite(found))[0])
        advice = "" if "weights" in name else "; drop or fill such samples"
        raise ValueError(f"{name} has NaN or infinity, first at index {first}{advice}")
    return result


def is_sparse(value: object) -> bool:
    """Return whether a value is a sparse matrix or array, as SciPy has them."""
    return hasattr(value, "toarray")


def dense(x: Any) -> Array:
    """Return samples, of which sparse rows are written out."""
    result: Array = x.toarray() if is_sparse(x) else x
    return result


def sparse_rows(name: str, value: Any, to: np.dtype[Any]) -> Any:
    """Return a sparse matrix as compressed rows of finite numbers, each column once and in order; a copy if need be."""
    if value.ndim != 2:
        raise ValueError(f"{name} must have shape (n_samples, n_inputs), got {value.shape}")
    if hasattr(value, "check_format"):  # what SciPy's constructors do not look at: memory is read and written there
        try:
            type(value)((value.data, value.indices, value.indptr), shape=value.shape).check_format(full_check=True)
        except ValueError as error:
            raise ValueError(f"{name} is a damaged sparse matrix: {error}") from None
    rows = value.tocsr()
    numbers = array(f"{name}.data", rows.data, to) if rows.data.size else rows.data.astype(to)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
        numbers = array(f"{name}.data", rows.data, to) if rows.data.size else numbers
    return type(rows)((numbers, rows.indices, rows.indptr), shape=rows.shape)


def is_finite(values: Array) -> bool:
    """Return whether an array has neither NaN nor infinity."""
    # min and max carry NaN, and need no temporary array of that size.
    return not values.size or (math.isfinite(values.min()) and math.isfinite(values.max()))


def find_caller() -> int:
    """Return the `stacklevel` of whoever called fastnn, be it through a pipeline or a search."""
    frame, level = sys._getframe(1), 1
    # What is run by exec need not have a name, nor one that is text.
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


def samples(X: ArrayLike, shape: tuple[int, ...], last: str, to: np.dtype[Any]) -> Array:
    """Return X, images or sequences, as (n_samples, n_inputs); a last axis of 1, of such a name, may be left out."""
    result = array("X", X, to)
    *outer, n_last = shape
    shapes = [shape, tuple(outer)] if n_last == 1 else [shape]
    if result.shape[1:] not in shapes:
        sizes = ", ".join(map(str, shape))
        advice = ""
        if result.shape[1:] == (n_last, *outer):
            advice = f"; its {last} come first: move them to the end, np.moveaxis(X, 1, -1)"
        elif result.ndim == 2 and result.shape[1] == math.prod(shape):
            advice = f"; reshape it with X.reshape(-1, {sizes})"
        elif result.shape in shapes:
            advice = f"; one sample is X.reshape(1, {sizes})"
        elif len(shape) == 2 and result.ndim == 3 and (result.shape[0], result.shape[2]) == shape:
            advice = "; its steps come first: move the samples to the front, np.moveaxis(X, 1, 0)"
        wanted = " or ".join(f"({', '.join(['n_samples', *map(str, sizes)])})" for sizes in shapes)
        raise ValueError(f"X must have shape {wanted}, got {result.shape}{advice}")
    return result.reshape(len(result), -1)


def tokens(X: ArrayLike, n_steps: int, n_tokens: int, to: np.dtype[Any]) -> Array:
    """Return X as (n_samples, n_steps), whole numbers from 0 to n_tokens - 1."""
    result = array("X", X, np.dtype(np.float64))
    if result.ndim != 2 or result.shape[1] != n_steps:
        raise ValueError(f"X must have shape (n_samples, {n_steps}), the token of each step, got {result.shape}")
    wrong = (result < 0) | (result >= n_tokens) | (result != np.floor(result))
    if wrong.any():
        first = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(f"X must be whole numbers from 0 to {n_tokens - 1}, got {result[first]:g} at index {first}")
    return result.astype(to)


def features(X: ArrayLike, n_inputs: int, to: np.dtype[Any]) -> Array:
    """Return X as (n_samples, n_inputs); a sparse matrix as sparse rows."""
    result = sparse_rows("X", X, to) if is_sparse(X) else array("X", X, to)
    if result.ndim != 2 or result.shape[1] != n_inputs:
        advice = ""
        if result.ndim == 1:
            advice = "; reshape it with X.reshape(-1, 1)" if n_inputs == 1 else "; one sample is X.reshape(1, -1)"
        elif result.ndim > 2 and math.prod(result.shape[1:]) == n_inputs:
            shape = (*result.shape[1:], 1)[:3]
            advice = (
                f"; reshape it with X.reshape(len(X), -1), or have convolutions on it: fastnn.Network({shape}, ...)"
            )
        raise ValueError(f"X must have shape (n_samples, {n_inputs}), got {result.shape}{advice}")
    return result


@contextlib.contextmanager
def optional(what: str, extra: str) -> Iterator[None]:
    """Have an import of a package that is not installed say who needs it, and how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        if module == "fastnn":
            raise
        package = PACKAGES.get(module, module)
        raise ModuleNotFoundError(
            f"{what} needs {package}: pip install {package}, "
            f"or in fastnn's folder pip install -e '.[{extra}]', which has all that this needs",
            name=error.name,
        ) from error
