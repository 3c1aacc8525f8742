"""Calling a loss: what it is handed, and what counts as an answer."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn._support import validate
from fastnn._support.validate import Array

Weights = Array | list[Array]


class Query(NamedTuple):
    """Where a loss is to be read.

    Attributes
    ----------
    index : int
        Its number, counted from 0 in a run: no two queries are equal, though the weights may be.
    weights : ndarray or list of ndarray
        Shaped like the start; read-only.
    """

    index: int  # type: ignore[assignment]  # a tuple's method of that name is not missed
    weights: Weights


class Failure(float):
    """The answer nan, and why."""

    reason: str = ""


def fail(error: Exception) -> Failure:
    """Return the answer of a loss that raised."""
    answer = Failure(math.nan)
    answer.reason = f"{type(error).__name__}: {error}"
    return answer


def as_number(value: Any) -> float:
    """Return what a loss returned as a number, or say what it should have been."""
    if type(value) is float or isinstance(value, Failure):
        return value
    found, came = _as_array(value)
    if found.size == 1 and found.dtype.kind in "biuf":
        return float(found.reshape(()))
    raise TypeError(f"the loss must return one real number, got {came}")


def _as_array(value: Any) -> tuple[Array, str]:
    """Return what a loss returned as an array, and what to call it."""
    try:
        found = np.asarray(value)
    except ValueError:  # lists of several lengths
        found = np.asarray(None)
    came = validate.show(value) if found.dtype == object else f"shape {found.shape} and dtype {found.dtype}"
    return found, came


class Form(NamedTuple):
    """How the weights are handed over: one array, or a list of them."""

    shapes: tuple[tuple[int, ...], ...]
    is_list: bool

    def shape(self, flat: Array, lead: tuple[int, ...] = ()) -> Weights:
        """Return a vector of all weights, or `lead` of them, as views shaped like the start."""
        if not self.is_list:
            return flat.reshape(lead + self.shapes[0])
        parts, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            parts.append(flat[..., start : start + size].reshape(lead + shape))
            start += size
        return parts


class Reader:
    """A loss as something that a worker calls with a query; it is pickled with the loss in it."""

    def __init__(self, loss: Callable[[Any], Any]) -> None:
        self.loss = loss

    def __call__(self, query: Query) -> float:
        """Return the loss at a query's weights, nan if it raises."""
        try:
            value = self.loss(query.weights)
        except Exception as error:
            return fail(error)
        return as_number(value)

    def read_batch(self, points: Weights, n_points: int) -> Sequence[float]:
        """Return the losses at a batch of points, all nan if it raises."""
        try:
            values = self.loss(points)
        except Exception as error:
            return [fail(error)] * n_points
        found, came = _as_array(values)
        if found.shape != (n_points,) or found.dtype.kind not in "biuf":
            raise TypeError(
                f"with batched=True the loss must return {n_points} real numbers for as many points, got {came}"
            )
        numbers: list[float] = found.astype(float).tolist()
        return numbers
