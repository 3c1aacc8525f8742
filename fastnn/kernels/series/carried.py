"""Coefficients of layers whose loss is curved past the next level: carried up for each unit, a block at a time."""

from fastnn._compiler.jit import kernel, line, unit, unpack
from fastnn.kernels.losses import add_loss_curvature, bound_loss
from fastnn.kernels.products import add_product
from fastnn.kernels.series.certificate import bound_remainder, carry_majorants, start_majorants
from fastnn.kernels.series.expansion import finish, is_curved_above
from fastnn.kernels.series.kinks import mark_kinks_above
from fastnn.kernels.vectors import add_curvature, clear, copy
from fastnn.kernels.work import (
    BOUND,
    CURVATURE2,
    CURVATURE3,
    LARGEST_MOVE,
    PACKED,
    PERTURBATIONS,
    RESIDUAL_SCALE,
    SECOND,
    SLOPE,
    STRIP,
    TAYLOR2,
    THIRD,
    A,
    share,
    span,
    taylor_scratch,
    transposed_weights,
    values,
)


@kernel
def curve_above(layout, layer, n, start, n_perturbations, block, task, chunk, work):
    """Add to d2 and d3 of units `start` and on of sample n the curvature past the next level.

    Mark those that a perturbation takes to a kink up there, and raise the bound of what is left out.
    """
    n_samples = block.n_samples
    top = layout.activations.size
    both = task.n_terms > 2
    second = values(layout, work, SECOND, layer + 1, n_samples)
    third = values(layout, work, THIRD, layer + 1, n_samples)
    d2, d3 = second[n, start : start + n_perturbations], third[n, start : start + n_perturbations]
    move = work.checks[LARGEST_MOVE, layer, n]
    m1, m2, m3, m4 = start_majorants(layout, layer, work)
    for level in range(layer + 2, top):
        n_units, n_above = layout.sizes[level], layout.sizes[level + 1]
        slope = values(layout, work, SLOPE, level, n_samples)[n]
        taylor2 = values(layout, work, TAYLOR2, level, n_samples)[n]
        v1 = taylor_scratch(work, chunk, 0, n_units, n_perturbations)
        v2 = taylor_scratch(work, chunk, 1, n_units, n_perturbations)
        if level > layer + 2:
            u1 = taylor_scratch(work, chunk, 2, n_units, n_perturbations)
            u2 = taylor_scratch(work, chunk, 3, n_units, n_perturbations)
            mark_kinks_above(layout, task.loss, layer, level, n, start, n_samples, task.eps, move, m1, m2, u1, work)
            curvature2 = values(layout, work, CURVATURE2, level, n_samples)[n]
            curvature3 = values(layout, work, CURVATURE3, level, n_samples)[n]
            for k in range(n_units):
                add_curvature(curvature2[k], curvature3[k], both, u1[k], u2[k], d2, d3)
                if both:
                    pass_on(slope[k], taylor2[k], u1[k], u2[k], v2[k])
                scale_row(slope[k], u1[k], v1[k])
        through = transposed_weights(layout, work, level, 0)
        for term in range(2 if both else 1):
            above = taylor_scratch(work, chunk, 2 + term, n_above, n_perturbations)
            clear(line(above, 0, n_above * n_perturbations))
            if level > layer + 2:
                add_product(through, v1 if term == 0 else v2, 0, n_above, above)
            else:  # along W[j] itself: u1 = W[j], u2 = 0
                along = taylor_scratch(work, chunk, PACKED + term, n_units, n_perturbations)
                strip = taylor_scratch(work, chunk, 0, STRIP, n_units)
                add_scaled_product(through, slope if term == 0 else taylor2, along, strip, above)
        above1 = line(taylor_scratch(work, chunk, 2, n_above, n_perturbations), 0, n_above * n_perturbations)
        above2 = line(taylor_scratch(work, chunk, 3, n_above, n_perturbations), 0, n_above * n_perturbations)
        m1, m2, m3, m4 = carry_majorants(layout, layer, level, move, both, above1, above2, work, m1, m2, m3, m4)
    u1 = taylor_scratch(work, chunk, 2, layout.sizes[top], n_perturbations)
    u2 = taylor_scratch(work, chunk, 3, layout.sizes[top], n_perturbations)
    if layer + 2 == top:
        w = transposed_weights(layout, work, layer + 1, 0)
        for k in range(u1.shape[0]):
            scale_row(1.0, w[k, start : start + n_perturbations], u1[k])
            clear(u2[k])
    else:
        mark_kinks_above(layout, task.loss, layer, top, n, start, n_samples, task.eps, move, m1, m2, u1, work)
    bounds = bound_loss(task.loss, layout.activations[top - 1], layout.sizes[top], task.n_terms, m1, m2, m3, m4)
    left_out = bound_remainder(task, move, work.measured[RESIDUAL_SCALE, n], share(block, work, n), bounds)
    work.checks[BOUND, layer, n] = max(work.checks[BOUND, layer, n], left_out)
    a = values(layout, work, A, top, n_samples)[n]
    add_loss_curvature(
        task.loss,
        layout.activations[top - 1],
        a,
        values(layout, work, SLOPE, top, n_samples)[n],
        work.y[n],
        share(block, work, n),
        values(layout, work, CURVATURE2, top, n_samples)[n],
        values(layout, work, CURVATURE3, top, n_samples)[n],
        both,
        u1,
        u2,
        taylor_scratch(work, chunk, 0, a.size, n_perturbations),
        taylor_scratch(work, chunk, 1, a.size, n_perturbations),
        taylor_scratch(work, chunk, 4, 1, n_perturbations)[0],
        d2,
        d3,
    )


@kernel(inline=True)
def pack_weights(layout, layer, start, n_perturbations, chunk, work):
    """Copy the weights from units `start` and on, and their squares, for `curve_above` of every sample.

    Side by side: rows that are 4 kB apart share a few places of the cache. In float64, where
    they are, the same part took 56 ms without, 22 with.
    """
    for power in range(2):
        through = transposed_weights(layout, work, layer + 1, power)
        packed = taylor_scratch(work, chunk, PACKED + power, through.shape[0], n_perturbations)
        for k in range(through.shape[0]):
            copy(through[k, start : start + n_perturbations], packed[k])


@kernel
def add_scaled_product(a, factors, b, strip, out):
    """Add a (n, m), its columns times factors (m,), times b (m, p) to out (n, p); strip (STRIP, m) is scratch.

    Few rows of `a` at a time, in the innermost cache. With b's scaled instead, 512 x 64 numbers
    for a result of 10 rows, this part of 784-512-512-10, batch 128, took 10.6 ms on one core
    in float32, 6.3 so.
    """
    for first in range(0, a.shape[0], STRIP):
        n_rows = min(STRIP, a.shape[0] - first)
        for r in range(n_rows):
            row, scaled = a[first + r], strip[r]
            for k in range(row.size):
                scaled[k] = row[k] * factors[k]
        add_product(strip, b, 0, n_rows, out[first : first + n_rows])


@kernel
def scale_row(factor, row, out):
    """Write factor times a row, (n_perturbations,)."""
    factor = out.dtype.type(factor)
    for b in range(out.size):
        out[b] = factor * row[b]


@kernel
def pass_on(g1, g2, u1, u2, v2):
    """Write the second coefficient of a unit's activation, of the two of its z; all (n_perturbations,)."""
    g1, g2 = v2.dtype.type(g1), v2.dtype.type(g2)
    for b in range(v2.size):
        v2[b] = g1 * u2[b] + g2 * u1[b] * u1[b]


@unit
def run_carried(packed, block, task, step, chunk):
    """Find the other layers' coefficients, for this chunk's samples."""
    layout, _, _, _, work = unpack(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    for layer in range(layout.activations.size):
        if is_curved_above(layout, task.loss, layer):
            n_units = layout.sizes[layer + 1]
            for start in range(0, n_units, PERTURBATIONS):
                n_perturbations = min(PERTURBATIONS, n_units - start)
                pack_weights(layout, layer, start, n_perturbations, chunk, work)
                for n in range(first, last):
                    if work.stop[0] != 0:
                        return
                    curve_above(layout, layer, n, start, n_perturbations, block, task, chunk, work)
            finish(layout, layer, block, task, first, last, work)
