"""Gated recurrent units: gates are r, z, n here and in PyTorch, z, r, n in ONNX."""

from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.interop.kinds import recurrent
from fastnn.interop.kinds.dense import EPS
from fastnn.model.layers import GRU

TORCH, PARAMETERS = "GRU", recurrent.PARAMETERS

shape = recurrent.shape


def to_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W, U and both biases."""
    w, u, b = arrays
    return [w.T, u.T, *b]


def from_others(arrays: list[Array], below: tuple[int, ...]) -> list[Array]:
    """Return W, U and both biases as the rows of one."""
    w, u, *biases = arrays
    return [w.T, u.T, np.stack(biases)]


def to_torch(nn: Any, layer: GRU, below: tuple[int, ...]) -> list[Any]:
    """Return a GRU."""
    return recurrent.to_torch(nn.GRU, layer, below)


def from_torch(module: Any, arrays: list[Array], below: tuple[int, ...], padding: tuple[int, ...]) -> GRU:
    """Return what a GRU is, all steps of it."""
    recurrent.check(module, arrays, below)
    return GRU(module.hidden_size, return_sequences=True)


def to_onnx(graph: Any, layer: GRU, arrays: list[str], below: tuple[int, ...], value: str) -> str:
    """Add a GRU, in float64 what it is made of."""
    if graph.dtype == np.float32:
        return recurrent.to_onnx(graph, layer, arrays, below, value, [1, 0, 2], linear_before_reset=1)
    return recurrent.unroll_onnx(graph, layer, arrays, below, value, _step)


def _step(graph: Any, z: str, z_state: str, states: list[str]) -> list[str]:
    """Add a step: n + z (a - n), with z the second gate."""
    add = graph.add
    (r, z, n), (r_state, u_state, n_state) = graph.split(z, 3), graph.split(z_state, 3)
    r, z = add("Sigmoid", [add("Add", [r, r_state])]), add("Sigmoid", [add("Add", [z, u_state])])
    n = add("Tanh", [add("Add", [n, add("Mul", [r, n_state])])])
    return [add("Add", [n, add("Mul", [z, add("Sub", [states[0], n])])])]


def carry_error(layer: GRU, arrays: list[Array], below: tuple[int, ...], inputs: Array, error: Array) -> Array:
    """Return how far off a is, which is 1 at most: slopes are 1/4 of gates and 1 of n.

    r u is off by what u is, and by u times what r is; z a + (1 - z) n by the larger of what a and n are,
    and by 2, the farthest that a and n are apart, times what z is.
    """
    w, u, b = (np.abs(array) for array in arrays)
    size = off = np.zeros((len(inputs), layer.n_units))
    found = []
    for t in range(below[0]):
        x, state = np.abs(inputs[:, t]) @ w + b[0], size @ u + b[1]
        x_off, state_off = error[:, t] @ w, off @ u
        x_off = x_off + (len(w) + 2) * EPS * (x + x_off)
        state_off = state_off + (len(u) + 2) * EPS * (state + state_off)
        (x_r, x_z, x_n), (off_r, off_z, off_n) = (
            np.split(array, 3, axis=1) for array in (x + state, x_off + state_off)
        )
        r_off, z_off = off_r / 4 + EPS * (x_r + 8), off_z / 4 + EPS * (x_z + 8)
        n_off = off_n + np.split(state, 3, axis=1)[2] * r_off + EPS * (4 * x_n + 8)
        off = np.maximum(n_off, off) + 2 * z_off + 8 * EPS
        size = np.ones_like(size)
        found.append(off)
    return recurrent.select(layer, found)
