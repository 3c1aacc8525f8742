"""Samples in parts, which are checked and kept where they are read."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._support import files, validate
from fastnn._support.validate import Array
from fastnn.kernels.losses import Loss
from fastnn.model.network import Network
from fastnn.training.gradients import check_data


def is_collection(value: object) -> bool:
    """Return whether something is a Dask array, frame or series."""
    return hasattr(value, "to_delayed")


def list_paths(value: object) -> list[str]:
    """Return the files that something names, in absolute terms, none if it is no such path and no list of them."""
    paths: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    named = [os.path.abspath(os.fsdecode(path)) for path in paths if isinstance(path, str | os.PathLike)]
    kinds = {os.path.splitext(path)[1] for path in named}
    return named if len(named) == len(paths) and kinds in ({".npy"}, {".parquet"}) else []


def list_files(X: object, y: object) -> list[tuple[str, str]]:
    """Return pairs of files, none if X and y are no files."""
    named = list_paths(X), list_paths(y)
    if bool(named[0]) != bool(named[1]):
        raise TypeError("X and y must both be .npy or .parquet files, each a list of one kind, or neither")
    if len(named[0]) != len(named[1]):
        raise ValueError(f"X is {len(named[0])} files, and y {len(named[1])}: each of X needs its own of y")
    return list(zip(*named, strict=True))


class Mapped:
    """Rows of a file, which whoever unpickles this maps anew, and which take no memory of their own."""

    def __init__(self, path: str, shape: tuple[int, ...]) -> None:
        self._path, self._shape = path, shape
        self.rows = np.load(path, mmap_mode="r").view(np.ndarray).reshape(shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self._path, self._shape)


def open_part(
    number: int, X: Any, y: Any, network: Network, loss: Loss, first: tuple[str, str] | None = None
) -> tuple[Array | Mapped, Array | Mapped]:
    """Return checked samples and targets of a part, of which .npy files are mapped, unless they have to be converted.

    Of files, those of the first part say how columns are called.
    """
    try:
        found = [_read(part, like) for part, like in zip((X, y), first or (X, y), strict=True)]
        shapes = network.input_shape, network.output_shape
        data = check_data(network, loss, *map(_fold, (X, y), found, shapes))
    except files.Damaged:  # says which file it is
        raise
    except (TypeError, ValueError) as error:
        raise type(error)(f"{X if isinstance(X, str) else f'part {number}'}: {error}") from None
    return _keep(X, found[0], data.x), _keep(y, found[1], data.y)


def _read(part: Any, first: Any) -> Any:
    """Return what is in a file, or a part that is none as it is."""
    if not isinstance(part, str):
        return part
    if part.endswith(".npy"):
        # Not np.load, which takes what is no such file for a pickle, and advises to trust it.
        with files.restoring(part, "NumPy array of numbers"):
            return np.lib.format.open_memmap(part, mode="r")
    with validate.optional("Parquet", "tables"):
        from fastnn._support.parquet import read_numbers
    return read_numbers(part, first)


def _fold(source: object, rows: Any, shape: tuple[int, ...]) -> Any:
    """Return rows of a table in the shape that the network has, if they have as many numbers."""
    is_table = isinstance(source, str) and source.endswith(".parquet")
    return rows.reshape(-1, *shape) if is_table and rows[:1].size == math.prod(shape) else rows


def _keep(source: object, mapped: object, checked: Array) -> Array | Mapped:
    """Return what was checked, or, where that is the file itself, what maps it."""
    if isinstance(source, str) and isinstance(mapped, np.memmap) and np.may_share_memory(mapped, checked):
        return Mapped(source, checked.shape)
    return checked


def find_rows(kept: Array | Mapped) -> Array:
    """Return the rows of what `open_part` returns."""
    return kept.rows if isinstance(kept, Mapped) else kept


def open_files(X: object, y: object, network: Network, loss: Loss) -> list[tuple[Array, Array]]:
    """Return checked samples and targets of files, those of .npy mapped."""
    pairs = list_files(X, y)
    return [
        (find_rows(kept), find_rows(targets))
        for kept, targets in (open_part(0, *pair, network, loss, pairs[0]) for pair in pairs)
    ]
