"""Flatten: over an image, a Dense above flattens what it is handed, here and there; a sequence is flattened here."""

import math
from typing import Any

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.model.layers import Flatten

TORCH, PARAMETERS = "Flatten", ()


def shape(layer: Flatten, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return that of an image, which the Dense above wants to know; of a sequence its numbers."""
    return below if len(below) == 3 else (math.prod(below),)


to_others = images.no_weights


def to_torch(nn: Any, layer: Flatten, below: tuple[int, ...]) -> list[Any]:
    """Return a Flatten of a sequence, of an image nothing."""
    return [nn.Flatten()] * (len(below) == 2)


def to_onnx(graph: Any, layer: Flatten, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a Flatten of a sequence, of an image nothing."""
    if len(below) == 2:
        value = graph.add("Flatten", [value], axis=1)
    return value


def carry_error(layer: Flatten, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off the same numbers are."""
    return error.reshape(len(error), -1)
