"""The analytic gradient, by the chain rule from the outputs down."""

from fastnn._compiler.jit import kernel, line, unit, unpack
from fastnn.kernels.activations import Activation
from fastnn.kernels.losses import output_delta
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear
from fastnn.kernels.work import (
    DELTA,
    GRAD_A,
    SLOPE,
    A,
    Method,
    is_weighted,
    share,
    span,
    stretch,
    transposed_weights,
    values,
)


@kernel
def rows_alike(layout, data, n_rows, work):
    """Return how many samples' outputs go through the loss's slopes as one vector: all where each stands alone."""
    softmax = layout.activations[layout.activations.size - 1] == Activation.SOFTMAX
    return 1 if softmax or is_weighted(data, work) else max(n_rows, 1)


@kernel(inline=True)
def backward(layout, data, task, block, first, last, work):
    """Write delta, the slope of the batch's mean loss with z, of every level for samples first to last.

    And grad_a, its gradient with respect to a, where the workspace has a row for it.
    """
    n_samples = block.n_samples
    top = layout.activations.size
    rows = rows_alike(layout, data, last - first, work)
    for start in range(first, last, rows):
        output_delta(
            task.loss,
            layout.activations[top - 1],
            stretch(layout, work, A, top, n_samples, start, start + rows),
            stretch(layout, work, SLOPE, top, n_samples, start, start + rows),
            line(work.y, start * work.y.shape[1], rows * work.y.shape[1]),
            share(block, work, start),
            stretch(layout, work, DELTA, top, n_samples, start, start + rows),
        )
    for level in range(top - 1, 0, -1):
        kind = GRAD_A if task.method == Method.SERIES else DELTA
        grad_a = stretch(layout, work, kind, level, n_samples, first, last)
        clear(grad_a)
        above = values(layout, work, DELTA, level + 1, n_samples)
        through = transposed_weights(layout, work, level, 0)
        add_product(above, through, first, last, values(layout, work, kind, level, n_samples))
        below = stretch(layout, work, DELTA, level, n_samples, first, last)
        slope = stretch(layout, work, SLOPE, level, n_samples, first, last)
        for k in range(grad_a.size):
            below[k] = grad_a[k] * slope[k]


@unit
def run_backward(packed, block, task, step, chunk):
    """Find delta for this chunk's samples."""
    layout, _, data, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    backward(layout, data, task, block, first, last, work)
