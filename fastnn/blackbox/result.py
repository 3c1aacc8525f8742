"""What a search on a black box comes to."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastnn._support import html
from fastnn._support.validate import Array
from fastnn.blackbox.reading import Weights

COLUMNS = ("queries", "loss", "step", "rate", "nudge", "accepted", "measured")
# Readings, or steps, the last ones, that the loss of a result is the mean of.
LAST = 25


@dataclass(frozen=True, eq=False)
class Minimum:
    """What `minimize` found.

    Attributes
    ----------
    weights : ndarray or list of ndarray
        Shaped like the start: the last ones or, with ``average``, the mean over the last steps.
    last : ndarray or list of ndarray
        The weights after the last step.
    loss : float
        Mean of the last 25 readings at the weights themselves, where `measure_every` or `blocking` took some; of
        steps that `blocking` took back, none: if it took back all, that at the start. Else the mean of what the last
        25 steps read around them. nan if there are none.
    loss_error : float
        The standard error of that mean; nan of fewer than two.
    queries : int
        How often the loss was asked for, whatever for; those that failed, too.
    steps : int
        Steps taken.
    seconds : float
        Time of all calls of `Minimizer.run`.
    failed : int
        Queries that failed.
    stopped : {"queries", "seconds", "callback", "interrupted", "failed"}
        What ended it.
    settings : dict
        The numbers that were given or chosen by calibration: ``a``, ``A``, ``alpha``, ``c``, ``gamma``, of which a
        step k = 0, 1, ... takes the rate ``a / (A + k + 1)**alpha`` and the nudge ``c / (k + 1)**gamma``; and, with
        `blocking`, ``allowed``.
    history : dict of ndarray
        An entry a step: "queries" until its end, "loss" (the mean of its readings), "step" (its length), "rate",
        "nudge", "accepted" (0 where `blocking` took the step back) and "measured" (the loss at the weights that it
        led to, nan where that was not read).
    """

    weights: Weights
    last: Weights
    loss: float
    loss_error: float
    queries: int
    steps: int
    seconds: float
    failed: int
    stopped: str
    settings: dict[str, float]
    history: dict[str, Array] = field(repr=False)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came."""
        return self.stopped == "interrupted"

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def _repr_html_(self) -> str:
        rows: list[tuple[str | Array, ...]] = []
        for name in ("loss", "measured", "step", "rate", "nudge"):
            column = self.history[name]
            found = column[~np.isnan(column)]
            if found.size:
                rows.append((name, f"{found[0]:.4g}", f"{found.min():.4g}", f"{found[-1]:.4g}", column))
        return html.table(self._summary(), ["", "first", "least", "last", ""], rows)

    def _summary(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        return (
            f"Minimum: loss {self.loss:.4g} ± {self.loss_error:.2g}, {self.steps:,} steps, {self.queries:,} queries"
            f"{failed} in {self.seconds:.2g} s, stopped by {self.stopped}"
        )


class FailedQueries(FloatingPointError):
    """Too many queries failed, or a weight was no longer finite.

    Attributes
    ----------
    result : Minimum
        What there was before that step.
    """

    def __init__(self, message: str, result: Minimum) -> None:
        super().__init__(message)
        self.result = result


def find_loss(history: dict[str, Array], kept: list[float]) -> tuple[float, float]:
    """Return the mean of the last readings, and its standard error; `kept` is what blocking holds others against."""
    measured = history["measured"][~np.isnan(history["measured"]) & (history["accepted"] == 1.0)]
    last = (measured if measured.size else np.array(kept) if kept else history["loss"])[-LAST:]
    if last.size < 2:
        return (float(last[0]) if last.size else float("nan")), float("nan")
    return float(last.mean()), float(last.std(ddof=1) / np.sqrt(last.size))
