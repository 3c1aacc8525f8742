"""What layers over images have in common."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.kernels.layers.maps import Geometry
from fastnn.model.layers import IMAGE


def shape(layer: Any, below: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the image that a layer makes of another."""
    level = make_geometry(layer, below)
    return level.height, level.width, level.channels


def make_geometry(layer: Any, below: Any) -> Geometry:
    """Return what a layer makes of an image."""
    geometry: Geometry = layer._make_geometry(Geometry(*below), IMAGE)
    return geometry


def cut_windows(level: Geometry, x: Array) -> Array:
    """Return what a layer meets at each of its places, (n, height, width, its own height, its own width, channels)."""
    top, bottom, left, right = level.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, level.kernel_size, axis=(1, 2))
    found: Array = np.moveaxis(windows[:, :: level.strides[0], :: level.strides[1]], 3, -1)
    return found


def cut_onnx(graph: Any, level: Geometry, value: str) -> list[str]:
    """Add what cuts an image, channels first, into those that each place of a kernel or window meets."""
    starts = [(y, x) for y in range(level.kernel_size[0]) for x in range(level.kernel_size[1])]
    axes, steps = graph.constant(np.array([2, 3])), graph.constant(np.array(level.strides))
    lengths = (level.height - 1) * level.strides[0] + 1, (level.width - 1) * level.strides[1] + 1
    return [
        graph.add(
            "Slice", [value, graph.constant(np.array(start)), graph.constant(np.add(start, lengths)), axes, steps]
        )
        for start in starts
    ]


def no_weights(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return the weights of a layer that has none."""
    return arrays
