"""Columns of a table as numbers for a network: numbers standardised, everything else one-hot.

Tables are pandas frames whose columns have different names of text; only their methods are called.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._validate import Array

# One-hot columns for more different values than this are a slip: names, numbers as text, dates.
MAX_VALUES = 100
# A target of whole numbers is one of classes up to so many different ones.
MAX_CLASSES = 20
# Names in a message.
MAX_NAMED = 10


@dataclass(frozen=True)
class Number:
    """A column of numbers, which the network sees as ``(number - mean) / scale``.

    Raises
    ------
    TypeError, ValueError
        If mean and scale are not finite floats, or scale is not positive.
    """

    name: str
    mean: float
    scale: float

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not (isinstance(self.mean, float) and isinstance(self.scale, float)):
            raise TypeError(f"column {self.name!r} has mean {self.mean!r} and scale {self.scale!r}")
        if not (math.isfinite(self.mean) and 0 < self.scale < math.inf):
            raise ValueError(
                f"column {self.name!r} cannot be standardised, with mean {self.mean:g} and scale {self.scale:g}"
            )

    @classmethod
    def fit(cls, column: Any, rows: Array) -> "Number":
        """Take mean and standard deviation from some rows of a column; a constant has scale 1."""
        values = read_numbers(column)[rows]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            mean, scale = float(values.mean()), float(values.std())
        return cls(column.name, mean, scale if values.min() < values.max() and scale else 1.0)

    @property
    def width(self) -> int:
        """Inputs of the network that the column takes."""
        return 1

    def encode(self, column: Any) -> Array:
        """Return the standardised column, (n, 1)."""
        with np.errstate(over="ignore"):  # the network refuses infinity
            return ((read_numbers(column) - self.mean) / self.scale)[:, None]

    def decode(self, standardised: Array) -> Array:
        """Return numbers in the column's units."""
        return standardised.astype(np.float64) * self.scale + self.mean


@dataclass(frozen=True)
class Category:
    """A column of a few different values, one of which each row has.

    Raises
    ------
    TypeError, ValueError
        If values are not different texts.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values or not all(isinstance(value, str) for value in self.values):
            raise TypeError(f"values of column {self.name!r} must be texts")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values of column {self.name!r} must be different")

    @classmethod
    def fit(cls, column: Any) -> "Category":
        """Take all the different values of a column, in alphabetical order or, numbers, in theirs."""
        texts = set(read_texts(column))
        if MAX_CLASSES < sum(map(_is_number, texts)) < len(texts):  # numbers, but for a slip
            read_numbers(column)
        if len(texts) > MAX_VALUES:
            raise ValueError(
                f"column {column.name!r} has {len(texts):,} different values, such as {min(texts)!r}, and at most "
                f"{MAX_VALUES} are taken as categories: drop the column, or make numbers of it"
            )
        return cls(column.name, tuple(sorted(texts, key=_order)))

    @property
    def width(self) -> int:
        """Inputs of the network that the column takes."""
        return len(self.values)

    def find(self, column: Any) -> Array:
        """Return which of the values each row has, (n,) int64."""
        places = {value: k for k, value in enumerate(self.values)}
        texts = read_texts(column)
        for k, text in enumerate(texts, start=1):
            if text not in places:
                known = list_names(self.values)
                raise ValueError(f"column {self.name!r} has {text!r} in row {k}, and the model knows {known}")
        return np.array([places[text] for text in texts], np.int64)

    def encode(self, column: Any) -> Array:
        """Return the column one-hot, (n, width)."""
        encoded: Array = np.eye(self.width)[self.find(column)]
        return encoded


Column = Number | Category


def fit_inputs(frame: Any, rows: Array) -> tuple[Column, ...]:
    """Return how each column of a frame becomes inputs; what numbers are scaled by is taken from some rows."""
    inputs: list[Column] = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "mMc":
            raise ValueError(
                f"column {name!r} is {column.dtype}; inputs are numbers or text: drop it, or make numbers of it"
            )
        inputs.append(Number.fit(column, rows) if column.dtype.kind in "biuf" else Category.fit(column))
    return tuple(inputs)


def encode_inputs(inputs: Sequence[Column], frame: Any) -> Array:
    """Return a frame's rows as the network sees them, (n_rows, n_inputs); other columns are left out.

    Raises
    ------
    ValueError
        If columns or values are missing, or a value is none that the model knows.
    """
    names = [column.name for column in inputs]
    check_columns(frame, names)
    check_missing(frame[names])
    return np.column_stack([column.encode(frame[column.name]) for column in inputs])


def check_columns(frame: Any, names: Iterable[str]) -> None:
    """Refuse a frame that lacks some columns."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"the table lacks {_count(missing, 'column')} that the model needs: {list_names(missing)}; "
            f"it has {list_names(frame.columns)}"
        )


def check_missing(frame: Any) -> None:
    """Refuse a frame with missing values, or without rows."""
    if not len(frame):
        raise ValueError("the table has no rows")
    counts = {name: int(frame[name].isna().sum()) for name in frame.columns}
    missing = [f"{name!r} ({count:,} of {len(frame):,})" for name, count in counts.items() if count]
    if missing:
        raise ValueError(
            f"values are missing in {_count(missing, 'column')} {', '.join(missing)}: "
            "fill them, or drop such rows or columns"
        )


def holds_classes(column: Any) -> bool:
    """Guess whether a target is a class: text, true or false, or few different whole numbers that come again."""
    if column.dtype.kind not in "iuf":
        return True
    different = np.unique(read_numbers(column))
    return bool(different.size <= min(MAX_CLASSES, len(column) / 2) and (different % 1 == 0).all())


def split_rows(strata: Array, fraction: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return which rows to train on and which to validate with, sorted; each stratum is shared out alike."""
    shuffled = rng.permutation(len(strata))
    ordered = shuffled[np.argsort(strata[shuffled], kind="stable")]
    steps = np.floor(np.arange(len(strata) + 1) * fraction)
    is_taken = np.diff(steps) > 0
    return np.sort(ordered[~is_taken]), np.sort(ordered[is_taken])


def read_numbers(column: Any) -> Array:
    """Return a column as float64, if it has finite numbers."""
    if column.dtype.kind not in "biuf":
        rows = [*enumerate(column.tolist(), start=1)]
        row, value = next((row for row in rows if not _is_number(row[1])), rows[0])
        raise ValueError(f"column {column.name!r} must hold numbers, and has {value!r} in row {row}")
    values: Array = column.to_numpy(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values))) + 1
        raise ValueError(f"column {column.name!r} must hold finite numbers, and has infinity in row {row}")
    return values


def read_texts(column: Any) -> list[str]:
    """Return a column's values as text; 1.0 and 1 are the same."""
    return [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in column.tolist()]


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _order(text: str) -> tuple[float, str]:
    """Return what texts are sorted by: numbers by size, the rest behind them by letters."""
    number = float(text) if _is_number(text) else math.inf
    return (number if math.isfinite(number) else math.inf, text)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a column must be text, got {name!r}")


def _count(things: Sequence[object], noun: str) -> str:
    return noun + "s" * (len(things) > 1)


def list_names(names: Iterable[object]) -> str:
    """Return names for a message, of many the first ones."""
    quoted = [*map(repr, names)]
    more = [f"and {len(quoted) - MAX_NAMED} more"] if len(quoted) > MAX_NAMED + 1 else []
    return ", ".join([*quoted[:MAX_NAMED], *more] if more else quoted)
