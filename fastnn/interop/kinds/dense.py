"""Dense layers. What was an image is flattened channels first there, so that W's rows are in another order."""

import math
from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.model.layers import Dense

TORCH, PARAMETERS = "Linear", ("weight", "bias")
EPS = float(np.finfo(np.float64).eps)


def shape(layer: Dense, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of its units."""
    return (layer.n_units,)


def to_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W (n_units, n_inputs), and b."""
    w, b = arrays
    return [np.moveaxis(w.reshape(*below, b.size), -2, 0).reshape(w.shape).T, b]


def from_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W (n_inputs, n_units), and b."""
    w, b = arrays
    return [np.moveaxis(w.T.reshape(below[-1], *below[:-1], b.size), 0, -2).reshape(w.T.shape), b]


def to_torch(nn: Any, layer: Dense, below: tuple[int, ...]) -> list[Any]:
    """Return a Linear, with a Flatten before it over an image."""
    return [nn.Flatten()] * (len(below) > 1) + [nn.Linear(math.prod(below), layer.n_units)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> Dense:
    """Return what a Linear is."""
    n_units, n_inputs = arrays[0].shape
    if n_inputs != math.prod(below):
        raise ValueError(f"and what comes in has {' x '.join(map(str, below))} numbers")
    return Dense(n_units, "identity")


def to_onnx(graph: Any, layer: Dense, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a product."""
    if len(below) > 1:
        value = graph.add("Flatten", [value], axis=1)
    name: str = graph.add("Gemm", [value, *arrays], transB=1)
    return name


def carry_error(layer: Any, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off z is."""
    w, b = arrays
    inputs, error = inputs.reshape(len(inputs), -1), error.reshape(len(inputs), -1)
    carried = error @ np.abs(w)
    found: Array = carried + (len(w) + 2) * EPS * (np.abs(inputs) @ np.abs(w) + np.abs(b) + carried)
    return found
