"""Files as tables: CSV and its like, Parquet, compressed or not."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fastnn._support import validate
from fastnn._support.names import named_arguments
from fastnn._support.parquet import read_table
from fastnn.tables._cells import TEXT, Table, check_names
from fastnn.tables._errors import Option, TableError
from fastnn.tables._text import COMMA, number_pattern


def _unpack_zstd(content: bytes) -> bytes:
    unpacked: bytes = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    return unpacked


# In the order in which they are tried: commas last, which are decimal marks, too. Where there is none, spaces are.
SEPARATORS = "\t;|,"
# So much of a text shows what separates it.
SAMPLE = 2**16
# A line is shorter than this.
BLOCK = 2**26
COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\0": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _unpack_zstd,
}
SHEET = "a spreadsheet: save the sheet as CSV (UTF-8) there"
# What else people hand over, by its first bytes.
FOREIGN = {
    b"\xd0\xcf\x11\xe0": SHEET,
    b"ARROW1": "a Feather file: write it as Parquet",
    b"\x89HDF": "an HDF5 file: write its table as Parquet or CSV",
    b"SQLite format 3": "a database: write its table as CSV",
    b"<": "a web page, or XML: write its table as CSV",
    b"{": "JSON: write its table as CSV",
    b"[": "JSON: write its table as CSV",
}


@named_arguments
def read(
    path: str | os.PathLike[str],
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool = True,
) -> Table:
    r"""Return the table in a file.

    That is a text of lines, their values separated by commas, semicolons, tabs, bars or
    spaces, or Parquet; either may be compressed (gzip, bzip2, xz, zstd). In text,
    values stay as they are written: a model reads each by the kind of its column.

    Parameters
    ----------
    path : str or path-like
    separator : str or None
        One character. None finds out.
    decimal : {".", ","} or None
        The decimal mark. None is a point, and where semicolons separate, also a comma.
    encoding : str or None
        Such as "cp1252". None is UTF-8, or UTF-16 if the file begins like that.
    header : bool, default True
        Whether the first line has the names; without, the columns are called 1, 2, ...

    Returns
    -------
    Table

    Raises
    ------
    OSError
        If there is nothing to read.
    TableError
        If the file is no table, or an option does not fit it.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastnn import tables
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "wards.csv"
    >>> _ = path.write_text("ward;weight\n01;70,5\nICU;82\n")
    >>> tables.read(path)
    Table: 2 rows of 2 columns: 'ward', 'weight'
    """
    content = Path(path).read_bytes()
    return parse(content, str(path), separator=separator, decimal=decimal, encoding=encoding, header=header)


def parse(
    content: bytes,
    name: str,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool = True,
) -> Table:
    """Return the table in the bytes of a file; see `read`."""
    if separator is not None and not re.fullmatch(r"[\t !#-/:-@[-`{-~]", separator):
        raise ValueError(f"separator must be one character that is no letter, digit or quote, got {separator!r}")
    if decimal is not None:
        validate.choice("decimal", decimal, (".", ","))
    validate.flag("header", header)
    content = _decompress(content, name)
    if content.startswith(b"PAR1"):
        said = {"separator": separator, "decimal": decimal, "encoding": encoding, "header": None if header else header}
        for option, value in said.items():
            if value is not None:
                raise TableError(f"{name} is Parquet, which needs no ", Option(option, value))
        return _read_parquet(content, name)
    text = _decode(content, name, encoding)
    separator = separator or _find_separator(text)
    if separator == " ":
        text, separator = _join_runs(text), ","
    columns = _split(text, name, separator, header)
    names = [str(k + 1) for k in range(len(columns))]
    if header:
        first = [column[0].as_py().strip() for column in columns]
        _check_header(first, name)
        names = [found or f"Unnamed: {k}" for k, found in enumerate(first)]
        columns = [column[1:] for column in columns]
    check_names(names, name)
    is_guess = decimal is None and separator == ";"
    if decimal is None:
        decimal = "," if is_guess and any(_holds(column, COMMA) for column in columns) else "."
    return Table(dict(zip(names, columns, strict=True)), name, is_text=True, decimal=decimal, is_guess=is_guess)


def _decompress(content: bytes, name: str) -> bytes:
    for start, decompress in COMPRESSIONS.items():
        if content.startswith(start):
            try:
                return decompress(content)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
                raise TableError(f"{name} is compressed, and damaged: {error}") from None
    return content


def _read_parquet(content: bytes, name: str) -> Table:
    try:
        found = read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        reason, *_ = f"{error}\n".splitlines()
        raise TableError(f"{name} is no table, CSV or Parquet: {reason}") from None
    check_names(found.column_names, name)
    return Table(
        {key: column.combine_chunks() for key, column in zip(found.column_names, found.columns, strict=True)}, name
    )


def _decode(content: bytes, name: str, encoding: str | None) -> str:
    """Return the text in a file, or say what it is instead."""
    for start, what in FOREIGN.items():
        if content.startswith(start):
            raise TableError(f"{name} is {what}")
    if content.startswith(b"PK\3\4"):
        is_sheet = b"xl/" in content or b"opendocument.spreadsheet" in content
        raise TableError(f"{name} is {SHEET if is_sheet else 'a zip archive: unpack it'}")
    if encoding is None:
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        text = content.decode(encoding).removeprefix("\ufeff").lstrip("\r\n")
    except LookupError:
        raise ValueError(f"encoding must be the name of one, such as 'utf-8' or 'cp1252', got {encoding!r}") from None
    except UnicodeError as error:
        line = content.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise TableError(
            f"{name} is no text in {encoding}: line {line} has other bytes. Say in what it is, such as ",
            Option("encoding", "cp1252"),
        ) from None
    if "\0" in text:
        raise TableError(f"{name} is no table, CSV or Parquet, or text in UTF-16: ", Option("encoding", "utf-16"))
    if not text.strip():
        raise TableError(f"{name} is empty")
    return text


def _find_separator(text: str) -> str:
    """Return the first separator that cuts all lines alike, or the one that cuts a line into most values."""
    sample = text if len(text) <= SAMPLE else text[: text.rfind("\n", 0, SAMPLE) + 1] or text[:SAMPLE]
    widths = {separator: _measure_lines(sample, separator) for separator in SEPARATORS}
    alike = [separator for separator, found in widths.items() if min(found) == max(found) > 1]
    most = max(widths, key=lambda separator: max(widths[separator]))
    if not alike and max(widths[most]) == 1:
        found = _measure_lines(_join_runs(sample), ",")
        return " " if min(found) == max(found) > 1 else most
    return alike[0] if alike else most


def _measure_lines(text: str, separator: str) -> list[int]:
    """Return how many values each line has, empty ones left out."""
    return [len(record) for record in _records(text, separator) if record]


def _join_runs(text: str) -> str:
    """Return lines whose values are separated by spaces with commas instead."""
    joined = io.StringIO()
    lines = (line.strip(" \r\n") for line in io.StringIO(text))
    csv.writer(joined, lineterminator="\n").writerows(csv.reader(lines, delimiter=" ", skipinitialspace=True))
    return joined.getvalue()


def _records(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _split(text: str, name: str, separator: str, header: bool) -> list[Any]:
    """Return the columns of a text, each an Arrow array of texts, the first line with them."""
    invalid = []

    def keep(row: Any) -> str:
        invalid.append(row)
        return "error"

    try:
        width = len(next(record for record in _records(text, separator) if record))
        if text.count('"') % 2:  # one is open to the end, or stands for inches
            list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        names = [str(k) for k in range(width)]
        table = pyarrow.csv.read_csv(
            io.BytesIO(text.encode()),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
            pyarrow.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                ignore_empty_lines=width > 1,  # of a single column, an empty line is a row
                invalid_row_handler=keep,
            ),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, TEXT), strings_can_be_null=False),
        )
    except (csv.Error, pa.ArrowException, ValueError) as error:
        if invalid:
            row = invalid[0]
            reason = (
                f"row {row.number - header} has {row.actual_columns} values, and the first line {row.expected_columns}"
            )
        else:
            reason = f"its quotation marks do not match ({error})" if isinstance(error, csv.Error) else str(error)
        raise TableError(f"{name} is no table: {reason}") from None
    return [column.combine_chunks() for column in table.columns]


def _check_header(names: list[str], table: str) -> None:
    """Refuse a first line with numbers, but for whole ones in their order: years, or pixels."""
    pattern = number_pattern(".") + "|" + number_pattern(",")
    numbers = [name for name in names if re.fullmatch(pattern, name)]
    are_whole = all(number.isdecimal() for number in numbers)
    if not are_whole or any(int(one) >= int(next_one) for one, next_one in itertools.pairwise(numbers)):
        shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
        raise TableError(
            f"{table} has no names of columns: its first line is {shown!r}. Put names there, or say ",
            Option("header", False),
            " and call the columns 1, 2, ...",
        )


def _holds(column: Any, pattern: str) -> bool:
    """Return whether a column of texts has one of that pattern."""
    return bool(pc.any(pc.match_substring_regex(column, rf"\A\s*(?:{pattern})\s*\z"), min_count=0).as_py())
