"""Columns of a table as a network's inputs, and back."""

import math
import re
import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np

from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.tables._cells import Cells
from fastnn.tables._errors import Option, TableError, list_names
from fastnn.tables._text import read_number, spell_alike

# One-hot columns for more different values than this are a slip: names, or codes.
MAX_VALUES = 256
# What a category's values were in a table whose columns have types.
TYPES = ("text", "integer", "boolean")


@dataclass(frozen=True)
class Number:
    """A column of numbers, which the network sees as ``(number - mean) / scale``.

    Parameters
    ----------
    name : str
    mean, scale : float
    fill : float or None, default None
        What a missing value is taken for.
    truths : bool, default True
        Whether texts may say true or false, for 1 and 0.

    Raises
    ------
    TypeError, ValueError
        If mean, scale and fill are not finite floats, or scale is not positive.
    """

    name: str
    mean: float
    scale: float
    fill: float | None = None
    truths: bool = True  # as in files of before, which did not say

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not (isinstance(self.mean, float) and isinstance(self.scale, float) and isinstance(self.truths, bool)):
            raise TypeError(
                f"column {self.name!r} has mean {self.mean!r}, scale {self.scale!r}, truths {self.truths!r}"
            )
        if not (math.isfinite(self.mean) and 0 < self.scale < math.inf):
            raise ValueError(
                f"column {self.name!r} cannot be standardised, with mean {self.mean:g} and scale {self.scale:g}"
            )
        if self.fill is not None and not (isinstance(self.fill, float) and math.isfinite(self.fill)):
            raise TypeError(f"what is missing in column {self.name!r} cannot be taken for {self.fill!r}")

    @classmethod
    def fit(cls, cells: Cells, rows: Array, *, truths: bool, fills: bool) -> Self:
        """Take mean and standard deviation from the values in some rows; a constant has scale 1."""
        values = _check_some(cells, cells.read_numbers(truths)[rows])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            mean, scale = float(values.mean()), float(values.std())
        scale = scale if values.min() < values.max() and scale else 1.0
        return cls(cells.name, mean, scale, mean if fills else None, truths)

    @property
    def width(self) -> int:
        """Inputs of the network that the column takes."""
        return 1

    def encode(self, cells: Cells, rows: Array) -> Array:
        """Return some rows of the column, standardised, (n, 1)."""
        values = cells.read_numbers(self.truths)[rows]
        if self.fill is not None:
            values[np.isnan(values)] = self.fill
        with np.errstate(over="ignore"):  # who asks refuses infinity
            return ((values - self.mean) / self.scale)[:, None]

    def decode(self, standardised: Array) -> Array:
        """Return numbers in the column's units."""
        return standardised.astype(np.float64) * self.scale + self.mean

    def describe(self) -> str:
        """Return the values that the column takes, for people."""
        return f"{self.mean:.4g} ± {self.scale:.4g}"


@dataclass(frozen=True)
class Category:
    """A column of a few different values, one of which each row has.

    Parameters
    ----------
    name : str
    values : tuple of str
        As they are written; those of a file of text that are all numbers, or all true or false, as they are in
        a column of such a type, so that 1 and 1.0 are one value.
    fill : str or None, default None
        What a missing value is taken for, one of the values.
    type : {"text", "integer", "boolean"}, default "text"
        What the values are in Python.

    Raises
    ------
    TypeError, ValueError
        If values are not different texts, or fill is none of them.
    """

    name: str
    values: tuple[str, ...]
    fill: str | None = None
    type: str = "text"

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values or not all(isinstance(value, str) for value in self.values):
            raise TypeError(f"values of column {self.name!r} must be texts")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values of column {self.name!r} must be different")
        if self.fill is not None and self.fill not in self.values:
            raise ValueError(f"what is missing in column {self.name!r} cannot be taken for {self.fill!r}")
        if self.type not in TYPES:
            raise ValueError(f"values of column {self.name!r} cannot be of type {self.type!r}")
        self.classes  # noqa: B018 (raises for texts that are none of the type)

    @classmethod
    def fit(cls, cells: Cells, rows: Array, frequent: Array, *, fills: bool) -> Self:
        """Take the different values in some rows of a column, in alphabetical order or, numbers, in theirs.

        What a missing value is taken for is the one that comes most often in the rows `frequent`.
        """
        cells = cells.spell_alike()
        codes = np.unique(_check_some(cells, cells.codes[rows]))
        texts = sorted((cells.texts[code] for code in codes), key=_order)
        if len(texts) > MAX_VALUES:
            raise TableError(
                f"column {cells.name!r} has {len(texts):,} different values, such as {texts[0]!r}, and at most "
                f"{MAX_VALUES} are taken as categories: leave it out with ",
                Option("drop", cells.name),
                ", or make numbers or fewer values of them",
            )
        folded = {text.casefold(): text for text in texts}
        for text in texts:
            if (twin := folded[text.casefold()]) != text:
                warnings.warn(
                    f"column {cells.name!r} has {text!r} and {twin!r}, which are taken as different",
                    stacklevel=validate.find_caller(),
                )
        fill = None
        if fills:
            fill = cells.texts[np.bincount(_check_some(cells, cells.codes[frequent])).argmax()]
        kind = "text"
        if not cells.is_text and all(re.fullmatch("-?[0-9]+", text) for text in texts):
            kind = "integer"
        return cls(cells.name, tuple(texts), fill, "boolean" if not cells.is_text and cells.is_boolean else kind)

    @property
    def width(self) -> int:
        """Inputs of the network that the column takes."""
        return len(self.values)

    @property
    def classes(self) -> Array:
        """The values as they are in Python, (width,)."""
        if self.type == "integer":
            return np.array([int(value) for value in self.values])
        if self.type == "boolean":
            return np.array([("False", "True").index(value) for value in self.values], bool)
        return np.array(self.values, object)

    def find(self, cells: Cells, rows: Array) -> Array:
        """Return which of the values each of some rows has, (n,) int64.

        Where all values are numbers, or all true or false, others that are equal to one are taken for it.
        """
        stripped = [value.strip() for value in self.values]  # files of before kept spaces
        equal = {text: k for k, text in enumerate(spell_alike(stripped, ".") or ())}
        if len(equal) < self.width:  # texts, or values that files of before had in several spellings
            equal = {}
        places = {value: k for k, value in enumerate(stripped)} | {value: k for k, value in enumerate(self.values)}

        def place(text: str) -> int:
            (spelled,) = spell_alike([text], cells.decimal) or [text]
            return places.get(text, equal.get(spelled, -1))

        known = np.array([*map(place, cells.texts), -1 if self.fill is None else places[self.fill]], np.int64)
        found: Array = known[cells.codes[rows]]
        if found.size and found.min() < 0:
            text = cells.texts[cells.codes[rows[int(np.argmin(found))]]]
            raise TableError(
                f"{cells.at(cells.find(text))}, and the model knows {list_names(self.values)}: leave such rows out, or "
                "train with some"
            )
        return found

    def encode(self, cells: Cells, rows: Array) -> Array:
        """Return some rows of the column, one-hot, (n, width)."""
        encoded: Array = np.eye(self.width)[self.find(cells, rows)]
        return encoded

    def describe(self) -> str:
        """Return the values that the column takes, for people."""
        return list_names(self.values) + (f", a missing one as {self.fill!r}" if self.fill else "")


Column = Number | Category


def _check_some(cells: Cells, values: Array) -> Array:
    """Return what of numbers or codes is not missing, or refuse a column without values."""
    there = values[~np.isnan(values)] if values.dtype.kind == "f" else values[values >= 0]
    if not there.size:
        raise TableError(
            f"column {cells.name!r} has no values in the rows to train on: leave it out with ",
            Option("drop", cells.name),
        )
    return there


def _order(text: str) -> tuple[float, str]:
    """Return what texts are sorted by: numbers by size, the rest behind them by letters."""
    number = read_number(text, ".")
    return (math.inf if number is None else number, text)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a column must be text, got {name!r}")
