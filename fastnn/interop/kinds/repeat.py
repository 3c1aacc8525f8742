"""Repeat: a flat level as every step of a sequence."""

import math
from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.model.layers import Repeat

TORCH, PARAMETERS = "Repeat", ()


def shape(layer: Repeat, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the sequence."""
    return layer.n_steps, math.prod(below)


to_others = from_others = images.no_weights


def to_torch(nn: Any, layer: Repeat, below: tuple[int, ...]) -> list[Any]:
    """Return fastnn's own module, with a Flatten before it over an image of one place."""
    from fastnn.interop import steps

    return [nn.Flatten()] * (len(below) > 1) + [steps.Repeat(layer.n_steps)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> Repeat:
    """Return what a Repeat is."""
    return Repeat(module.n_steps)


def to_onnx(graph: Any, layer: Repeat, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a Tile."""
    flat = graph.add("Flatten", [value], axis=1)
    step = graph.add("Unsqueeze", [flat, graph.constant(np.array([1]))])
    name: str = graph.add("Tile", [step, graph.constant(np.array([1, layer.n_steps, 1]))])
    return name


def carry_error(layer: Repeat, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off each step is."""
    return np.stack([error.reshape(len(error), -1)] * layer.n_steps, axis=1)
