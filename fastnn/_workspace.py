"""What kernels are handed, allocated: layouts and room to work in."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._validate import Array
from fastnn.kernels.activations import Activation
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import Method, Work, room_size

# Samples are taken in blocks so that the room for their values stays below this.
BUDGET = 64 * 2**20


def make_layout(sizes: Sequence[int], activations: Sequence[Activation], together: Sequence[bool] = ()) -> Layout:
    """Return the layout of a network; `together` says which of W1, b1, W2, ... are nudged as one."""
    return Layout(
        sizes=np.array(sizes, np.int64),
        activations=np.array(activations, np.int64),
        together=np.array(together or [False] * (2 * len(activations)), np.int64),
    )


def count_parameters(layout: Layout) -> int:
    """Return how many weights and biases a network has."""
    return int(((layout.sizes[:-1] + 1) * layout.sizes[1:]).sum())


def split(layout: Layout, theta: Array) -> list[Array]:
    """Return a flat vector as ``[W1, b1, W2, b2, ...]``, views of it."""
    arrays = []
    start = 0
    for n_in, n_out in zip(layout.sizes.tolist(), layout.sizes[1:].tolist(), strict=False):
        middle = start + n_in * n_out
        arrays += [theta[start:middle].reshape(n_in, n_out), theta[middle : middle + n_out]]
        start = middle + n_out
    return arrays


def make_work(layout: Layout, n_samples: int, method: Method, dtype: np.dtype[Any], n_chunks: int) -> Work:
    """Return room for blocks of up to n_samples samples."""
    perturbs = method in (Method.DIRECT, Method.SERIES)
    n_powers = 3 if method == Method.SERIES else 0
    n_layers = len(layout.activations)
    # Perturbation measures in float64 whatever the network's dtype: a float32
    # forward pass would cost the gradient seven digits.
    dtype = np.dtype(np.float64) if perturbs else dtype
    n_units, n_outputs = int(layout.sizes.sum()), int(layout.sizes[-1])
    n_parameters = count_parameters(layout)
    n_kinds = 4 if method == Method.BACKPROP else 3
    per_sample = dtype.itemsize * ((n_kinds + 2 * n_powers) * n_units + n_outputs)
    block = max(1, min(n_samples, BUDGET // per_sample))
    return Work(
        y=np.empty((block, n_outputs), dtype),
        values=np.empty((n_kinds, block * n_units), dtype),
        measured=np.empty((block, 2), np.float64),
        gradient=np.zeros(n_parameters if method != Method.NONE else 0, dtype),
        transposed=np.empty(n_parameters if perturbs else 0, np.float64),
        room=np.empty((n_chunks, room_size(n_layers, int(layout.sizes[1:].max())) if perturbs else 0), np.float64),
        checks=np.ones((3, n_layers, block), np.float64),
        series=np.empty((2, n_powers * block * n_units), np.float64),
    )


def view(layout: Layout, work: Work, kind: int, level: int, n_samples: int) -> Array:
    """Return one kind of a level's values, (n_samples, n_units)."""
    start = int(layout.sizes[:level].sum()) * n_samples
    n_units = int(layout.sizes[level])
    values: Array = work.values[kind, start : start + n_samples * n_units].reshape(n_samples, n_units)
    return values
