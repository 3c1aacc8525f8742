"""-y log(a) - (1 - y) log(1 - a) of sigmoids, as softplus(z) - y z, from the logits."""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import Activation, change_block, softplus
from fastnn.kernels.elementary import compose, logistic_residual
from fastnn.kernels.vectors import add_curvature

OUTPUTS = ("sigmoid",)
TARGETS = "probabilities"
KINK = math.inf


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    total = 0.0
    for k in range(y.size):
        zk = np.float64(z[k])
        total += y[k] * softplus.value_and_slope(-zk)[0] + (1.0 - y[k]) * softplus.value_and_slope(zk)[0]
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return how many of one sample's predictions are right."""
    correct = 0
    for k in range(y.size):
        correct += (a[k] > 0.5) == (y[k] > 0.5)
    return correct


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    for k in range(y.size):
        delta[k] = scale * logistic_residual(a[k], slope[k], y[k])


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients: those of softplus."""
    for k in range(y.size):
        second[k] = scale * 0.5 * slope[k]
        third[k] = scale * slope[k] * (1.0 / 6.0 - a[k] * (1.0 / 3.0))


@kernel
def residual_scale(code, a, slope, y):
    """Return the largest of errors and a (1 - a)."""
    most = 0.0
    for k in range(y.size):
        most = max(most, abs(logistic_residual(a[k], slope[k], y[k])), np.float64(slope[k]))
    return most


@kernel
def add_change(code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor times the change of the loss for each perturbation."""
    for k in range(y.size):
        _add_binary_change(z[k], y[k], moved[k], factor, scratch, total)


@kernel
def _add_binary_change(z, y, moved, factor, scratch, total):
    """Add the change of y softplus(-z) + (1 - y) softplus(z) for each perturbation of one output."""
    change = scratch
    for b in range(total.size):
        change[b] = moved[b]
        moved[b] = -moved[b]
    if y < 1.0:
        value, slope = softplus.value_and_slope(z)
        change_block(Activation.SOFTPLUS, z, value, slope, change)
        for b in range(total.size):
            total[b] += factor * (1.0 - y) * change[b]
    if y > 0.0:
        value, slope = softplus.value_and_slope(-z)
        change_block(Activation.SOFTPLUS, -z, value, slope, moved)
        for b in range(total.size):
            total[b] += factor * y * moved[b]


@kernel
def add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add each output's curvature."""
    for k in range(y.size):
        add_curvature(curvature2[k], curvature3[k], both, u1[k], u2[k], d2, d3)


@kernel
def bound_loss(code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient: softplus(z) - y z, slope at most 1."""
    g1, g2, g3, g4 = softplus.DERIVATIVE_BOUNDS
    _, _, v3, v4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
    # Its slope is s - y, and all others have a factor s (1 - s).
    _, _, w3, w4 = compose(1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, u1, u2, u3, u4)
    if n_terms < 3:
        return n_moved * v3, 0.0, n_moved * w3, 0.25 * u1
    return n_moved * v4, 0.0, n_moved * w4, 0.25 * u1
