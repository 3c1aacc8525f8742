"""What is measured in training: an epoch's numbers, and all epochs'."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import numpy as np

from fastnn._support import html
from fastnn._support.names import Named
from fastnn._support.validate import Array
from fastnn.model.metrics import find_mode

# What an epoch's row begins with, before the trainer's metrics; nan for what was not measured.
COLUMNS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "seconds", "queries")
SECONDS, QUERIES = COLUMNS.index("seconds"), COLUMNS.index("queries")


class _Pair(NamedTuple):
    loss: float
    accuracy: float | None


class Evaluation(_Pair):
    """What `Trainer.evaluate` measures: a pair, and what else the trainer does.

    Attributes
    ----------
    loss : float
        Mean loss.
    accuracy : float or None
        Share of correct predictions; None for losses of numbers.
    metrics : dict of str to float
        The trainer's own metrics, by name.
    """

    metrics: dict[str, float]

    def __new__(cls, loss: float, accuracy: float | None, metrics: Mapping[str, float] | None = None) -> Self:
        """Return the pair, with those metrics, by default none."""
        pair = super().__new__(cls, loss, accuracy)
        pair.metrics = dict(metrics or {})
        return pair

    def __repr__(self) -> str:
        measured = {"loss": self.loss, "accuracy": self.accuracy, **self.metrics}
        return f"Evaluation({', '.join(f'{name}={value!r}' for name, value in measured.items())})"


@dataclass(frozen=True)
class History(Named):
    """What `Trainer.fit` measured, one entry an epoch.

    Attributes
    ----------
    loss : ndarray, shape (epochs,)
        Mean loss over the epoch's samples, each measured just before the step that
        its batch takes.
    accuracy : ndarray, shape (epochs,), or None
        Share of correct predictions, measured at the same time; None for losses of numbers.
    validation_loss, validation_accuracy : ndarray, shape (epochs,), or None
        Measured after the epoch; None without validation data.
    seconds : ndarray, shape (epochs,)
        Time of the epoch: of its steps, compilation included, and of its validation; not of what brings batches.
    interrupted : bool
        Whether Ctrl-C came. The next `fit` finishes the epoch that was begun, or begins it anew if its samples came as
        batches.
    queries : ndarray, shape (epochs,), or None
        How often the loss of a batch would have been read by the end of the epoch, over all calls of `fit`, if
        nothing but readings told of the network: what its gradient takes a step, `Perturbation.queries`, times the
        steps. None where that cannot be measured so, as with `Backprop`.
    metrics : mapping of str to ndarray, shape (epochs,)
        The trainer's metrics of the validation data, by their columns' names, such as "validation_r2", which are
        attributes as well.
    """

    loss: Array
    accuracy: Array | None
    validation_loss: Array | None
    validation_accuracy: Array | None
    seconds: Array
    interrupted: bool = False
    queries: Array | None = None
    metrics: Mapping[str, Array] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        columns = self.__dict__.get("metrics", {})
        return columns[name] if name in columns else super().__getattr__(name)  # type: ignore[misc]

    def to_dict(self) -> dict[str, Array]:
        """Return the measured arrays by name, leaving out what is None."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**{name: columns[name] for name in COLUMNS if columns[name] is not None}, **self.metrics}

    def __len__(self) -> int:
        return self.loss.size

    def __repr__(self) -> str:
        columns = [f"{_spell(name)} {first:.4g} to {last:.4g}" for name, _, first, last in self._named_columns()]
        return ", ".join([self._summary(), *columns, *["interrupted"] * self.interrupted])

    def _repr_html_(self) -> str:
        rows: list[tuple[str | Array, ...]] = []
        for name, column, first, last in self._named_columns():
            best, at = "", ""
            if mode := find_mode(name):
                k = np.argsort(-column if mode == "max" else column, kind="stable")[0]  # nan sorts last
                best, at = f"{column[k]:.4g}", f"{k + 1:,}"
            rows.append((_spell(name), f"{first:.4g}", best, at, f"{last:.4g}", column))
        caption = ", ".join([self._summary(), *["interrupted"] * self.interrupted])
        return html.table(caption, ["", "first", "best", "at epoch", "last", ""], rows)

    def _summary(self) -> str:
        n_epochs = f"{len(self):,} epoch" + "s" * (len(self) != 1)
        if not len(self):
            return f"History: {n_epochs}"
        queries = "" if self.queries is None else f", {self.queries[-1]:,.0f} queries"
        return f"History: {n_epochs} in {self.seconds.sum():.2g} s{queries}"

    def _named_columns(self) -> list[tuple[str, Array, float, float]]:
        """Return losses, accuracies and metrics: the name, each epoch, the first and the last measurement."""
        named = []
        for name, column in self.to_dict().items():
            measured = column[~np.isnan(column)]  # other fits may have had no validation data
            if name not in ("seconds", "queries") and measured.size:
                named.append((name, column, measured[0], measured[-1]))
        return named


def _spell(name: str) -> str:
    return name.replace("_", " ")


def name_columns(metrics: Iterable[str]) -> list[str]:
    """Return what stands in an epoch's row, with such metrics."""
    return [*COLUMNS, *(f"validation_{name}" for name in metrics)]


def make_history(rows: Sequence[Array], interrupted: bool, metrics: Iterable[str] = ()) -> History:
    """Return the history of some epochs, a row each."""
    names = name_columns(metrics)
    table = np.array(rows).reshape(-1, len(names))
    accuracy, validation_loss, validation_accuracy, queries = (
        None if np.isnan(column).all() else column for column in table.T[[1, 2, 3, QUERIES]]
    )
    seconds = table[:, SECONDS]
    found = {name: column for name, column in zip(names, table.T, strict=True) if name not in COLUMNS}
    measured = {name: column for name, column in found.items() if not np.isnan(column).all()}
    columns = table[:, 0], accuracy, validation_loss, validation_accuracy, seconds
    return History(*columns, interrupted, queries, measured)
