"""Training on tables: what is done to a table before, and what is kept after."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike

import fastnn
from fastnn._support import validate
from fastnn._support.choices import HiddenName, PolicyName, TaskName
from fastnn._support.interrupt import Interrupt
from fastnn._support.names import named_arguments
from fastnn._support.validate import Array
from fastnn.callbacks import Callback
from fastnn.model.network import mlp
from fastnn.model.samples import split_rows
from fastnn.tables._cells import Table
from fastnn.tables._columns import Category, Column, Number
from fastnn.tables._errors import Option, TableError, count, list_names
from fastnn.tables._kinds import holds_categories, holds_classes
from fastnn.tables._model import POLICIES, Model, find_rows
from fastnn.training.gradients import Backprop, Perturbation
from fastnn.training.history import History
from fastnn.training.optimizers import Adam, Optimizer
from fastnn.training.trainer import Trainer

PARTS = ("training", "validation")


class Trained(NamedTuple):
    """What `train` returns."""

    model: Model
    history: History
    measured: Mapping[str, Mapping[str, float]]  # of "training" and "validation", what `Model.evaluate` returns


@named_arguments
def train(
    table: Any,
    target: str,
    *,
    drop: str | Sequence[str] = (),
    category: str | Sequence[str] = (),
    task: TaskName = "auto",
    missing: PolicyName = "refuse",
    na: str | Sequence[str] | None = None,
    hidden: int | Sequence[int] = (32,),
    activation: HiddenName = "tanh",
    epochs: int = 50,
    batch_size: int | None = 32,
    gradient: Perturbation | Backprop = Perturbation(),  # noqa: B008 (frozen)
    optimizer: Optimizer = Adam(0.003),  # noqa: B008 (frozen)
    validation: float = 0.2,
    seed: int | np.random.Generator | None = 0,
    dtype: DTypeLike = "float64",
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
) -> Trained:
    """Train a network to predict one column of a table from the others.

    What a column is, numbers or categories, is decided here, once, and kept in the
    model: by its type, or, in a file of text, by all of its text. Numbers and booleans
    are standardised, texts become one-hot. Numbers that are taken as classes or
    categories are compared by value: 1 and 1.0 are the same.

    Parameters
    ----------
    table : Table, or frame of pandas, polars or Arrow, or dict of columns
        `read` makes a `Table` of a file.
    target : str
        The column to predict.
    drop : str or sequence of str
        Columns to leave out, such as ids.
    category : str or sequence of str
        Columns to take as categories whatever is in them, such as codes.
    task : {"auto", "classes", "numbers"}
        What the target is. "auto": text, booleans, and few different whole numbers are classes.
    missing : {"refuse", "drop", "fill"}
        What is done about missing values, here and in predictions: "drop" leaves such
        rows out, "fill" takes the mean of a column of numbers, the most frequent value
        of another. Rows without a target are left out in both cases.
    na : str, sequence of str, or None
        The texts that count as missing, besides empty ones, in any case. None: NA, N/A,
        NaN, NULL, #N/A and <NA> in files of text, and none elsewhere.
    hidden : int or sequence of int
        Units of the hidden layers; an empty sequence for none.
    activation : str
        Of the hidden layers.
    epochs, batch_size, gradient, optimizer, callbacks, progress
        As for `fastnn.Trainer` and its `fit`.
    validation : float
        Share of the rows, at most 0.5, that is held out to measure with.
    seed : int, numpy.random.Generator or None
        For weights, held-out rows and order.
    dtype : {"float64", "float32"}

    Returns
    -------
    Trained
        ``model``, ``history``, and ``measured``: what `Model.evaluate` returns, of the
        rows for "training" and for "validation". After Ctrl-C ``history.interrupted`` is
        true, the model is that of the last step, and what takes long is not measured.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described; `TableError`, a ValueError, if the
        table cannot be trained on. It names the column, the value and the row.
    FloatingPointError
        If the loss overflows; see `fastnn.Trainer.fit`.

    Examples
    --------
    >>> from fastnn import tables
    >>> table = {"ward": ["01", "ICU"] * 10, "age": [30, 80] * 10, "stays": [False, True] * 10}
    >>> model, history, measured = tables.train(table, "stays", epochs=20)
    >>> model.predict({"ward": ["ICU", "01"], "age": [77, 28]})
    array([ True, False])
    """
    training = Training(
        table,
        target,
        drop=drop,
        category=category,
        task=task,
        missing=missing,
        na=na,
        hidden=hidden,
        activation=activation,
        batch_size=batch_size,
        gradient=gradient,
        optimizer=optimizer,
        validation=validation,
        seed=seed,
        dtype=dtype,
    )
    return training.run(epochs, callbacks, progress)


class Training:
    """A table and a network that are ready to be trained; the arguments are those of `train`."""

    def __init__(
        self,
        table: Any,
        target: str,
        *,
        drop: str | Sequence[str],
        category: str | Sequence[str],
        task: TaskName,
        missing: PolicyName,
        na: str | Sequence[str] | None,
        hidden: int | Sequence[int],
        activation: HiddenName,
        batch_size: int | None,
        gradient: Perturbation | Backprop,
        optimizer: Optimizer,
        validation: float,
        seed: int | np.random.Generator | None,
        dtype: DTypeLike,
    ) -> None:
        validate.choice("task", task, get_args(TaskName))
        validate.choice("missing", missing, POLICIES)
        validate.number("validation", validation, low=0.0, high=0.5)
        rng = validate.generator("seed", seed)
        marks = None if na is None else tuple(_list(na))
        table = Table.of(table)
        said = _list(category)
        names = _choose_inputs(table, target, _list(drop), said)
        *inputs, to_predict = table.take([*names, target], marks)
        if len(table) and to_predict.is_missing.all():
            raise TableError(f"the target {target!r} has no values")
        for cells in inputs:
            if len(table) and cells.is_missing.all():
                raise TableError(f"column {cells.name!r} has no values: leave it out with ", Option("drop", cells.name))
        # The kinds are decided by all rows, before some are left out.
        is_classes = holds_classes(to_predict, task)
        are_categories = [cells.name in said or holds_categories(cells) for cells in inputs]
        rows = find_rows(inputs, to_predict, missing)
        fitted: Column
        if is_classes:
            fitted = Category.fit(to_predict, rows, rows, fills=False)
            strata = fitted.find(to_predict, rows)
            _check_classes(fitted, np.bincount(strata))
            train_rows, held_out = split_rows(strata, validation, rng)
        else:
            train_rows, held_out = split_rows(np.zeros(len(rows)), validation, rng)
        if not len(train_rows) or (validation and not len(held_out)):
            raise TableError(
                f"{table.name} has {len(rows)} rows that can be used, too few to hold a share of {validation:g} out; ",
                Option("validation", 0),
                " holds none out",
            )
        if not is_classes:
            fitted = Number.fit(to_predict, rows[train_rows], truths=to_predict.is_boolean, fills=False)
        fills = missing == "fill"
        columns = tuple(
            Category.fit(cells, rows, rows[train_rows], fills=fills)
            if is_category
            else Number.fit(cells, rows[train_rows], truths=cells.is_boolean, fills=fills)
            for cells, is_category in zip(inputs, are_categories, strict=True)
        )
        sizes = [sum(column.width for column in columns), *_list(hidden), fitted.width]
        network = mlp(*sizes, hidden=activation, output="softmax" if is_classes else "identity", seed=rng, dtype=dtype)
        self.model = Model(network, columns, fitted, {}, missing, marks, table.decimal)
        self.trainer = Trainer(
            network, loss=self.model.loss, gradient=gradient, optimizer=optimizer, batch_size=batch_size, seed=rng
        )
        self.n_left_out = len(table) - len(rows)
        self.filled = {cells.name: n for cells in inputs if fills and (n := int(cells.is_missing[rows].sum()))}
        X = self.model._encode_inputs(inputs, rows)
        y = self.model._encode_target(to_predict, rows).astype(network.dtype)
        self.parts = {"training": (X[train_rows], y[train_rows])}
        if len(held_out):
            self.parts["validation"] = (X[held_out], y[held_out])
        self._seed = seed if isinstance(seed, int) else str(seed)
        self._batch_size = batch_size or len(train_rows)

    def describe(self) -> list[str]:
        """Return what is to be trained on, in lines."""
        model = self.model
        n_train, n_held_out = (len(self.parts[part][1]) if part in self.parts else 0 for part in PARTS)
        lines = [
            f"{n_train + n_held_out:,} rows: {n_train:,} to train on, {n_held_out:,} held out",
            f"from {len(model.inputs)} {count(model.inputs, 'column')}: {list_names(c.name for c in model.inputs)}",
            f"to {model.target.name}: {model.target.describe()}",
        ]
        if self.n_left_out:
            lines.insert(1, f"left out for missing values: {self.n_left_out:,}")
        if self.filled:
            lines.insert(1, "filled: " + ", ".join(f"{name!r} in {n:,} rows" for name, n in self.filled.items()))
        return lines

    def run(self, epochs: int, callbacks: Iterable[Callback] = (), progress: bool | None = None) -> Trained:
        """Train, and measure what came of it; Ctrl-C, at any time, leaves what takes long and keeps the model."""
        validation = self.parts.get("validation")
        measured: dict[str, dict[str, float]] = {}
        with Interrupt() as interrupt:
            history = self.trainer.fit(
                *self.parts["training"], epochs, validation_data=validation, callbacks=callbacks, progress=progress
            )
            with contextlib.suppress(KeyboardInterrupt):
                for part, data in self.parts.items():
                    measured[part] = self.model._measure(*data)
        if interrupt.is_pressed():
            history = replace(history, interrupted=True)
        notes: dict[str, str | int | float] = {
            "rows": len(self.parts["training"][1]),
            "held out": len(validation[1]) if validation else 0,
            "epochs": len(history),
            "gradient": str(self.trainer.gradient),
            "optimiser": str(self.trainer.optimizer),
            "batch size": self._batch_size,
            "seed": self._seed,
            "fastnn": fastnn.__version__,
        }
        for part, metrics in measured.items():
            notes |= {f"{part} {name}": value for name, value in metrics.items() if np.isfinite(value)}
        return Trained(replace(self.model, notes=notes), history, measured)


def _choose_inputs(table: Table, target: str, drop: list[str], category: list[str]) -> list[str]:
    """Return the names of the columns to predict from, if all that are named are there."""
    for option, names in (("target", [target]), ("drop", drop), ("category", category)):
        for name in names:
            if name not in table.names:
                hint = validate.did_you_mean(name, table.names)
                raise TableError(f"{option} must be one of {list_names(table.names)}, got {name!r}{hint}")
    others = {target, *drop}
    inputs = [name for name in table.names if name not in others]
    if target in drop or not inputs:
        raise TableError(f"{table.name} needs the target {target!r} and at least one more column, after drop")
    strays = [name for name in category if name not in inputs]
    if strays:
        raise TableError(f"column {strays[0]!r} is no input that could be a category; for the target, there is task")
    nameless = [name for name in inputs if name.startswith("Unnamed:")]
    if nameless:
        raise TableError(
            f"a column of {table.name} has no name, as row numbers have: leave it out with ",
            Option("drop", nameless[0]),
            ", or give it a name",
        )
    return inputs


def _check_classes(target: Category, counts: Array) -> None:
    """Refuse classes that cannot be told apart, or not be held out."""
    if target.width < 2:
        raise TableError(f"every row of {target.name!r} is {target.values[0]!r}: there is nothing to learn")
    if counts.min() < 2:
        raise TableError(
            f"class {target.values[counts.argmin()]!r} of {target.name!r} has one row, and needs two at least; if the "
            "target is an amount rather than a class: ",
            Option("task", "numbers"),
        )


def _list(things: Any) -> list[Any]:
    """Return one thing or several as a list."""
    return [things] if isinstance(things, str | int) else list(things)
