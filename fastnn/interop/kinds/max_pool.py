"""Pools of the largest."""

from typing import Any

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.model.layers import MaxPool2D

TORCH, PARAMETERS = "MaxPool2d", ()

shape = images.shape
to_others = from_others = images.no_weights


def to_torch(nn: Any, layer: MaxPool2D, below: tuple[int, ...]) -> list[Any]:
    """Return a MaxPool2d."""
    return [nn.MaxPool2d(layer.pool_size, layer.strides)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> MaxPool2D:
    """Return what a MaxPool2d is."""
    if module.padding not in (0, (0, 0)) or module.dilation not in (1, (1, 1)):
        raise ValueError("and fastnn's MaxPool2D has no padding and no dilation")
    if module.ceil_mode or module.return_indices:
        raise ValueError("and fastnn's MaxPool2D has no ceil_mode and no return_indices")
    return MaxPool2D(module.kernel_size, module.stride)


def to_onnx(graph: Any, layer: MaxPool2D, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a MaxPool."""
    name: str = graph.add("MaxPool", [value], kernel_shape=layer.pool_size, strides=layer.strides)
    return name


def carry_error(layer: MaxPool2D, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off the largest is: not farther than the farthest."""
    found: Array = images.cut_windows(images.make_geometry(layer, below), error).max(axis=(3, 4))
    return found
