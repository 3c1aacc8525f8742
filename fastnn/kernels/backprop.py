"""The analytic gradient, by the chain rule from the outputs down."""

from fastnn._jit import kernel
from fastnn.kernels.layout import biases, weights
from fastnn.kernels.losses import output_delta
from fastnn.kernels.products import add_product, product_with_transposed
from fastnn.kernels.work import DELTA, SLOPE, A, span, values


@kernel
def backward(layout, theta, loss, block, first, last, work):
    """Write delta, the slope of the batch's mean loss with z, of every level for samples first to last."""
    n_samples = block.n_samples
    scale = 1.0 / block.batch_size
    top = layout.activations.size
    a = values(layout, work, A, top, n_samples)
    slope = values(layout, work, SLOPE, top, n_samples)
    delta = values(layout, work, DELTA, top, n_samples)
    for n in range(first, last):
        output_delta(loss, layout.activations[top - 1], a[n], slope[n], work.y[n], scale, delta[n])
    for level in range(top - 1, 0, -1):
        below = values(layout, work, DELTA, level, n_samples)
        slope = values(layout, work, SLOPE, level, n_samples)
        above = values(layout, work, DELTA, level + 1, n_samples)
        product_with_transposed(above, weights(layout, theta, level), first, last, below)
        for n in range(first, last):
            for k in range(below.shape[1]):
                below[n, k] *= slope[n, k]


@kernel
def add_backprop(layout, block, chunk, n_chunks, work):
    """Add the block's gradient to work.gradient: this chunk's rows of every W, and whole biases in turn."""
    n_samples = block.n_samples
    for layer in range(layout.activations.size):
        before = values(layout, work, A, layer, n_samples)
        delta = values(layout, work, DELTA, layer + 1, n_samples)
        first, last = span(before.shape[1], chunk, n_chunks)
        add_product(before.T, delta, first, last, weights(layout, work.gradient, layer))
        if layer % n_chunks == chunk:
            out = biases(layout, work.gradient, layer)
            for n in range(n_samples):
                for k in range(out.size):
                    out[k] += delta[n, k]
