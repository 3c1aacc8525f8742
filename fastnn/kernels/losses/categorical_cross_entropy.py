"""-sum_k y_k log(a_k) of a softmax: log(sum_m exp(z_m)) - z_y, from the logits, finite and precise at any size of z."""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import LARGE, complement, compose, expm1, growth, logistic_residual
from fastnn.kernels.losses.softmax_change import FAR, center, farthest
from fastnn.kernels.vectors import add_curvature, largest_size

OUTPUTS = ("softmax",)
TARGETS = "distributions"
KINK = math.inf


@kernel
def log_sum_exp(z):
    """Return log(sum(exp(z))) - max(z) and max(z), precise when one term outweighs the rest."""
    top = np.argmax(z)
    rest = 0.0
    for k in range(z.size):
        if k != top:
            rest += math.exp(z[k] - z[top])
    return math.log1p(rest), z[top]


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    excess, top = log_sum_exp(z)
    total = 0.0
    for k in range(y.size):
        total += y[k] * (excess + (top - z[k]))
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return if one sample's prediction is right."""
    return 1 if np.argmax(a) == np.argmax(y) else 0


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    for k in range(y.size):
        delta[k] = scale * logistic_residual(a[k], slope[k], y[k])


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients: those of log(1 + exp(z)), with the other classes for 1."""
    for k in range(y.size):
        second[k] = scale * 0.5 * slope[k]
        third[k] = scale * slope[k] * (1.0 / 6.0 - a[k] * (1.0 / 3.0))


@kernel
def residual_scale(code, a, slope, y):
    """Return the probability of what is not asked for."""
    rest = 0.0
    for k in range(y.size):
        rest += y[k] * complement(a[k], slope[k])
    return rest


@kernel
def add_change(code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor times the change of the loss for each perturbation.

    Term k is log(sum_m p_m exp(d_m - d_k)): measured from d_k, the terms that
    would cancel when class k is already certain are zero by construction.
    """
    small = True
    for m in range(y.size):
        small = small and largest_size(moved[m]) <= 0.5 * LARGE
    for k in range(y.size):
        if y[k] == 0.0:
            continue
        own = moved[k]
        if small:
            excess = scratch
            for b in range(total.size):
                excess[b] = 0.0
            for m in range(y.size):
                row = moved[m]
                for b in range(total.size):
                    excess[b] += a[m] * growth(row[b] - own[b])
            for b in range(total.size):
                total[b] += factor * y[k] * math.log1p(excess[b])
        else:
            for b in range(total.size):
                total[b] += factor * y[k] * _surprise_change(z, a, moved, b, k)


@kernel
def _surprise_change(z, p, moved, b, k):
    """Return log(sum_m p_m exp(d_m - d_k)) for one perturbation of any size, as the loop for small ones does."""
    if farthest(moved, b, k) <= FAR:
        excess = 0.0
        for m in range(p.size):
            excess += p[m] * expm1(moved[m, b] - moved[k, b])
        if excess > -0.5:
            return math.log1p(excess)
    # Two losses, that differ by a half or more.
    before, top = log_sum_exp(z)
    highest, after = 0.0, 0.0
    for m in range(p.size):
        highest = max(highest, z[m] - z[k] + (moved[m, b] - moved[k, b]))
    for m in range(p.size):
        after += math.exp(z[m] - z[k] + (moved[m, b] - moved[k, b]) - highest)
    return math.log(after) + highest - (before + (top - z[k]))


@kernel
def add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add log(sum p exp(u)): half the variance, the covariance with u2 and a sixth of the third central moment."""
    top = np.argmax(a)
    center(a, top, u1, mean, w1)
    if both:
        center(a, top, u2, mean, w2)
    for k in range(y.size):
        add_curvature(0.5 * scale * a[k], scale * a[k] / 6.0, both, w1[k], w2[k], d2, d3)


@kernel
def bound_loss(code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient."""
    # Cumulants of d under whatever probabilities hold in mid-perturbation, d having a range of 2 u. Its variance is
    # at most u**2; the third moment 8 u**3 / sqrt(108), the fourth 16 u**4 / 12. And y d.
    _, _, cap3, cap4 = compose(2.0, 0.5, 0.1925, 1.0 / 12.0, u1, u2, u3, u4)
    # For each target, d measured from its own: not 0 for the other classes only, so its variance is at most
    # residual scale times 4 u**2, and a higher moment that times 2 u for each order more.
    _, _, rising3, rising4 = compose(2.0, 2.0, 4.0 / 3.0, 2.0 / 3.0, u1, u2, u3, u4)
    spread = 0.5 * u1  # p changes by p (1 - p) times a difference of two z
    if n_terms < 3:
        return cap3, 0.0, rising3, spread
    return cap4, 0.0, rising4, spread
