"""What a series leaves out at most, proved and computed from the data.

By Taylor's theorem K terms leave out at most |t|**(K + 1) times a bound of the next
coefficient over the perturbation. That is found by carrying majorants m1 to m4 of z's
coefficients up as those themselves are carried: in place of each activation's coefficients
their derivative bounds over all z, in place of weights the largest absolute value (for the one
unit that moves) or the largest sum of a unit's absolute weights. Such sums ignore that
most of what they add cancels, by a factor of about the root of the units' number at each
level, and in m4 the fourth power of m1's. But u1 and, with three terms, u2 are at hand
where t = 0. Over a perturbation of at most h the mean value theorem has

    |z'| <= f1 |u1| + 2 h m2        |z''| / 2 <= f2 |u1| + f1**2 |u2| + 3 h m3

with f1, f2 the derivative bounds of the perturbed unit, u being in tau. So m1 and m2 are these
where these are less, and a level's sums only pass on m3 and m4. At the loss the errors that
are left count: a cross-entropy that is nearly 0 has little curvature.
"""

import math

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import Activation
from fastnn.kernels.dropout import level_bounds
from fastnn.kernels.elementary import compose
from fastnn.kernels.losses import bound_loss
from fastnn.kernels.series.kinks import has_kinks, mark_kinks
from fastnn.kernels.vectors import largest_size
from fastnn.kernels.work import (
    BOUND,
    DELTA,
    DIRECT,
    LARGEST,
    LARGEST_INPUT,
    LARGEST_MOVE,
    RESIDUAL_SCALE,
    SIZE,
    SUM,
    A,
    count_parts,
    share,
    stretch,
    unit_norms,
    values,
)


@kernel
def start_majorants(layout, layer, work):
    """Return bounds of the coefficients of z in the next level, or of the outputs' own, in a move of any unit's z."""
    if layer + 1 == layout.activations.size:
        # Softmax and its losses know only differences: one z up by t is that z up and the others down by t / 2.
        return (0.5 if layout.activations[layer] == Activation.SOFTMAX else 1.0), 0.0, 0.0, 0.0
    norm = largest_size(unit_norms(layout, work, LARGEST, layer + 2))
    f1, f2, f3, f4 = level_bounds(layout, layer + 1, work)
    return norm * f1, norm * f2, norm * f3, norm * f4


@kernel
def carry_majorants(layout, layer, level, move, both, u1, u2, work, m1, m2, m3, m4):
    """Return bounds of the coefficients of z above a level, from those of its own and from u1 (n,) and u2 (n,) there.

    u1 and u2, of use if both are, are coefficients in the change of the perturbed unit's
    activation, bounds in that of its z.
    """
    g1, g2, g3, g4 = level_bounds(layout, level, work)
    m1, m2, m3, m4 = compose(g1, g2, g3, g4, m1, m2, m3, m4)
    norm = largest_size(unit_norms(layout, work, SUM, level + 1))
    m1, m2, m3, m4 = norm * m1, norm * m2, norm * m3, norm * m4
    f1, f2, _, _ = level_bounds(layout, layer + 1, work)
    size = largest_size(u1)
    if both:
        m2 = min(m2, f2 * size + f1 * f1 * largest_size(u2) + 3.0 * move * m3)
    return min(m1, f1 * size + 2.0 * move * m2), m2, m3, m4


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
def judge(layout, layer, above, block, task, first, last, work):
    """Write how far perturbations of this layer reach and how large its differences are, for samples first to last.

    And what is known before anything is carried up: kinks near by, and, unless it is curved
    above the next level, the bound of what its series leaves out.
    """
    n_layers = layout.activations.size
    n_samples = block.n_samples
    before = values(layout, work, A, layer, n_samples)
    delta = values(layout, work, DELTA, layer + 1, n_samples)
    m1, m2, m3, m4 = start_majorants(layout, layer, work)
    n_moved = layout.sizes[n_layers] if layer + 1 < n_layers else 1
    bounds = bound_loss(task.loss, layout.activations[n_layers - 1], n_moved, task.n_terms, m1, m2, m3, m4)
    kinked = has_kinks(layout, task.loss, layer + 1) or has_kinks(layout, task.loss, min(layer + 2, n_layers))
    direct = stretch(layout, work, DIRECT, layer + 1, n_samples, first, last)
    for k in range(direct.size):
        direct[k] = math.inf
    for n in range(first, last):
        largest = 1.0  # a bias's input
        if layer == 0:
            for part in range(count_parts(layout)):
                largest = max(largest, work.measured[LARGEST_INPUT + part, n])
        else:
            largest = max(largest, largest_size(before[n]))
        move = task.eps * largest
        work.checks[LARGEST_MOVE, layer, n] = move
        work.checks[SIZE, layer, n] = largest * largest_size(delta[n])
        left_out = bound_remainder(task, move, work.measured[RESIDUAL_SCALE, n], share(block, work, n), bounds)
        work.checks[BOUND, layer, n] = 0.0 if above else left_out
        if kinked:
            mark_kinks(layout, task.loss, layer, n, n_samples, task.eps, move, work)
