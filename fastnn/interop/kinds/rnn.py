"""Recurrent layers, of the activations that PyTorch has."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import recurrent
from fastnn.interop.kinds.dense import EPS
from fastnn.model.layers import RNN

TORCH, PARAMETERS = "RNN", recurrent.PARAMETERS
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}

shape = recurrent.shape
to_others, from_others = recurrent.to_others, recurrent.from_others


def to_torch(nn: Any, layer: RNN, below: tuple[int, ...]) -> list[Any]:
    """Return an RNN."""
    return recurrent.to_torch(nn.RNN, layer, below, nonlinearity=layer.activation)


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> RNN:
    """Return what an RNN is, all steps of it."""
    recurrent.check(module, arrays, below)
    return RNN(module.hidden_size, module.nonlinearity, return_sequences=True)


def to_onnx(graph: Any, layer: RNN, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add an RNN, in float64 what it is made of."""
    operator = ACTIVATIONS[layer.activation]
    if graph.dtype == np.float32:
        return recurrent.to_onnx(graph, layer, arrays, below, value, [0], activations=[operator])

    def step(graph: Any, z: str, z_state: str, states: list[str]) -> list[str]:
        return [graph.add(operator, [graph.add("Add", [z, z_state])])]

    return recurrent.unroll_onnx(graph, layer, arrays, below, value, step)


def carry_error(layer: RNN, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off a is, whose sizes are bounded step by step, as slopes are by 1."""
    w, u, b = (np.abs(array) for array in arrays)
    size = off = np.zeros((len(inputs), layer.n_units))
    found = []
    for t in range(below[0]):
        total = np.abs(inputs[:, t]) @ w + size @ u + b
        carried = error[:, t] @ w + off @ u
        size = np.minimum(total, 1.0) if layer.activation == "tanh" else total
        off = carried + (len(w) + len(u) + 4) * EPS * (total + carried) + 8 * EPS * np.maximum(1.0, size)
        found.append(off)
    return recurrent.select(layer, found)
