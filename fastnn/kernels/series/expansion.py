"""The coefficients of every series: products with powers of the weights, where those are enough."""

import numpy as np

from fastnn._compiler.jit import kernel, line, unit, unpack
from fastnn.kernels.activations import Activation, taylor_units
from fastnn.kernels.backprop import backward, rows_alike
from fastnn.kernels.dropout import is_dropped, line_masks, mask_changes, unmask
from fastnn.kernels.losses import Loss, curve_outputs, residual_scale
from fastnn.kernels.products import add_product
from fastnn.kernels.series.certificate import judge
from fastnn.kernels.vectors import clear, copy
from fastnn.kernels.work import (
    CURVATURE2,
    CURVATURE3,
    GRAD_A,
    RESIDUAL_SCALE,
    SCRATCH,
    SECOND,
    SLOPE,
    TAYLOR2,
    TAYLOR3,
    THIRD,
    A,
    Z,
    share,
    span,
    stretch,
    transposed_weights,
    values,
)


@kernel
def is_curved_above(layout, loss, layer):
    """Return if more than the next level's sums curve the loss of a layer's perturbations: the first one's if any's."""
    next_level, top = layer + 2, layout.activations.size
    softmax = layout.activations[top - 1] == Activation.SOFTMAX
    return next_level < top or (next_level == top and softmax and loss == Loss.SQUARED_ERROR)


@kernel(inline=True)
def find_curvature(layout, data, block, task, first, last, work):
    """Write every level's curvature for samples first to last: TAYLOR of the hidden ones, CURVATURE past the first."""
    n_samples = block.n_samples
    top = layout.activations.size
    for level in range(1, top):
        taylor2 = stretch(layout, work, TAYLOR2, level, n_samples, first, last)
        taylor3 = stretch(layout, work, TAYLOR3, level, n_samples, first, last)
        z = stretch(layout, work, Z, level, n_samples, first, last)
        a = stretch(layout, work, A, level, n_samples, first, last)
        slope = stretch(layout, work, SLOPE, level, n_samples, first, last)
        code = layout.activations[level - 1]
        if is_dropped(layout, level):
            mask = line_masks(layout, work, level, n_samples, first, last)
            unmask(mask, a, taylor2)
            unmask(mask, slope, taylor3)
            taylor_units(code, z, taylor2, taylor3, taylor2, taylor3)
            mask_changes(mask, taylor2)
            mask_changes(mask, taylor3)
        else:
            taylor_units(code, z, a, slope, taylor2, taylor3)
        if level == 1:  # below it is nothing whose perturbations it would curve
            continue
        grad_a = stretch(layout, work, GRAD_A, level, n_samples, first, last)
        curvature2 = stretch(layout, work, CURVATURE2, level, n_samples, first, last)
        curvature3 = stretch(layout, work, CURVATURE3, level, n_samples, first, last)
        for k in range(grad_a.size):
            curvature2[k] = grad_a[k] * taylor2[k]
            curvature3[k] = grad_a[k] * taylor3[k]
    code = layout.activations[top - 1]
    rows = rows_alike(layout, data, last - first, work)
    for start in range(first, last, rows):
        curve_outputs(
            task.loss,
            code,
            stretch(layout, work, Z, top, n_samples, start, start + rows),
            stretch(layout, work, A, top, n_samples, start, start + rows),
            stretch(layout, work, SLOPE, top, n_samples, start, start + rows),
            line(work.y, start * work.y.shape[1], rows * work.y.shape[1]),
            share(block, work, start),
            stretch(layout, work, CURVATURE2, top, n_samples, start, start + rows),
            stretch(layout, work, CURVATURE3, top, n_samples, start, start + rows),
        )


@kernel(inline=True)
def curve_next(layout, layer, block, task, first, last, work):
    """Write d2 and d3, the next level's part of them, to SECOND and THIRD of a hidden layer's units.

    Sums over that level's units, so products with the powers of the weights. The
    squared error of a softmax is none: `curve_above` adds it.
    """
    n_samples = block.n_samples
    top = layout.activations.size
    level = layer + 2
    softmax = level == top and layout.activations[top - 1] == Activation.SOFTMAX
    second = values(layout, work, SECOND, layer + 1, n_samples)
    third = values(layout, work, THIRD, layer + 1, n_samples)
    clear(stretch(layout, work, SECOND, layer + 1, n_samples, first, last))
    clear(stretch(layout, work, THIRD, layer + 1, n_samples, first, last))
    if not softmax:
        curvature2 = values(layout, work, CURVATURE2, level, n_samples)
        add_product(curvature2, transposed_weights(layout, work, layer + 1, 1), first, last, second)
        if task.n_terms > 2:
            curvature3 = values(layout, work, CURVATURE3, level, n_samples)
            add_product(curvature3, transposed_weights(layout, work, layer + 1, 2), first, last, third)
    elif task.loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        # log(sum p exp(w tau)): half the variance and a sixth of the third central moment of w under p. Both from the
        # likeliest class's w: sums over the others alone, so that they keep their digits where it is nearly certain.
        p = values(layout, work, A, top, n_samples)
        others = values(layout, work, TAYLOR2, top, n_samples)  # of use below the outputs only
        for n in range(first, last):
            copy(p[n], others[n])
            others[n, np.argmax(p[n])] = 0.0
        mean = values(layout, work, SCRATCH, layer + 1, n_samples)
        clear(stretch(layout, work, SCRATCH, layer + 1, n_samples, first, last))
        add_product(others, transposed_weights(layout, work, layer + 1, 0), first, last, mean)
        add_product(others, transposed_weights(layout, work, layer + 1, 1), first, last, second)
        if task.n_terms > 2:
            add_product(others, transposed_weights(layout, work, layer + 1, 2), first, last, third)
        two, three = second.dtype.type(2.0), second.dtype.type(3.0)
        for n in range(first, last):
            scale = share(block, work, n)
            half, sixth = second.dtype.type(0.5 * scale), second.dtype.type(scale / 6.0)
            own = transposed_weights(layout, work, layer + 1, 0)[np.argmax(p[n])]
            rest = second.dtype.type(0.0)
            for k in range(p.shape[1]):
                rest += others[n, k]
            for j in range(mean.shape[1]):
                w, m1, m2 = own[j], mean[n, j], second[n, j]
                m3 = third[n, j] - w * (three * m2 - w * (three * m1 - w * rest))
                m2 -= w * (two * m1 - w * rest)
                m1 -= w * rest
                third[n, j] = sixth * (m3 - m1 * (three * m2 - two * m1 * m1))
                second[n, j] = half * (m2 - m1 * m1)


@kernel(inline=True)
def finish(layout, layer, block, task, first, last, work):
    """Turn d2 and d3 into eps c2 and eps**2 c3, for samples first to last of a layer.

    Central differences have no c2.
    """
    n_samples = block.n_samples
    level = layer + 1
    second = stretch(layout, work, SECOND, level, n_samples, first, last)
    third = stretch(layout, work, THIRD, level, n_samples, first, last)
    eps = second.dtype.type(task.eps)
    if level == layout.activations.size:
        curvature2 = stretch(layout, work, CURVATURE2, level, n_samples, first, last)
        curvature3 = stretch(layout, work, CURVATURE3, level, n_samples, first, last)
        for k in range(second.size):
            second[k] = eps * curvature2[k]
            third[k] = eps * eps * curvature3[k]
    else:
        slope = stretch(layout, work, SLOPE, level, n_samples, first, last)
        grad_a = stretch(layout, work, GRAD_A, level, n_samples, first, last)
        taylor2 = stretch(layout, work, TAYLOR2, level, n_samples, first, last)
        taylor3 = stretch(layout, work, TAYLOR3, level, n_samples, first, last)
        for k in range(second.size):
            f1, f2, d2 = slope[k], taylor2[k], second[k]
            second[k] = eps * (grad_a[k] * f2 + d2 * f1 * f1)
            third[k] = eps * eps * (grad_a[k] * taylor3[k] + (d2 + d2) * f1 * f2 + third[k] * f1 * f1 * f1)
    if task.central:
        clear(second)


@unit
def run_expansion(packed, block, task, step, chunk):
    """Find the coefficients for this chunk's samples, but for layers curved above, and judge what they leave out."""
    layout, _, data, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    backward(layout, data, task, block, first, last, work)
    top = values(layout, work, A, layout.activations.size, block.n_samples)
    slope = values(layout, work, SLOPE, layout.activations.size, block.n_samples)
    code = layout.activations[layout.activations.size - 1]
    for n in range(first, last):
        work.measured[RESIDUAL_SCALE, n] = residual_scale(task.loss, code, top[n], slope[n], work.y[n])
    if task.n_terms > 1:
        find_curvature(layout, data, block, task, first, last, work)
    for layer in range(layout.activations.size):
        above = is_curved_above(layout, task.loss, layer)
        judge(layout, layer, above, block, task, first, last, work)
        if task.n_terms > 1:
            if layer + 1 < layout.activations.size:
                curve_next(layout, layer, block, task, first, last, work)
            if not above:
                finish(layout, layer, block, task, first, last, work)
