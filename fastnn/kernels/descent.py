"""From coefficients to differences, and along them: the last part of every step."""

from fastnn._compiler.jit import kernel, unit, unpack, view
from fastnn.kernels.layout import weights, weights_start
from fastnn.kernels.optimizers import is_fused, target, update
from fastnn.kernels.products import add_series_product
from fastnn.kernels.work import COEFFICIENTS, DELTA, A, Method, span, values


@kernel(returns_view=True)
def take_coefficients(layout, layer, block, task, work):
    """Return this layer's coefficients, three of (n_samples, n_out). Those of terms that are not there are not read."""
    n_samples = block.n_samples
    c1 = values(layout, work, DELTA, layer + 1, n_samples)
    c2 = values(layout, work, COEFFICIENTS[min(1, task.n_terms - 1)], layer + 1, n_samples)
    c3 = values(layout, work, COEFFICIENTS[task.n_terms - 1], layer + 1, n_samples)
    return c1, c2, c3


@kernel
def add_gradient(layout, layer, block, task, inputs, first, last, scale, work, out):
    """Add this layer's coefficients times inputs (n, n_samples), and powers of these, to rows of out (n, n_out)."""
    c1, c2, c3 = take_coefficients(layout, layer, block, task, work)
    add_series_product(inputs, c1, c2, c3, task.n_terms, first, last, scale, out)


@kernel(inline=True)
def descend(layout, theta, optimizer, block, task, step, chunk, has_first, work):
    """Add the block's gradient of this chunk's rows of every W, the bias going with the last; then move them.

    The fused step of plain SGD adds straight to the weights. Of some inputs the first W has its own already.
    """
    out, scale = target(optimizer, block, theta, work.gradient)
    for layer in range(layout.activations.size):
        n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
        first, last = span(n_in, chunk, task.n_chunks)
        owns_bias = first < last == n_in  # after the last row of W
        if task.method != Method.DIRECT:
            before = values(layout, work, A, layer, block.n_samples).T
            w = weights(layout, out, layer)
            if layer > 0 or not has_first:
                add_gradient(layout, layer, block, task, before, first, last, scale, work, w)
            if owns_bias:
                ones = view(work.ones, 0, block.n_samples, 1).T
                b = view(out, weights_start(layout, layer) + n_in * n_out, 1, n_out)
                add_gradient(layout, layer, block, task, ones, 0, 1, scale, work, b)
        if block.closes and not is_fused(optimizer, block):
            start = weights_start(layout, layer)
            middle, end = start + n_in * n_out, start + (n_in + 1) * n_out
            decay = optimizer.weight_decay
            update(optimizer, step, decay, start + first * n_out, start + last * n_out, work.gradient, theta)
            if owns_bias:
                update(optimizer, step, 0.0, middle, end, work.gradient, theta)


@unit
def run_descent(packed, block, task, step, chunk):
    """Add the block's gradient of this chunk's parameters, and move them."""
    layout, theta, _, optimizer, work = unpack(packed)
    descend(layout, theta, optimizer, block, task, step, chunk, False, work)
