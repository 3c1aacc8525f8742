"""Long short-term memory: gates are i, f, g, o here and in PyTorch, i, o, f, g in ONNX."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import recurrent
from fastnn.interop.kinds.dense import EPS
from fastnn.model.layers import LSTM

TORCH, PARAMETERS = "LSTM", recurrent.PARAMETERS

shape = recurrent.shape
to_others, from_others = recurrent.to_others, recurrent.from_others


def to_torch(nn: Any, layer: LSTM, below: tuple[int, ...]) -> list[Any]:
    """Return an LSTM."""
    return recurrent.to_torch(nn.LSTM, layer, below)


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> LSTM:
    """Return what an LSTM is, all steps of it."""
    recurrent.check(module, arrays, below)
    return LSTM(module.hidden_size, return_sequences=True)


def to_onnx(graph: Any, layer: LSTM, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add an LSTM, in float64 what it is made of."""
    if graph.dtype == np.float32:
        return recurrent.to_onnx(graph, layer, arrays, below, value, [0, 3, 1, 2])
    return recurrent.unroll_onnx(graph, layer, arrays, below, value, _step, n_states=2)


def _step(graph: Any, z: str, z_state: str, states: list[str]) -> list[str]:
    """Add a step, of a and c."""
    add = graph.add
    i, f, g, o = graph.split(add("Add", [z, z_state]), 4)
    i, f, o = (add("Sigmoid", [gate]) for gate in (i, f, o))
    c = add("Add", [add("Mul", [f, states[1]]), add("Mul", [i, add("Tanh", [g])])])
    return [add("Mul", [o, add("Tanh", [c])]), c]


def carry_error(layer: LSTM, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off a is, which is 1 at most, as c is at step t at most t: slopes are 1/4 of gates and 1 of tanh.

    A product is off by what either factor is, times the other, which a gate's is at most 1.
    """
    w, u, b = (np.abs(array) for array in arrays)
    size = off = c_off = np.zeros((len(inputs), layer.n_units))
    found = []
    for t in range(below[0]):
        total = np.abs(inputs[:, t]) @ w + size @ u + b
        carried = error[:, t] @ w + off @ u
        carried = carried + (len(w) + len(u) + 4) * EPS * (total + carried)
        i_off, f_off, g_off, o_off = np.split(carried, 4, axis=1)
        i_off, f_off, g_off, o_off = (part + 8 * EPS for part in (i_off / 4, f_off / 4, g_off, o_off / 4))
        c_off = c_off + t * f_off + g_off + i_off + 4 * EPS * (t + 1)
        off = o_off + c_off + 12 * EPS
        size = np.ones_like(size)
        found.append(off)
    return recurrent.select(layer, found)
