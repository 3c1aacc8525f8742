"""sum_k (a_k - y_k)**2."""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import Activation, change_block, derivative_bounds, residual, taylor_units
from fastnn.kernels.elementary import LARGE, complement, compose, expm1, growth
from fastnn.kernels.losses.softmax_change import FAR, center, farthest
from fastnn.kernels.vectors import add_curvature, largest_size

OUTPUTS = None
TARGETS = "numbers"
KINK = math.inf


@kernel(inline=True)
def sample_loss(code, z, a, slope, y):
    """Return one sample's loss; all arrays are (n_outputs,)."""
    total = 0.0
    for k in range(y.size):
        error = residual(code, a[k], slope[k], y[k])
        total += error * error
    return total


@kernel(inline=True)
def count_correct(a, y):
    """Return 0: numbers are not right or wrong."""
    return 0


@kernel(inline=True)
def output_delta(code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta."""
    if code == Activation.SOFTMAX:
        mean = 0.0
        for k in range(y.size):
            mean += a[k] * residual(code, a[k], slope[k], y[k])
        # They sum to 0. The one that is nearly 1 would lose its digits: it is what the others leave.
        top = np.argmax(a)
        others = 0.0
        for k in range(y.size):
            d = scale * 2.0 * a[k] * (residual(code, a[k], slope[k], y[k]) - mean)
            delta[k] = d
            others += 0.0 if k == top else d
        delta[top] = -others
    elif code == Activation.IDENTITY:
        for k in range(y.size):
            delta[k] = scale * 2.0 * (a[k] - y[k])
    else:
        for k in range(y.size):
            delta[k] = scale * 2.0 * residual(code, a[k], slope[k], y[k]) * slope[k]


@kernel
def curve_outputs(code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third coefficients."""
    if code != Activation.SOFTMAX:
        taylor_units(code, z, a, slope, second, third)
        for k in range(y.size):
            error, f1, f2 = residual(code, a[k], slope[k], y[k]), slope[k], second[k]
            second[k] = scale * (2.0 * error * f2 + f1 * f1)
            third[k] = scale * (2.0 * (error * third[k] + f1 * f2))
        return
    for j in range(y.size):
        p = a[j]
        # Of exp(z_j) / sum: with w = [k = j] - p_j, p_k changes by p_k (w, x2 + w**2 / 2, x3 + w x2 + w**3 / 6).
        variance = np.float64(slope[j])
        x2, x3 = -0.5 * variance, -variance * (1.0 - 2.0 * p) / 6.0
        q2, q3 = 0.0, 0.0
        for k in range(y.size):
            w = complement(p, slope[j]) if k == j else np.float64(-p)
            c1, c2, c3 = a[k] * w, a[k] * (x2 + 0.5 * w * w), a[k] * (x3 + w * x2 + w * w * w / 6.0)
            error = residual(code, a[k], slope[k], y[k])
            q2 += 2.0 * error * c2 + c1 * c1
            q3 += 2.0 * (error * c3 + c1 * c2)
        second[j] = scale * q2
        third[j] = scale * q3


@kernel
def residual_scale(code, a, slope, y):
    """Return the largest error; not finite where one is none."""
    most = 0.0
    for k in range(y.size):
        size = abs(residual(code, a[k], slope[k], y[k]))
        most = size if not size <= most else most
    return most


@kernel
def add_change(code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor times the change of the loss for each perturbation: of e**2 with e changed by d, (2 e + d) d."""
    if code == Activation.SOFTMAX:
        _add_softmax_squared_change(z, a, slope, y, moved, factor, scratch, total)
        return
    for k in range(y.size):
        d = moved[k]
        change_block(code, z[k], a[k], slope[k], d)
        twice_error = 2.0 * residual(code, a[k], slope[k], y[k])
        for b in range(total.size):
            total[b] += factor * (d[b] * (twice_error + d[b]))


@kernel
def _add_softmax_squared_change(z, p, slope, y, moved, factor, scratch, total):
    """Add the change of sum_k (p_k - y_k)**2, p the softmax, for each perturbation.

    Changes are measured from that of the likeliest class, whose own is what the others leave.
    """
    top = np.argmax(p)
    small = True
    for m in range(y.size):
        small = small and largest_size(moved[m]) <= 0.5 * LARGE
    if small:
        mean = scratch
        for b in range(total.size):
            mean[b] = 0.0
        own = moved[top]
        for m in range(y.size):
            row = moved[m]
            if m != top:
                for b in range(total.size):
                    row[b] = growth(row[b] - own[b])
                    mean[b] += p[m] * row[b]
        for b in range(total.size):
            own[b] = 0.0
        for m in range(y.size):
            row = moved[m]
            twice_error = 2.0 * residual(Activation.SOFTMAX, p[m], slope[m], y[m])
            for b in range(total.size):
                d = p[m] * (row[b] - mean[b]) / (1.0 + mean[b])
                total[b] += factor * (d * (twice_error + d))
    else:
        for b in range(total.size):
            total[b] += factor * _squared_change(z, p, slope, y, moved, b, top)


@kernel
def _squared_change(z, p, slope, y, moved, b, top):
    """Return the change for one perturbation of any size, as the loop for small ones does."""
    is_far = farthest(moved, b, top) > FAR
    mean, highest, total = 0.0, z[top] + moved[top, b], 0.0
    for m in range(p.size):
        highest = max(highest, z[m] + moved[m, b])
    for m in range(p.size):
        if is_far:
            total += math.exp(z[m] + moved[m, b] - highest)
        elif m != top:
            mean += p[m] * expm1(moved[m, b] - moved[top, b])
    change = 0.0
    for m in range(p.size):
        if is_far:
            d = math.exp(z[m] + moved[m, b] - highest) / total - p[m]
        else:
            d = p[m] * ((expm1(moved[m, b] - moved[top, b]) if m != top else 0.0) - mean) / (1.0 + mean)
        change += d * (2.0 * residual(Activation.SOFTMAX, p[m], slope[m], y[m]) + d)
    return change


@kernel
def add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add each output's curvature; a softmax has one of all together."""
    if code != Activation.SOFTMAX:
        for k in range(y.size):
            add_curvature(curvature2[k], curvature3[k], both, u1[k], u2[k], d2, d3)
        return
    top = np.argmax(a)
    center(a, top, u1, mean, w1)
    if both:
        center(a, top, u2, mean, w2)
    for b in range(d2.size):
        variance, covariance, moment = 0.0, 0.0, 0.0
        for k in range(y.size):
            w = w1[k, b]
            variance += a[k] * w * w
            covariance += a[k] * w * w2[k, b]
            moment += a[k] * w * w * w
        for k in range(y.size):
            # The coefficients of p_k, as in `curve_outputs`; the second also without u2.
            w, x3 = w1[k, b], -covariance - moment / 6.0
            bare = -0.5 * variance
            x2 = w2[k, b] + bare
            c1, c2 = a[k] * w, a[k] * (x2 + 0.5 * w * w)
            c3 = a[k] * (x3 + w * x2 + w * w * w / 6.0)
            error = residual(code, a[k], slope[k], y[k])
            d2[b] += scale * (2.0 * error * a[k] * (bare + 0.5 * w * w) + c1 * c1)
            d3[b] += scale * 2.0 * (error * c3 + c1 * c2)


@kernel
def bound_loss(code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient."""
    if code == Activation.SOFTMAX:
        # exp(d) - 1, averaged with whatever probabilities hold in mid-perturbation, and 1 / (1 + e)
        e1, e2, e3, e4 = compose(1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, u1, u2, u3, u4)
        i1, i2, i3, i4 = compose(1.0, 1.0, 1.0, 1.0, e1, e2, e3, e4)
        v1, v2 = e1 + i1, e2 + e1 * i1 + i2
        v3 = e3 + e2 * i1 + e1 * i2 + i3
        v4 = e4 + e3 * i1 + e2 * i2 + e1 * i3 + i4
        # In mid-perturbation an error is at most one more than before it: that is in fixed, and there is no spread.
        rising3, rising4, spread = 2.0 * v3, 2.0 * v4, 0.0
        fixed3, fixed4 = 2.0 * v1 * v2 + rising3, 2.0 * v1 * v3 + v2 * v2 + rising4
    else:
        g1, g2, g3, g4 = derivative_bounds(code)
        v1, v2, v3, v4 = compose(g1, g2, g3, g4, u1, u2, u3, u4)
        rising3, rising4, spread = n_moved * 2.0 * v3, n_moved * 2.0 * v4, v1
        fixed3, fixed4 = n_moved * 2.0 * v1 * v2, n_moved * (2.0 * v1 * v3 + v2 * v2)
    if n_terms < 3:
        return math.inf, fixed3, rising3, spread
    return math.inf, fixed4, rising4, spread
