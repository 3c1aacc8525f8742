"""Tables: columns of text, or of Arrow's types, and what is missing in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastnn._support.cached import cached_property
from fastnn._support.validate import Array
from fastnn.tables._errors import Option, TableError, count, list_names
from fastnn.tables._text import MISSING, TRUTHS, Fault, find_fault, number_pattern, spell, spell_alike

TEXT = pa.large_string()
# What to do about what is one column, or one row of pandas.
SERIES = ": a column is made one by series.to_frame(), a row by frame.iloc[[k]]"


@dataclass(frozen=True)
class Cells:
    """A column of a table.

    Its values are text, without spaces around it, numbers or booleans; what is missing is null.
    """

    name: str
    values: Any  # a pyarrow.Array
    decimal: str  # the mark in numbers that are text
    is_typed: bool  # its type says what it is; else its text does
    is_listed: bool  # its type has a list of the values that there are

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return bool(self.values.type == TEXT)

    @cached_property
    def is_boolean(self) -> bool:
        """Whether the values are booleans, or texts that say true or false."""
        if self.is_text:
            is_truth = self.match(f"(?i:{'|'.join(TRUTHS)})") | self.is_missing
            return bool(is_truth.all() and not self.is_missing.all())
        return bool(pa.types.is_boolean(self.values.type))

    @cached_property
    def is_missing(self) -> Array:
        """Which values are missing, (n,) bool."""
        missing: Array = self.values.is_null().to_numpy(zero_copy_only=False)
        return missing

    def match(self, pattern: str) -> Array:
        """Return which values are texts of that pattern, as a whole, (n,) bool."""
        found = pc.match_substring_regex(self.values, rf"\A(?:{pattern})\z").fill_null(False)
        matches: Array = found.to_numpy(zero_copy_only=False)
        return matches

    @property
    def is_number(self) -> Array:
        """Which texts are plain numbers, (n,) bool."""
        return self._plain[1]

    @cached_property
    def texts(self) -> list[str]:
        """The different values as text, each once; 1.0 and 1 are the same."""
        return [spell(value) for value in self._encoded.dictionary.to_pylist()]

    @cached_property
    def codes(self) -> Array:
        """Which of the texts each row has, (n,), -1 where the value is missing."""
        codes: Array = self._encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes

    def spell_alike(self) -> "Cells":
        """Return the column with one text for each value, in a file of text, if it is one of numbers or truths."""
        spelled = spell_alike(self.texts, self.decimal) if self.is_text and not self.is_typed else None
        if spelled is None:
            return self
        return replace(self, values=pa.array(spelled, TEXT).take(self._encoded.indices), decimal=".")

    def read_numbers(self, truths: bool) -> Array:
        """Return the column as float64, nan where a value is missing.

        Parameters
        ----------
        truths : bool
            Whether texts may say true or false, for 1 and 0.

        Raises
        ------
        TableError
            Naming the first value that is no finite number.
        """
        if self.is_text:
            values, is_number = (part.copy() for part in self._plain)
            for truth, number in TRUTHS.items() if truths else ():
                is_truth = self.match(f"(?i:{truth})")
                values[is_truth] = number
                is_number |= is_truth
            is_fine = is_number | self.is_missing
            row = self.find_unusable() if is_fine.all() else int(np.argmin(is_fine))
        else:
            values = pc.cast(self.values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            row = int(np.argmax(np.isinf(values))) if np.isinf(values).any() else None
        if row is not None:
            raise self.refuse(row)
        return values

    def find_unusable(self) -> int | None:
        """Return the first row with a plain number that is beyond what can be computed with, if there is one."""
        values, is_number = self._plain
        is_suspect = np.isinf(values) | (is_number & (np.abs(values) >= 2.0**63))
        rows = (
            row for row in np.flatnonzero(is_suspect).tolist() if find_fault(self.values[row].as_py(), self.decimal)
        )
        return next(rows, None)

    def refuse(self, row: int, *advice: str | Option) -> TableError:
        """Return the error that says why what is in a row cannot be taken for a number."""
        fault = find_fault(spell(self.values[row].as_py()), self.decimal) or Fault("no number", ())
        what_to_do = (*fault.remedy, *advice) if advice else (*(fault.remedy or ("mend it, ",)), "or leave the row out")
        return TableError(f"{self.at(row)}, which is {fault.what}: ", *what_to_do)

    def at(self, row: int) -> str:
        """Return what is in a row, for a message."""
        return f"column {self.name!r} has {spell(self.values[row].as_py())!r} in row {row + 1}"

    def find(self, text: str) -> int:
        """Return the first row with a text."""
        return int(np.argmax(self.codes == self.texts.index(text)))

    @cached_property
    def _plain(self) -> tuple[Array, Array]:
        """Texts as float64, nan for those that are no plain numbers; and which are, both (n,)."""
        is_number, values = self.match(number_pattern(self.decimal)), np.full(len(self.values), np.nan)
        plain = pc.replace_substring(self.values.filter(pa.array(is_number)), self.decimal, ".")
        values[is_number] = pc.cast(plain, pa.float64())
        return values, is_number

    @cached_property
    def _encoded(self) -> Any:
        return self.values.dictionary_encode()


class Table:
    """A table with named columns, for `train` and for a model's methods; `read` returns one.

    Parameters
    ----------
    columns : mapping of str to pyarrow.Array
    name : str, default "the table"
        For messages.
    is_text : bool, default False
        Whether it was a file of text, where types are not known.
    decimal : str, default "."
        The decimal mark in text.
    is_guess : bool, default False
        Whether the mark was only seen, not said.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        name: str = "the table",
        *,
        is_text: bool = False,
        decimal: str = ".",
        is_guess: bool = False,
    ) -> None:
        self.name = name
        self.decimal = decimal
        self.is_guess = is_guess
        self._columns = dict(columns)
        self._is_text = is_text

    @classmethod
    def of(cls, table: Any) -> "Table":
        """Return a table, a frame of pandas, polars or Arrow, or a mapping of names to values, as a table."""
        if isinstance(table, Table):
            return table
        if isinstance(table, str | bytes) or hasattr(table, "__fspath__"):
            raise TypeError(f"a table is wanted, got {table!r}; if it is a file: fastnn.tables.read({table!r})")
        is_column = hasattr(table, "to_frame") or isinstance(table, pa.ChunkedArray)
        if hasattr(table, "iloc") and hasattr(table, "columns"):  # pandas: its columns may be of mixed types
            named = [(name, table.iloc[:, k]) for k, name in enumerate(table.columns)]
        elif isinstance(table, Mapping):
            named = list(table.items())
        elif hasattr(table, "__arrow_c_stream__") and not is_column:
            found = pa.table(table)
            named = list(zip(found.column_names, found.columns, strict=True))
        else:
            raise TypeError(
                "a table is wanted: a frame of pandas, polars or Arrow, a dict of columns, or what fastnn.tables.read "
                f"returns; got {type(table).__name__}{SERIES if hasattr(table, 'to_frame') else ''}"
            )
        check_names([str(name) for name, _ in named], "the table")
        columns = {str(name): _as_arrow(str(name), values) for name, values in named}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise TableError(f"the columns of the table differ in length: {lengths}")
        return cls(columns)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __repr__(self) -> str:
        return f"Table: {len(self):,} rows of {len(self.names):,} columns: {list_names(self.names)}"

    def take(self, names: Sequence[str], na: Sequence[str] | None = None, decimal: str | None = None) -> list[Cells]:
        """Return some columns.

        Parameters
        ----------
        names : sequence of str
            Spaces around them, which files of before kept, may be left out in the table.
        na : sequence of str or None
            Texts that count as missing; None for the usual ones, in a file of text.
        decimal : str or None
            The decimal mark, if not the table's.

        Raises
        ------
        TableError
            If columns are not there, or their type is none that can be used.
        """
        there = [name if name in self._columns else name.strip() for name in names]
        missing = [name for name in there if name not in self._columns]
        if missing:
            raise TableError(
                f"{self.name} lacks {count(missing, 'column')} that the model needs: {list_names(missing)}; "
                f"it has {list_names(self.names)}"
            )
        return [self._read(name, self._columns[name], na, decimal or self.decimal) for name in there]

    def _read(self, name: str, values: Any, na: Sequence[str] | None, decimal: str) -> Cells:
        """Return a column with its missing values found, of one of the types that can be used."""
        is_listed = pa.types.is_dictionary(values.type)
        listed = values.dictionary if is_listed else values
        if listed.type in (pa.string(), pa.string_view(), pa.null()):
            listed = pc.cast(listed, TEXT)
        values = listed.take(values.indices) if is_listed else listed
        kind = values.type
        if kind == TEXT:
            if na is None:
                na = MISSING if self._is_text else ()
            values = pc.utf8_trim_whitespace(values)
            marks = pa.array(["", *(mark.strip().lower() for mark in na)], TEXT)
            values = pc.if_else(pc.is_in(pc.utf8_lower(values), marks), pa.scalar(None, TEXT), values)
        elif pa.types.is_floating(kind):
            values = pc.cast(values, pa.float64()) if kind == pa.float16() else values
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        elif not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)):
            raise TableError(
                f"column {name!r} is of type {kind}, and numbers, booleans and text are what can be used: "
                "make such of it, or leave it out with ",
                Option("drop", name),
            )
        return Cells(name, values, decimal, not self._is_text, is_listed)


def check_names(names: Sequence[str], table: str) -> None:
    """Refuse columns of the same name."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise TableError(f"{table} has columns of the same name: {list_names(twice)}")


def _as_arrow(name: str, values: Any) -> Any:
    """Return a column of somebody's frame as an Arrow array."""
    try:
        array = values if isinstance(values, pa.ChunkedArray) else pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason, *_ = f"{error}\n".splitlines()
        raise TableError(f"column {name!r} is none of numbers, booleans or text alone: {reason}") from None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
