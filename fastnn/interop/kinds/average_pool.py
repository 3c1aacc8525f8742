"""Pools of the mean."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.interop.kinds.dense import EPS
from fastnn.model.layers import AveragePool2D

TORCH, PARAMETERS = "AvgPool2d", ()

shape = images.shape
to_others = from_others = images.no_weights


def to_torch(nn: Any, layer: AveragePool2D, below: tuple[int, ...]) -> list[Any]:
    """Return an AvgPool2d."""
    return [nn.AvgPool2d(layer.pool_size, layer.strides)]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> AveragePool2D:
    """Return what an AvgPool2d is."""
    if module.padding not in (0, (0, 0)) or module.ceil_mode or module.divisor_override is not None:
        raise ValueError("and fastnn's AveragePool2D has no padding, no ceil_mode and no divisor_override")
    return AveragePool2D(module.kernel_size, module.stride)


def to_onnx(graph: Any, layer: AveragePool2D, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add an AveragePool or, as onnxruntime has it in float32 only, in float64 the sum that it is, and a division."""
    name: str
    if graph.dtype == np.float32:
        name = graph.add("AveragePool", [value], kernel_shape=layer.pool_size, strides=layer.strides)
        return name
    level = images.make_geometry(layer, below)
    total = graph.add("Sum", images.cut_onnx(graph, level, value))
    name = graph.add("Div", [total, graph.constant(np.array(float(np.prod(level.kernel_size))))])
    return name


def carry_error(
    layer: AveragePool2D, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array
) -> Array:
    """Return how far off the mean is."""
    level = images.make_geometry(layer, below)
    sizes, errors = (images.cut_windows(level, array).mean(axis=(3, 4)) for array in (np.abs(inputs), error))
    found: Array = errors + (np.prod(level.kernel_size) + 2) * EPS * (sizes + errors)
    return found
