"""What kernels are handed, allocated: layouts and workspaces."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from fastnn._support.validate import Array
from fastnn.kernels.activations import Activation
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import (
    CHECKS,
    KINDS,
    MEASURED,
    PERTURBATIONS,
    Data,
    Method,
    Task,
    Work,
    scratch_size,
    taylor_size,
)

# Samples are taken in blocks so that the space for their values stays below this.
BUDGET = 64 * 2**20
# Workspaces that are kept for the next call, and their bytes, in all.
N_KEPT = 8
KEPT = 2 * BUDGET

_kept: dict[tuple[Any, ...], Work] = {}


def make_layout(sizes: Sequence[int], activations: Sequence[Activation], shared_biases: Sequence[bool] = ()) -> Layout:
    """Return the layout of a network; `shared_biases` says in which layers all units have one."""
    parameters = [(n_in + 1) * n_out for n_in, n_out in pairwise(sizes)]
    return Layout(
        sizes=np.array(sizes, np.int64),
        starts=np.array([[0, *accumulate(sizes[:-1])], [0, *accumulate(parameters)]], np.int64),
        activations=np.array(activations, np.int64),
        shared_biases=np.array(shared_biases or [False] * len(activations), np.int64),
    )


def count_parameters(layout: Layout) -> int:
    """Return how many weights and biases a network has."""
    return int(layout.starts[1, -1])


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
    """Return a workspace for blocks of up to n_samples samples."""
    n_layers = len(layout.activations)
    widest = int(layout.sizes.max())
    n_units, n_outputs = int(layout.sizes.sum()), int(layout.sizes[-1])
    n_parameters = count_parameters(layout) if method != Method.NONE else 0
    n_kinds = {Method.NONE: 3, Method.BACKPROP: 4, Method.DIRECT: 5, Method.SERIES: KINDS}[method]
    per_sample = dtype.itemsize * (n_kinds * n_units + n_outputs)
    block = max(1, min(n_samples, BUDGET // per_sample))
    perturbs = method in (Method.DIRECT, Method.SERIES)
    # Only these can be curved above the next level: see `series.is_curved_above`.
    deep = method == Method.SERIES and (n_layers > 2 or layout.activations[-1] == Activation.SOFTMAX)
    return Work(
        y=np.empty((block, n_outputs), dtype),
        values=np.empty((n_kinds, block * n_units), dtype),
        ones=np.ones((1, block), dtype),
        measured=np.empty((MEASURED, block), np.float64),
        gradient=np.zeros(n_parameters, dtype),
        transposed=np.empty((3 if method == Method.SERIES else 1, n_parameters), dtype),
        norms=np.empty((2, n_units), np.float64),
        checks=np.empty((CHECKS, n_layers, block), np.float64),
        taylor=np.empty((n_chunks, taylor_size(widest) if deep else 0), dtype),
        scratch=np.zeros((n_chunks, scratch_size(widest if perturbs else 0)), np.float64),
        listed=np.empty((n_chunks, 4, widest + PERTURBATIONS), np.int64),
        stop=np.zeros(1, np.int64),
    )


@contextlib.contextmanager
def borrow_work(layout: Layout, n_samples: int, method: Method, dtype: np.dtype[Any], n_chunks: int) -> Iterator[Work]:
    """Lend what `make_work` makes; it is kept for the next call, and nobody else has it meanwhile.

    Whoever leaves by an exception does not give it back: somebody may still write there.
    """
    key = layout.sizes.tobytes(), layout.activations.tobytes(), n_samples, BUDGET, method, dtype, n_chunks
    work = _kept.pop(key, None) or make_work(layout, n_samples, method, dtype, n_chunks)
    yield work
    _kept[key] = work
    while len(_kept) > N_KEPT or sum(array.nbytes for kept in list(_kept.values()) for array in kept) > KEPT:
        _kept.pop(next(iter(list(_kept)), key), None)


def make_plain_task(loss: int, method: Method, n_chunks: int) -> Task:
    """Return what kernels are told where nothing is perturbed: a loss (-1 for none), and perhaps its slope."""
    return Task(loss, int(method), False, 1.0, 1, 0.0, False, False, n_chunks)


def make_data(x: Array, y: Array, order: Array | None = None) -> Data:
    """Return samples for kernels, in the order given or as they stand.

    Read-only views: kernels have no business writing there, and the user's own
    read-only arrays need no second compilation.
    """
    if order is None:
        order = np.arange(len(x)).reshape(1, -1)
    views = [array.view() for array in (x, y, order)]
    for array in views:
        array.flags.writeable = False
    return Data(*views)


def view(layout: Layout, work: Work, kind: int, level: int, n_samples: int) -> Array:
    """Return one kind of a level's values, (n_samples, n_units)."""
    start = int(layout.starts[0, level]) * n_samples
    n_units = int(layout.sizes[level])
    values: Array = work.values[kind, start : start + n_samples * n_units].reshape(n_samples, n_units)
    return values
