"""What a search is given, checked and cast."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._engine.devices import write_stuck
from fastnn._support import validate
from fastnn._support.validate import Array
from fastnn.blackbox.reading import Form
from fastnn.hardware import Devices
from fastnn.kernels.devices import N_NUMBERS
from fastnn.kernels.measured import Board


def flatten(weights: Any) -> tuple[Array, Form]:
    """Return the start as a vector of its own, float32 if all of it is, else float64, and how it was shaped."""
    is_list = isinstance(weights, list | tuple) and any(isinstance(part, np.ndarray) for part in weights)
    parts = list(weights) if is_list else [weights]
    names = [f"weights[{k}]" for k in range(len(parts))] if is_list else ["weights"]
    kinds = [getattr(part, "dtype", None) for part in parts]
    dtype = np.dtype(np.float32 if all(kind == np.float32 for kind in kinds) else np.float64)
    arrays = [validate.array(name, part, dtype) for name, part in zip(names, parts, strict=True)]
    theta = np.concatenate([array.ravel() for array in arrays])  # a copy also of one
    return theta, Form(tuple(array.shape for array in arrays), is_list)


def flatten_bounds(bounds: object, form: Form, theta: Array) -> Array:
    """Return the lowest and the highest values, (2, n_weights), or no rows without bounds.

    They are values that the weights' dtype has. A start that is a bound but for rounding is moved within.
    """
    if bounds is None:
        return np.zeros((0, theta.size))
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(f"bounds must be (low, high), numbers or shaped like the weights, got {validate.show(bounds)}")
    rows = []
    for name, bound, default in zip(("low", "high"), bounds, (-np.inf, np.inf), strict=True):
        if isinstance(bound, list | tuple) and form.is_list:
            parts: Sequence[Any] = bound
            if len(parts) != len(form.shapes):
                raise ValueError(f"the {name} bounds are {len(parts)} arrays, and the weights {len(form.shapes)}")
        else:
            parts = [bound] * len(form.shapes)
        try:
            found = [
                np.broadcast_to(np.asarray(default if part is None else part, float), shape).ravel()
                for part, shape in zip(parts, form.shapes, strict=True)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(f"the {name} bounds are no numbers shaped like the weights: {error}") from None
        rows.append(np.concatenate(found))
        if np.isnan(rows[-1]).any():
            raise ValueError(f"the {name} bounds have NaN, or None among numbers; {default:g} is no bound")
    low, high = rows
    with np.errstate(over="ignore"):
        nearest = np.array(rows).astype(theta.dtype)
    outside = (theta < nearest[0]) | (nearest[1] < theta)
    if outside.any():
        k = int(np.argmax(outside))
        raise ValueError(f"weight {k} starts at {theta[k]:g}, outside of its bounds {low[k]:g} and {high[k]:g}")
    is_beyond = np.array([nearest[0] < low, nearest[1] > high])
    inward = np.where(is_beyond, np.nextafter(nearest, nearest[::-1]), nearest)
    np.clip(theta, *inward, out=theta)
    return inward.astype(float)


def make_board(devices: Devices | None, theta: Array, seed: int) -> Board:
    """Return devices as kernels see them; what is stuck is so already, and nothing else is written yet."""
    size = theta.size if devices else 0
    numbers = devices._list_numbers(seed) if devices else np.zeros(N_NUMBERS)
    gains = devices._draw_gains(size, numbers, theta.dtype) if devices else np.zeros(0, theta.dtype)
    board = Board(numbers, gains, np.zeros(size, theta.dtype), np.zeros(size, theta.dtype))
    if devices:
        write_stuck(numbers, gains, theta, board.settings, board.acting)
    return board
