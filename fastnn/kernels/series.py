"""Finite differences by power series: every weight's own, at the price of a few products.

A perturbation of W[i, j] moves z[n, j] by t = eps * a[n, i], and the batch's mean loss by
phi(t) = c1 t + c2 t**2 + c3 t**3 + R, whose coefficients depend on n and j alone.
So with powers taken entry by entry, the differences of a whole layer are

    D = sum_k (A**k)' (eps**(k - 1) C_k)

(`descent.add_gradient`); central differences are the odd terms. C_1 is
back-propagation's delta. The rest comes from the change tau of unit j's activation,
which moves the next level's z along the line W[j] tau, and the loss by
d1 tau + d2 tau**2 + d3 tau**3, d1 being `grad_a`, the gradient with respect to the
activation. With f1, f2, f3 the activation's Taylor coefficients,

    c2 = d1 f2 + d2 f1**2        c3 = d1 f3 + 2 d2 f1 f2 + d3 f1**3

d2 and d3 gather each level's curvature. Let u1, u2 be the coefficients of z of unit k
there (Griewank, Walther, "Evaluating Derivatives", 2nd ed., 2008, chapter 13),
g its activation's and p its grad_a; then d2 grows by p g2 u1**2, d3 by
p (2 g2 u1 u2 + g3 u1**3), and v1 = g1 u1, v2 = g1 u2 + g2 u1**2 go on through
the next weights. The third coefficients need not be carried: they reach the loss
linearly, and grad_a knows that. At the loss, which has no grad_a, the same with its own
curvature.

**The remainder.** By Taylor's theorem what K terms leave out is at most
|t|**(K + 1) times a bound of the next coefficient over the perturbation. That is found by
carrying majorants m1 to m4 of z's coefficients up the same way: in place of each
activation's coefficients their derivative_bounds over all z, in place of weights the largest
absolute value (for the one unit that moves) or the largest sum of a unit's absolute
weights. Such sums ignore that most of what they add cancels, by a factor of about the
root of the units' number at each level, and in m4 the fourth power of m1's. But u1 and,
with three terms, u2 are at hand where t = 0. Over a perturbation of at most h the mean value
theorem has

    |z'| <= f1 |u1| + 2 h m2        |z''| / 2 <= f2 |u1| + f1**2 |u2| + 3 h m3

with f1, f2 the derivative bounds of the perturbed unit, u being in tau. So m1 and m2 are these where
these are less, and a level's sums only pass on m3 and m4. At the loss the errors that are
left count: a cross-entropy that is nearly 0 has little curvature.
A sample keeps its series in a layer while eps**K max|a|**(K + 1) times the bound, or the
mean of that over the samples, is at most `Task.tolerance` times the layer's size: the
mean of the largest first-order difference max|c1| max|a|. Elsewhere its inputs do that are
small enough: with L times what is allowed, those up to max|a| / L**(1 / K), since the
bound of a smaller perturbation is less by the power K + 1 at least, and its own difference by the
first. So truncation adds at most the tolerance times that size to any entry, and beside a large
input that times their own size to the others. Other inputs are measured by the direct kernel, which
adds what there is beyond their series. So are those whose perturbation can reach the kink of a
rectifier: of their own unit by t, one in the next level by the weight in between, one
further up by the bound of |z'|. Between kinks a rectifier is linear and its series exact.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel, line, unit, unpack
from fastnn.kernels.activations import Activation, derivative_bounds, has_kink, residual, taylor_units
from fastnn.kernels.backprop import backward, rows_alike
from fastnn.kernels.elementary import compose
from fastnn.kernels.losses import Loss, add_loss_curvature, bound_loss, curve_outputs, loss_kink, residual_scale
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import add_curvature, clear, copy, largest_size
from fastnn.kernels.work import (
    BOUND,
    COEFFICIENTS,
    CURVATURE2,
    CURVATURE3,
    DELTA,
    DIRECT,
    GRAD_A,
    LARGEST,
    LARGEST_INPUT,
    LARGEST_MOVE,
    MEAN,
    PACKED,
    PERTURBATIONS,
    REACH,
    RESIDUAL_SCALE,
    SECOND,
    SIZE,
    SLOPE,
    STRIP,
    SUM,
    TAYLOR2,
    TAYLOR3,
    THIRD,
    A,
    Z,
    count_parts,
    share,
    span,
    stretch,
    taylor_scratch,
    transposed_weights,
    unit_norms,
    values,
)

# By how much what is compared with a kink, or with the bound's root, may be rounded.
ROUNDED = 2.0**-20
# Of inputs that are measured directly the series is taken off again, unless it is this many times the
# largest first term of its sample: then their rounding would be too much, and nothing is put in.
CANCELLED = 2.0


@kernel
def mark(direct, j, distance, eps):
    """Have inputs measured directly in unit j whose perturbation moves z at least so far: sizes, direct (n_units,)."""
    size = distance * (1.0 - ROUNDED) / eps
    direct[j] = min(direct[j], size if size > 0.0 else 0.0)  # all, should the distance not be a number


@kernel
def has_kinks(layout, loss, level):
    """Return if units of a level, or the loss of those on top, have kinks."""
    is_top = level == layout.activations.size
    return has_kink(layout.activations[level - 1]) or (is_top and loss_kink(loss) < math.inf)


@kernel
def distance(layout, loss, level, n, k, n_samples, work):
    """Return how far at least z of unit k of a level is from a kink, its own or, on top, one of the loss."""
    code = layout.activations[level - 1]
    nearest = np.float64(abs(values(layout, work, Z, level, n_samples)[n, k])) if has_kink(code) else math.inf
    if level == layout.activations.size and loss_kink(loss) < math.inf:
        a = values(layout, work, A, level, n_samples)[n, k]
        slope = values(layout, work, SLOPE, level, n_samples)[n, k]
        error = abs(residual(code, a, slope, work.y[n, k]))
        nearest = min(nearest, abs(error - loss_kink(loss)) / derivative_bounds(code)[0])
    return nearest


@kernel
def mark_kinks(layout, loss, layer, n, n_samples, eps, move, work):
    """Mark what of sample n a move of z, up to the largest, takes to a kink of its own unit, or of the next level."""
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    if has_kinks(layout, loss, layer + 1):
        for j in range(direct.size):
            away = distance(layout, loss, layer + 1, n, j, n_samples, work)
            if away <= move:
                mark(direct, j, away, eps)
    level = layer + 2
    if level <= layout.activations.size and has_kinks(layout, loss, level):
        moved = derivative_bounds(layout.activations[layer])[0] * move
        norms = unit_norms(layout, work, LARGEST, level)
        for k in range(norms.size):
            away = distance(layout, loss, level, n, k, n_samples, work)
            if away <= norms[k] * moved:
                w = transposed_weights(layout, work, level - 1, 0)[k]
                for j in range(w.size):
                    if away <= abs(w[j]) * moved:
                        mark(direct, j, move * (away / (abs(w[j]) * moved)), eps)


@kernel
def mark_kinks_above(layout, loss, layer, level, n, start, n_samples, eps, move, m1, m2, u1, work):
    """Mark what moving units `start` and on of sample n takes to a kink further up; u1 (n_units, n_perturbations)."""
    if not has_kinks(layout, loss, level):
        return
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    slope = derivative_bounds(layout.activations[layer])[0]
    for k in range(u1.shape[0]):
        away = distance(layout, loss, level, n, k, n_samples, work)
        # Not the other way round: majorants that overflow may be nan.
        if not away > move * m1:
            for b in range(u1.shape[1]):
                moved = move * (abs(u1[k, b]) * slope + 2.0 * move * m2)
                if not away > moved:
                    mark(direct, start + b, move * (away / moved), eps)


@kernel
def start_majorants(layout, layer, work):
    """Return bounds of the coefficients of z in the next level, or of the outputs' own, in a move of any unit's z."""
    if layer + 1 == layout.activations.size:
        # Softmax and its losses know only differences: one z up by t is that z up and the others down by t / 2.
        return (0.5 if layout.activations[layer] == Activation.SOFTMAX else 1.0), 0.0, 0.0, 0.0
    norm = largest_size(unit_norms(layout, work, LARGEST, layer + 2))
    f1, f2, f3, f4 = derivative_bounds(layout.activations[layer])
    return norm * f1, norm * f2, norm * f3, norm * f4


@kernel
def carry_majorants(layout, layer, level, move, both, u1, u2, work, m1, m2, m3, m4):
    """Return bounds of the coefficients of z above a level, from those of its own and from u1 (n,) and u2 (n,) there.

    u1 and u2, of use if both are, are coefficients in the change of the perturbed unit's
    activation, bounds in that of its z.
    """
    g1, g2, g3, g4 = derivative_bounds(layout.activations[level - 1])
    m1, m2, m3, m4 = compose(g1, g2, g3, g4, m1, m2, m3, m4)
    norm = largest_size(unit_norms(layout, work, SUM, level + 1))
    m1, m2, m3, m4 = norm * m1, norm * m2, norm * m3, norm * m4
    f1, f2, _, _ = derivative_bounds(layout.activations[layer])
    size = largest_size(u1)
    if both:
        m2 = min(m2, f2 * size + f1 * f1 * largest_size(u2) + 3.0 * move * m3)
    return min(m1, f1 * size + 2.0 * move * m2), m2, m3, m4


@kernel(inline=True)
def judge(layout, layer, block, task, first, last, work):
    """Write how far perturbations of this layer reach and how large its differences are, for samples first to last.

    And what is known before anything is carried up: kinks near by, and, unless more than
    the next level curves it, the bound of what its series leaves out.
    """
    n_layers = layout.activations.size
    n_samples = block.n_samples
    before = values(layout, work, A, layer, n_samples)
    delta = values(layout, work, DELTA, layer + 1, n_samples)
    m1, m2, m3, m4 = start_majorants(layout, layer, work)
    n_moved = layout.sizes[n_layers] if layer + 1 < n_layers else 1
    bounds = bound_loss(task.loss, layout.activations[n_layers - 1], n_moved, task.n_terms, m1, m2, m3, m4)
    above = is_curved_above(layout, task.loss, layer)
    kinked = has_kinks(layout, task.loss, layer + 1) or has_kinks(layout, task.loss, min(layer + 2, n_layers))
    direct = stretch(layout, work, DIRECT, layer + 1, n_samples, first, last)
    for k in range(direct.size):
        direct[k] = math.inf
    for n in range(first, last):
        largest = 1.0  # a bias's input
        if layer == 0:
            for part in range(count_parts(layout)):
                largest = max(largest, work.checks[LARGEST_INPUT + part, 0, n])
        else:
            largest = max(largest, largest_size(before[n]))
        move = task.eps * largest
        work.checks[LARGEST_MOVE, layer, n] = move
        work.checks[SIZE, layer, n] = largest * largest_size(delta[n])
        left_out = bound_remainder(task, move, work.checks[RESIDUAL_SCALE, 0, n], share(block, work, n), bounds)
        work.checks[BOUND, layer, n] = 0.0 if above else left_out
        if kinked:
            mark_kinks(layout, task.loss, layer, n, n_samples, task.eps, move, work)


@kernel
def bound_remainder(task, move, scale_before, weight, bounds):
    """Return the largest that a sample's series leave out in a layer, from what `bound_loss` returns."""
    cap, fixed, rising, spread = bounds
    left_out = move * move * min(cap, fixed + rising * (scale_before + spread * move))
    if task.n_terms == 3:
        left_out *= move
    left_out *= (move / task.eps) * weight
    return math.inf if math.isnan(left_out) else left_out  # majorants overflow, and meet a derivative of 0


@kernel(inline=True)
def find_curvature(layout, data, block, task, first, last, work):
    """Write every level's curvature for samples first to last: TAYLOR of the hidden ones, CURVATURE past the first."""
    n_samples = block.n_samples
    top = layout.activations.size
    for level in range(1, top):
        taylor2 = stretch(layout, work, TAYLOR2, level, n_samples, first, last)
        taylor3 = stretch(layout, work, TAYLOR3, level, n_samples, first, last)
        taylor_units(
            layout.activations[level - 1],
            stretch(layout, work, Z, level, n_samples, first, last),
            stretch(layout, work, A, level, n_samples, first, last),
            stretch(layout, work, SLOPE, level, n_samples, first, last),
            taylor2,
            taylor3,
        )
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
        mean = values(layout, work, MEAN, layer + 1, n_samples)
        clear(stretch(layout, work, MEAN, layer + 1, n_samples, first, last))
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
    left_out = bound_remainder(task, move, work.checks[RESIDUAL_SCALE, 0, n], share(block, work, n), bounds)
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


@kernel
def is_curved_above(layout, loss, layer):
    """Return if more than the next level's sums curve the loss of a layer's perturbations: the first one's if any's."""
    next_level, top = layer + 2, layout.activations.size
    softmax = layout.activations[top - 1] == Activation.SOFTMAX
    return next_level < top or (next_level == top and softmax and loss == Loss.SQUARED_ERROR)


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
        work.checks[RESIDUAL_SCALE, 0, n] = residual_scale(task.loss, code, top[n], slope[n], work.y[n])
    if task.n_terms > 1:
        find_curvature(layout, data, block, task, first, last, work)
    for layer in range(layout.activations.size):
        judge(layout, layer, block, task, first, last, work)
        if task.n_terms > 1:
            if layer + 1 < layout.activations.size:
                curve_next(layout, layer, block, task, first, last, work)
            if not is_curved_above(layout, task.loss, layer):
                finish(layout, layer, block, task, first, last, work)


@unit
def run_deep_expansion(packed, block, task, step, chunk):
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


@kernel
def choose(layout, block, task, work):
    """Write how large an input must be for the direct kernel; return if all bounds held, and if any input is to go.

    What a series leaves out grows at least with the power of the perturbation that it is next to, so inputs
    below REACH leave out what is allowed at most, and keep it.
    """
    n_samples = block.n_samples
    held, marked = True, False
    kinked = False
    for layer in range(layout.activations.size):
        kinked |= has_kinks(layout, task.loss, layer + 1)
    for layer in range(layout.activations.size):
        size, bound = 0.0, 0.0
        for n in range(n_samples):
            size += work.checks[SIZE, layer, n]
            bound += work.checks[BOUND, layer, n]
        for n in range(n_samples):
            left_out = n_samples * work.checks[BOUND, layer, n]
            kept = min(bound, left_out) <= task.tolerance * size
            held &= kept
            work.checks[REACH, layer, n] = math.inf
            if kept and not kinked:
                continue
            largest = work.checks[LARGEST_MOVE, layer, n] / task.eps
            if not kept:
                marked = True
                part = (task.tolerance * size / left_out) ** (1.0 / max(task.n_terms, 2))
                work.checks[REACH, layer, n] = largest * (1.0 - ROUNDED) * part if part > 0.0 else 0.0
            direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
            for j in range(direct.size):
                if not kept or direct[j] < math.inf:
                    marked = True
                    most = 0.0
                    for term in range(task.n_terms):
                        coefficient = values(layout, work, COEFFICIENTS[term], layer + 1, n_samples)[n, j]
                        most += abs(coefficient) * largest ** (term + 1)
                    if not most <= CANCELLED * work.checks[SIZE, layer, n]:
                        direct[j] = 0.0
                        for term in range(task.n_terms):
                            values(layout, work, COEFFICIENTS[term], layer + 1, n_samples)[n, j] = 0.0
    return held, marked
