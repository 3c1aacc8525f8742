"""Dropout: nothing where it is predicted, here and there."""

from typing import Any

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.model.layers import Dropout

TORCH, PARAMETERS = "Dropout", ()


def shape(layer: Dropout, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return that of the level below."""
    return below


to_others = from_others = images.no_weights


def to_torch(nn: Any, layer: Dropout, below: tuple[int, ...]) -> list[Any]:
    """Return a Dropout."""
    return [nn.Dropout(layer.rate)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> Dropout:
    """Return what a Dropout is."""
    return Dropout(module.p)


def to_onnx(graph: Any, layer: Dropout, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add nothing: files are for predictions."""
    return value


def carry_error(layer: Dropout, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off the same numbers are."""
    return error
