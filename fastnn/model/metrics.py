"""What is measured of predictions besides the loss: by name, or by functions of one's own."""

import numbers
from collections.abc import Callable, Iterable
from typing import Any, get_args

import numpy as np

from fastnn._support import validate
from fastnn._support.choices import MetricName
from fastnn._support.validate import Array
from fastnn.kernels.losses import MODULES, Loss

# Handed what was wanted and what the network gave, both (n_rows, n_outputs).
Metric = Callable[[Array, Array], float]


def _measure_r2(loss: Loss, y: Array, a: Array) -> float:
    """Return the coefficient of determination, the mean over outputs: what is constant has 1 or 0; of one row, nan."""
    if len(y) < 2:
        return np.nan
    errors, spread = np.square(y - a).sum(axis=0), np.square(y - y.mean(axis=0)).sum(axis=0)
    varies = spread > 0
    scores = np.where(varies, 1 - errors / np.where(varies, spread, 1), errors == 0)
    return float(scores.mean())


def _measure_mae(loss: Loss, y: Array, a: Array) -> float:
    """Return the mean absolute error over rows and outputs."""
    return float(np.abs(y - a).mean())


def _measure_f1(loss: Loss, y: Array, a: Array) -> float:
    """Return F1, the mean over classes that are wanted or given, or over outputs that each stand alone; of none, 0."""
    wanted, given = y > 0.5, a > 0.5
    if MODULES[loss].TARGETS == "distributions":
        wanted, given = (x.argmax(axis=1)[:, None] == np.arange(x.shape[1]) for x in (y, a))
        occurs = (wanted | given).any(axis=0)
        wanted, given = wanted[:, occurs], given[:, occurs]
    total = wanted.sum(axis=0) + given.sum(axis=0)
    return float((2 * (wanted & given).sum(axis=0) / np.maximum(total, 1)).mean())


METRICS = {"r2": _measure_r2, "mae": _measure_mae, "f1": _measure_f1}
# Of what is known whether more or less of it is better.
MODES = {"loss": "min", "accuracy": "max", "r2": "max", "mae": "min", "f1": "max"}


def find_mode(column: str) -> str | None:
    """Return if less of what a column of the history has is better, "min", or more, "max"; None if nobody knows."""
    return MODES.get(column.removeprefix("validation_"))


def check_metrics(metrics: Iterable[MetricName | Metric], loss: Loss) -> dict[str, MetricName | Metric]:
    """Return what is measured besides the loss and accuracy, by name: functions, and names of fastnn's own."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names and functions, got {validate.show(metrics)}")
    found: dict[str, MetricName | Metric] = {}
    for k, metric in enumerate(metrics):
        if callable(metric):
            name = getattr(metric, "__name__", "")
            if not name.isidentifier() or name in MODES:
                raise ValueError(
                    f"metrics[{k}] is a function named {name!r}, and its name is the history's column: define one with "
                    "def, under a name of its own"
                )
        else:
            name = validate.choice(f"metrics[{k}]", metric, get_args(MetricName))
            if name in ("accuracy", "f1") and not loss.classifies:
                raise ValueError(
                    f"metrics[{k}] is {name!r}, of classes, and the loss {loss.name.lower()} is of numbers"
                )
        if name in found:
            raise ValueError(f"metrics has {name!r} twice")
        found[name] = metric
    found.pop("accuracy", None)  # measured anyway
    return found


def measure_metric(metric: str | Metric, loss: Loss, y: Array, a: Array) -> float:
    """Return a metric of rows wanted and given, in float64."""
    y, a = y.astype(float), a.astype(float)
    if isinstance(metric, str):
        return METRICS[metric](loss, y, a)
    value: Any = metric(y, a)
    if not isinstance(value, numbers.Real):
        raise TypeError(f"the metric {metric.__name__} must return a number, got {validate.show(value)}")
    return float(value)
