"""Parquet files, read by pyarrow."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from fastnn._support.validate import Array


def read_table(source: Any) -> Any:
    """Return the pyarrow.Table of a file, without labels of rows, which pandas keeps as columns."""
    found = pyarrow.parquet.ParquetFile(source).read()
    return found.select([k for k, name in enumerate(found.column_names) if name not in _list_labels(found.schema)])


def _list_labels(schema: Any) -> list[Any]:
    labels: list[Any] = (schema.pandas_metadata or {}).get("index_columns", [])
    return labels


def read_numbers(path: str, first: str) -> Array:
    """Return the columns of a file, all of numbers or booleans, as (n_rows, n_columns), or (n_rows,) of a single one.

    Raises
    ------
    ValueError
        If the file is no Parquet, a column has no numbers or lacks some, or if they are not called as those of `first`.
    """
    try:
        found, schema = read_table(path), pyarrow.parquet.read_schema(first)
    except pa.ArrowInvalid as error:
        reason, *_ = f"{error}\n".splitlines()
        raise ValueError(f"it is no Parquet: {reason}") from None
    wanted = [name for name in schema.names if name not in _list_labels(schema)]
    if found.column_names != wanted:
        raise ValueError(f"it has the columns {found.column_names}, and {first} has {wanted}: all files need the same")
    columns = []
    for name, column in zip(found.column_names, found.columns, strict=True):
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise ValueError(f"column {name!r} is of type {kind}, and numbers are wanted: encode it, or leave it out")
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise ValueError(f"column {name!r} lacks {column.null_count} values, the first in row {row + 1}")
        columns.append(column.to_numpy())
    if not columns:
        raise ValueError("it has no columns")
    return columns[0] if len(columns) == 1 else np.column_stack(columns)
