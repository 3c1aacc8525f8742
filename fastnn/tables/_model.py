"""A model: a network, and how the columns of a table become its inputs; what `train` returns, as a file."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from fastnn._support import files
from fastnn._support.choices import LossName, PolicyName
from fastnn._support.validate import Array, printable
from fastnn.model.network import Network, restore_network
from fastnn.tables._cells import Cells, Table
from fastnn.tables._columns import Category, Column, Number
from fastnn.tables._errors import Option, TableError, count
from fastnn.training.trainer import Trainer

# What is done about missing values.
POLICIES = get_args(PolicyName)


@dataclass(frozen=True)
class Model:
    """A network that predicts one column of a table from others.

    `train` makes one, `load` reads it from a file. What it does with a row depends on
    that row alone.

    Parameters
    ----------
    network : fastnn.Network
        Its outputs are probabilities (softmax) where the target is a category, else
        one standardised number.
    inputs : tuple
        A description of each column, in the order of the network's inputs.
    target
        That of the column that is predicted.
    notes : mapping of str to str, int or float
        How it was trained, and what was measured.
    missing : {"refuse", "drop", "fill"}
        What is done about missing values.
    na : tuple of str or None
        The texts that count as missing, in any case; None for the usual ones.
    decimal : {".", ","}
        The decimal mark of the table that it was trained on.

    Raises
    ------
    TypeError, ValueError
        If the parts do not fit together.
    """

    network: Network
    inputs: tuple[Column, ...]
    target: Column
    notes: Mapping[str, str | int | float]
    missing: str = "refuse"
    na: tuple[str, ...] | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        name, times = Counter(column.name for column in (*self.inputs, self.target)).most_common(1)[0]
        if times > 1:
            raise ValueError(f"column {name!r} comes twice")
        self.network.dense_layers("a table's model")
        width = sum(column.width for column in self.inputs)
        if width != self.network.n_inputs:
            raise ValueError(f"its columns make {width} inputs, and its network takes {self.network.n_inputs}")
        output = self.network.output_layer
        wanted = (self.target.width, "softmax" if isinstance(self.target, Category) else "identity")
        if (output.n_units, output.activation) != wanted:
            raise ValueError(f"its output layer is {output}, which does not go with target {self.target.name!r}")
        for name, note in self.notes.items():
            if not (isinstance(note, str) or (isinstance(note, int | float) and math.isfinite(note))):
                raise TypeError(f"note {name!r} is neither text nor a finite number: {note!r}")
        if self.missing not in POLICIES or any(
            (column.fill is None) != (self.missing != "fill") for column in self.inputs
        ):
            raise ValueError(f"its columns do not go with missing={self.missing!r}")
        if not (self.na is None or all(isinstance(mark, str) for mark in self.na)) or self.decimal not in (".", ","):
            raise ValueError(f"its text cannot be read, with na={self.na!r} and decimal={self.decimal!r}")

    @property
    def loss(self) -> LossName:
        """The loss that goes with the target, for a `fastnn.Trainer`."""
        return "categorical_cross_entropy" if isinstance(self.target, Category) else "squared_error"

    @property
    def classes(self) -> Array:
        """The classes, in the order of `predict_proba`'s columns."""
        return self._need_classes("classes").classes

    def predict(self, table: Any) -> Array:
        """Return what the target is in each row.

        Parameters
        ----------
        table : Table, or frame of pandas, polars or Arrow, or dict of columns
            With the columns that the model was trained on, in any order; others are of
            no account.

        Returns
        -------
        ndarray, shape (n_rows,)
            Classes as they were in the table that was trained on, or numbers. In a file of
            text, classes that are all numbers have one spelling, 1 for 1.0, and those that
            are true or false, True and False. With ``missing="drop"``, None or nan for a
            row with missing values.

        Raises
        ------
        TableError
            If columns or values are missing, or a value is none that the model knows.
        """
        outputs, rows, n_rows = self._run(table)
        if isinstance(self.target, Number):
            return _spread(self.target.decode(outputs[:, 0]), rows, n_rows, np.nan)
        return _spread(self.classes[outputs.argmax(axis=1)], rows, n_rows, None)

    def predict_proba(self, table: Any) -> Array:
        """Return the probability of each class in each row.

        Parameters
        ----------
        table
            As for `predict`.

        Returns
        -------
        ndarray, shape (n_rows, n_classes)
            nan where `predict` returns None.

        Raises
        ------
        ValueError
            As `predict`, or if the model predicts numbers.
        """
        self._need_classes("probabilities")
        return _spread(*self._run(table), np.nan)

    def evaluate(self, table: Any) -> dict[str, float]:
        """Return how well the target of a table is predicted.

        Parameters
        ----------
        table
            As for `predict`, with the target. Rows without a prediction or without a
            target are left out; ``missing="refuse"`` refuses them.

        Returns
        -------
        dict
            "loss" and "accuracy" for classes; "loss", "R2" and "RMSE", in the target's
            units, for numbers. R2 is nan where the target is constant.

        Raises
        ------
        TableError
            As `predict`.
        """
        return self._measure(*self.encode(table))

    def encode(self, table: Any) -> tuple[Array, Array]:
        """Return a table as its network is trained on it, by `fastnn.Trainer.fit`.

        Parameters
        ----------
        table
            As for `evaluate`.

        Returns
        -------
        X : ndarray, shape (n_rows, n_inputs)
        y : ndarray
            Class numbers, (n_rows,), or standardised numbers, (n_rows, 1).
        """
        *inputs, target = self._take(table, (*self.inputs, self.target))
        rows = find_rows(inputs, target, self.missing)
        return self._encode_inputs(inputs, rows), self._encode_target(target, rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as one file, which `load`, and the terminal's ``fastnn predict``, read.

        It is whole or not there, like that of `fastnn.Network.save`.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there.

        Raises
        ------
        ImportError
            Without safetensors (the extra ``tables``).
        OSError
            If the file cannot be written; a file that was there stays as it was.
        ValueError
            If a weight is not finite.
        """
        self.network.check_weights()
        description = {
            "network": self.network._describe(),
            "inputs": [asdict(column) for column in self.inputs],
            "target": asdict(self.target),
            "notes": dict(self.notes),
            "missing": self.missing,
            "na": self.na,
            "decimal": self.decimal,
        }
        files.write(path, "model", description, self.network._arrays(), load)

    def __repr__(self) -> str:
        columns = [f"Model of {self.target.name}: {self.target.describe()}"]
        columns += [f"  from {column.name}: {column.describe()}" for column in self.inputs]
        return "\n".join([*map(printable, columns), repr(self.network)])

    def _measure(self, X: Array, y: Array) -> dict[str, float]:
        """Return what `evaluate` does, of encoded rows."""
        if not len(X):
            raise TableError("every row has missing values: there is nothing to measure")
        y = y.astype(self.network.dtype, copy=False)
        evaluation = Trainer(self.network, loss=self.loss).evaluate(X, y)
        if isinstance(self.target, Category):
            return {"loss": evaluation.loss, "accuracy": float(evaluation.accuracy or 0.0)}
        spread = float(np.var(y, dtype=np.float64))
        r2 = 1.0 - evaluation.loss / spread if spread else math.nan
        return {"loss": evaluation.loss, "R2": r2, "RMSE": math.sqrt(evaluation.loss) * self.target.scale}

    def _encode_inputs(self, inputs: Sequence[Cells], rows: Array) -> Array:
        """Return some rows as the network sees them, (n, n_inputs), in its dtype."""
        X = np.empty((len(rows), self.network.n_inputs), self.network.dtype)
        end = 0
        for column, cells in zip(self.inputs, inputs, strict=True):
            begin, end = end, end + column.width
            with np.errstate(over="ignore"):
                X[:, begin:end] = column.encode(cells, rows)
            is_finite = np.isfinite(X[:, begin])
            if not is_finite.all():
                raise TableError(f"{cells.at(rows[np.argmin(is_finite)])}, which is too large to be standardised")
        return X

    def _encode_target(self, target: Cells, rows: Array) -> Array:
        """Return the targets of some rows: class numbers, (n,), or standardised numbers, (n, 1)."""
        return self.target.find(target, rows) if isinstance(self.target, Category) else self.target.encode(target, rows)

    def _take(self, table: Any, columns: Sequence[Column]) -> list[Cells]:
        """Return what a table has in some columns."""
        given = Table.of(table)
        decimal = self.decimal if given.is_guess and self.decimal == "," else None
        return given.take([column.name for column in columns], self.na, decimal)

    def _run(self, table: Any) -> tuple[Array, Array, int]:
        """Return the network's outputs, which rows they are of, and how many rows there are."""
        inputs = self._take(table, self.inputs)
        rows = find_rows(inputs, None, self.missing)
        X = self._encode_inputs(inputs, rows)
        outputs = self.network.predict(X) if rows.size else np.empty((0, self.target.width), X.dtype)
        return outputs, rows, len(inputs[0])

    def _need_classes(self, what: str) -> Category:
        if isinstance(self.target, Number):
            raise ValueError(f"the model predicts numbers, {self.target.name!r}, which have no {what}")
        return self.target


def load(path: str | os.PathLike[str]) -> Model:
    """Return the model that `Model.save`, or ``fastnn train`` at the terminal, wrote.

    The file is data: nothing in it is run, and all of it is checked.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Model

    Raises
    ------
    ImportError
        Without safetensors (the extra ``tables``).
    OSError
        If there is nothing to read.
    ValueError
        If the file is damaged, or something else.
    """
    _, description, arrays = files.read(path, "model")
    network = restore_network(path, description.get("network", {}), arrays)
    with files.restoring(path, "model"):
        return Model(
            network,
            tuple(_restore(column) for column in description["inputs"]),
            _restore(description["target"]),
            dict(description["notes"]),
            # What files of before did not say.
            description.get("missing", "refuse"),
            None if description.get("na") is None else tuple(_check_list(description["na"])),
            description.get("decimal", "."),
        )


def _restore(described: dict[str, Any]) -> Column:
    """Return a column from what `asdict` made of it."""
    if "values" not in described:
        return Number(**described)
    _check_list(described["values"])
    return Category(**described)


def _check_list(described: Any) -> Any:
    """Refuse texts and mappings where several texts belong: they would be taken letter by letter."""
    if not isinstance(described, list):
        raise TypeError("what must be a list of texts is none")
    return described


def find_rows(inputs: Sequence[Cells], target: Cells | None, missing: str) -> Array:
    """Return the rows that can be used, by what is missing in them.

    Raises
    ------
    TableError
        If a value is missing and that is to be refused, or if there are no rows.
    """
    columns = [*inputs, target] if target else [*inputs]
    if not len(columns[0]):
        raise TableError("the table has no rows")
    lacking = [cells for cells in columns if cells.is_missing.any()]
    if lacking and missing == "refuse":
        first = min(int(np.argmax(cells.is_missing)) for cells in lacking)
        counts = [f"{cells.name!r} ({cells.is_missing.sum():,} of {len(cells):,})" for cells in lacking]
        raise TableError(
            f"values are missing in {count(lacking, 'column')} {', '.join(counts)}, first in row "
            f"{first + 1}: leave such rows out, or train with ",
            Option("missing", "fill"),
            " or ",
            Option("missing", "drop"),
        )
    needed = columns if missing == "drop" else columns[len(inputs) :]
    return np.flatnonzero(~np.any([np.zeros(len(columns[0]), bool), *(cells.is_missing for cells in needed)], axis=0))


def _spread(values: Array, rows: Array, n_rows: int, empty: float | None) -> Array:
    """Return what there is for some rows for all of them, the others empty."""
    if len(rows) == n_rows:
        return values
    spread = np.full((n_rows, *values.shape[1:]), empty, object if empty is None else values.dtype)
    spread[rows] = values
    return spread
