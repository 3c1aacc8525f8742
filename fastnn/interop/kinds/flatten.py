"""Flatten: a Dense above flattens what it is handed, here and there."""

from typing import Any

from fastnn.interop.kinds import images
from fastnn.model.layers import Flatten

TORCH, PARAMETERS = "Flatten", ()


def shape(layer: Flatten, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return that of the image: the Dense above wants to know it."""
    return below


to_others = images.no_weights


def to_torch(nn: Any, layer: Flatten, below: tuple[int, ...]) -> list[Any]:
    """Return nothing."""
    return []


def to_onnx(graph: Any, layer: Flatten, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add nothing."""
    return value
