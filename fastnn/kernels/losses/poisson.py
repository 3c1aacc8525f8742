"""sum_k a_k - y_k log(a_k), of counts y and rates a, which a softplus keeps positive.

It is the negative log-likelihood without its constant. As a function of z its slope is (a - y) a' / a, and
stays bounded where a vanishes, since a' / a is 1 there: log(a) is z.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import softplus
from fastnn.kernels.elementary import LARGE, compose
from fastnn.kernels.vectors import add_curvature

OUTPUTS = ("softplus",)
TARGETS = "counts"
KINK = math.inf

# Of log(softplus(z)): |h''| / 2, |h'''| / 6 and |h''''| / 24 over all z, rounded up.
LOG_BOUNDS = (0.0835478, 0.0101522, 0.00255859)
# Below, log(softplus(z)) is z, and less than exp(z) / 2 off it.
FAR = -40.0
# Below, a' / a is 1 - a / 2 to all digits.
SMALL = 1e-9


@kernel
def log_rate(z, a):
    """Return log(a), a being softplus(z)."""
    return math.log(a) if z > FAR else z


@kernel
def ratio(a, slope):
    """Return a' / a."""
    return np.float64(slope) / a if a > SMALL else 1.0 - 0.5 * np.float64(a)


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    total = 0.0
    for k in range(y.size):
        rate = softplus.value_and_slope(z[k])[0]
        total += rate - y[k] * log_rate(np.float64(z[k]), rate)
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return 0: counts are not right or wrong."""
    return 0


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    for k in range(y.size):
        delta[k] = scale * (np.float64(a[k]) - y[k]) * ratio(a[k], slope[k])


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients: those of softplus(z), and -y times those of its log."""
    for k in range(y.size):
        r, f1 = ratio(a[k], slope[k]), np.float64(slope[k])
        f2, f3 = 0.5 * (1.0 - f1), (1.0 - f1) * (1.0 / 6.0 - f1 * (1.0 / 3.0))  # over f1
        h2, h3 = r * (f2 - 0.5 * r), r * (f3 + r * (r * (1.0 / 3.0) - f2))
        second[k] = scale * (f1 * f2 - y[k] * h2)
        third[k] = scale * (f1 * f3 - y[k] * h3)


@kernel
def residual_scale(code, a, slope, y):
    """Return the largest of counts and 1; not finite where an output is none."""
    most = 1.0
    for k in range(y.size):
        size = np.float64(y[k]) if a[k] < math.inf else np.float64(a[k])
        most = size if not size <= most else most
    return most


@kernel
def surplus(u):
    """Return u - log(1 + u) to full relative precision; near 0 by log(1 + u) = 2 artanh(s) with s = u / (2 + u).

    |s| is 1/7 at most: s**22 is 3e-19 of the first term.
    """
    if abs(u) > 0.25:
        return u - math.log1p(u)
    s = u / (2.0 + u)
    square = s * s
    tail = 1.0 / 21.0
    tail = 1.0 / 19.0 + square * tail
    tail = 1.0 / 17.0 + square * tail
    tail = 1.0 / 15.0 + square * tail
    tail = 1.0 / 13.0 + square * tail
    tail = 1.0 / 11.0 + square * tail
    tail = 1.0 / 9.0 + square * tail
    tail = 1.0 / 7.0 + square * tail
    tail = 1.0 / 5.0 + square * tail
    tail = 1.0 / 3.0 + square * tail
    return u * s - 2.0 * s * square * tail


@kernel
def change(z, a, slope, y, t):
    """Return the change of one output's loss: what the rate is off by times its change, and what the logarithm bends.

    Where the rate vanishes or falls to less than half, its logarithm by itself.
    """
    changed = softplus.change(z, a, slope, t) if abs(t) <= LARGE else softplus.large_change(z, a, slope, t)
    if z > FAR and changed > -0.5 * a:
        relative = changed / a
        return (a - y) * relative + y * surplus(relative)
    if z <= FAR and z + t <= FAR + 1.0:
        return changed - y * t
    return changed - y * (log_rate(z + t, softplus.value_and_slope(z + t)[0]) - log_rate(z, a))


@kernel
def add_change(code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor times the change of the loss for each perturbation."""
    for k in range(y.size):
        here = np.float64(z[k])
        rate, steepness = softplus.value_and_slope(here)
        for b in range(total.size):
            total[b] += factor * change(here, rate, steepness, np.float64(y[k]), np.float64(moved[k, b]))


@kernel
def add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add each output's curvature."""
    for k in range(y.size):
        add_curvature(curvature2[k], curvature3[k], both, u1[k], u2[k], d2, d3)


@kernel
def bound_loss(code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient: of softplus(z) - y log(softplus(z)), whose slope is up to 1 or y."""
    _, g2, g3, g4 = softplus.DERIVATIVE_BOUNDS
    h2, h3, h4 = LOG_BOUNDS
    _, _, v3, v4 = compose(1.0, g2 + h2, g3 + h3, g4 + h4, u1, u2, u3, u4)
    return math.inf, 0.0, n_moved * (v3 if n_terms < 3 else v4), 0.0
