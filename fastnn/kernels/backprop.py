"""The analytic gradient, by the chain rule from the outputs down."""

from fastnn._jit import kernel, unit, unpack
from fastnn.kernels.losses import output_delta
from fastnn.kernels.products import add_product, clear
from fastnn.kernels.work import DELTA, PULL, SLOPE, A, Method, share, span, stretch, transposed_weights, values


@kernel(inline=True)
def backward(layout, task, block, first, last, work):
    """Write delta, the slope of the batch's mean loss with z, of every level for samples first to last.

    And pull, its slope with a, when there is room for it.
    """
    n_samples = block.n_samples
    top = layout.activations.size
    a = values(layout, work, A, top, n_samples)
    slope = values(layout, work, SLOPE, top, n_samples)
    delta = values(layout, work, DELTA, top, n_samples)
    code = layout.activations[top - 1]
    for n in range(first, last):
        output_delta(task.loss, code, a[n], slope[n], work.y[n], share(block, work, n), delta[n])
    for level in range(top - 1, 0, -1):
        kind = PULL if task.method == Method.SERIES else DELTA
        pull = stretch(layout, work, kind, level, n_samples, first, last)
        clear(pull)
        above = values(layout, work, DELTA, level + 1, n_samples)
        through = transposed_weights(layout, work, level, 0)
        add_product(above, through, first, last, values(layout, work, kind, level, n_samples))
        below = stretch(layout, work, DELTA, level, n_samples, first, last)
        slope = stretch(layout, work, SLOPE, level, n_samples, first, last)
        for k in range(pull.size):
            below[k] = pull[k] * slope[k]


@unit
def run_backward(packed, block, task, step, chunk):
    """Find delta for this chunk's samples."""
    layout, _, _, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    backward(layout, task, block, first, last, work)
