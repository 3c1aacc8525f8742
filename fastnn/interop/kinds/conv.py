"""Convolutions. An odd zero of padding "same" stands below and to the right here, where theirs has it on both sides."""

from dataclasses import replace
from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import images
from fastnn.interop.kinds.dense import carry_error as carry_products
from fastnn.model.layers import Conv2D

TORCH, PARAMETERS = "Conv2d", ("weight", "bias")

shape = images.shape


def to_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W (n_filters, channels, height, width), and b."""
    w, b = arrays
    return [w.transpose(3, 2, 0, 1), b]


def from_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W (height, width, channels, n_filters), and b."""
    w, b = arrays
    return [w.transpose(2, 3, 1, 0), b]


def to_torch(nn: Any, layer: Conv2D, below: tuple[int, ...]) -> list[Any]:
    """Return a Conv2d, with the zeros before it that it cannot add itself."""
    top, bottom, left, right = images.make_geometry(layer, below).padding
    is_even = top == bottom and left == right
    padding = (top, left) if is_even else 0
    conv = nn.Conv2d(below[-1], layer.n_filters, layer.kernel_size, layer.strides, padding)
    return [conv] if is_even else [nn.ZeroPad2d((left, right, top, bottom)), conv]


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> Conv2D:
    """Return what a Conv2d is."""
    if (module.dilation, module.groups, module.padding_mode) != ((1, 1), 1, "zeros"):
        raise ValueError("and fastnn's Conv2D has no dilation, no groups and no padding but zeros")
    n_filters, n_channels, *kernel_size = arrays[0].shape
    if n_channels != below[-1]:
        raise ValueError(
            f"and what comes in has {below[-1]} channels, the last of input_shape (height, width, channels)"
        )
    valid = Conv2D(n_filters, tuple(kernel_size), "identity", module.stride)
    same = replace(valid, padding="same")
    wanted = images.make_geometry(same, below).padding
    left, right, top, bottom = padding
    zeros = np.array((top, bottom, left, right))
    if module.padding == "same":  # of a stride of 1, where both have the odd zero last
        zeros += wanted
    elif module.padding != "valid":
        zeros += np.repeat(module.padding, 2)
    if not zeros.any():
        return valid
    if tuple(zeros) != wanted:
        raise ValueError(
            f"with {zeros.tolist()} zeros above, below, left and right, and fastnn has none, or {[*wanted]}, which is "
            "padding='same'"
        )
    return same


def to_onnx(graph: Any, layer: Conv2D, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a Conv or, as onnxruntime has it in float32 only, in float64 the product that it is."""
    level = images.make_geometry(layer, below)
    top, bottom, left, right = level.padding
    name: str
    if graph.dtype == np.float32:
        name = graph.add("Conv", [value, *arrays], strides=level.strides, pads=(top, left, bottom, right))
        return name
    if any(level.padding):
        value = graph.add("Pad", [value, graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))])
    patches = graph.add("Concat", images.cut_onnx(graph, level, value), axis=1)
    # Units, then places, then channels: as the patches have them.
    columns = graph.add("Transpose", [arrays[0]], perm=(0, 2, 3, 1))
    columns = graph.add("Reshape", [columns, graph.constant(np.array([level.channels, -1]))])
    products = graph.add("Einsum", [columns, patches], equation="ck,nkyx->ncyx")
    bias = graph.add("Reshape", [arrays[1], graph.constant(np.array([-1, 1, 1]))])
    name = graph.add("Add", [products, bias])
    return name


def carry_error(layer: Conv2D, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off z is."""
    level = images.make_geometry(layer, below)
    w, b = arrays
    patches, errors = (images.cut_windows(level, array).reshape(-1, level.n_inputs) for array in (inputs, error))
    found = carry_products(layer, [w.reshape(-1, b.size), b], (level.n_inputs,), patches, errors)
    return found.reshape(len(inputs), level.height, level.width, level.channels)
