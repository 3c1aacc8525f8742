"""Losses: values, slopes and exact changes, summed over outputs, one sample at a time.

A new loss is a member of `Loss`, a branch in each of `sample_loss`,
`output_delta`, `doubt`, `add_loss_change`, `bend_outputs` and `add_loss_curvature`, a
bound in `series.bound_loss`, and its pairing with output activations in
`fastnn.losses`. The mean over samples is taken by the callers.

Cross-entropies are computed from the logits z, never from probabilities, so
they are finite and precise at any size of z.
"""

import math
from enum import IntEnum

import numpy as np

from fastnn._jit import kernel
from fastnn.kernels.activations import Activation, change_nudges, residual, softplus, taylor_units
from fastnn.kernels.elementary import LARGE, complement, expm1, growth
from fastnn.kernels.vectors import add_curvature, clear, largest_size

# Where one logit gains more than this on another, exp may overflow, and what was no probability be one.
FAR = 300.0


class Loss(IntEnum):
    """What is measured on the outputs."""

    SQUARED_ERROR = 0
    BINARY_CROSS_ENTROPY = 1
    CATEGORICAL_CROSS_ENTROPY = 2


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
def sample_loss(loss, code, z, a, slope, y):
    """Return one sample's loss; z, a, slope and y are (n_outputs,)."""
    total = 0.0
    if loss == Loss.SQUARED_ERROR:
        for k in range(y.size):
            error = residual(code, a[k], slope[k], y[k])
            total += error * error
    elif loss == Loss.BINARY_CROSS_ENTROPY:
        for k in range(y.size):
            zk = np.float64(z[k])
            total += y[k] * softplus.value_and_slope(-zk)[0] + (1.0 - y[k]) * softplus.value_and_slope(zk)[0]
    else:
        excess, top = log_sum_exp(z)
        for k in range(y.size):
            total += y[k] * (excess + (top - z[k]))
    return total


@kernel(inline=True)
def count_correct(loss, a, y):
    """Return how many decisions of one sample are right, by a cross-entropy."""
    if loss == Loss.BINARY_CROSS_ENTROPY:
        right = 0
        for k in range(y.size):
            right += (a[k] > 0.5) == (y[k] > 0.5)
        return right
    return 1 if np.argmax(a) == np.argmax(y) else 0


@kernel(inline=True)
def output_delta(loss, code, a, slope, y, scale, delta):
    """Write scale * d loss / d z into delta; all arrays are (n,), as for `bend_outputs`."""
    if loss != Loss.SQUARED_ERROR:
        for k in range(y.size):
            delta[k] = scale * residual(code, a[k], slope[k], y[k])
    elif code == Activation.SOFTMAX:
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
def doubt(loss, code, a, slope, y):
    """Return what one sample's higher coefficients are proportional to, for `series.bound_loss`; all (n_outputs,).

    Of squared errors, the largest error; of a binary cross-entropy, the largest of errors and a (1 - a);
    of a categorical one, the probability of what is not asked for.
    """
    most, rest = 0.0, 0.0
    for k in range(y.size):
        size = abs(residual(code, a[k], slope[k], y[k]))
        # Not finite where one is nan, as `max` would not be.
        most = size if not size <= most else most
        if loss == Loss.BINARY_CROSS_ENTROPY:
            most = max(most, np.float64(slope[k]))
        elif loss == Loss.CATEGORICAL_CROSS_ENTROPY:
            rest += y[k] * complement(a[k], slope[k])
    return rest if loss == Loss.CATEGORICAL_CROSS_ENTROPY else most


@kernel
def add_loss_change(loss, code, z, a, slope, y, moved, factor, scratch, total):
    """Add factor * (loss after - loss before) of one sample to total, one entry a nudge.

    moved (n_outputs, n_nudges), the change of the outputs' z, is overwritten; z, a,
    slope and y are (n_outputs,); scratch (n_nudges,).
    """
    if loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        _add_categorical_change(z, a, y, moved, factor, scratch, total)
    elif loss == Loss.BINARY_CROSS_ENTROPY:
        for k in range(y.size):
            _add_binary_change(z[k], y[k], moved[k], factor, scratch, total)
    elif code == Activation.SOFTMAX:
        _add_softmax_squared_change(z, a, slope, y, moved, factor, scratch, total)
    else:
        for k in range(y.size):
            d = moved[k]
            change_nudges(code, z[k], a[k], slope[k], d)
            twice_error = 2.0 * residual(code, a[k], slope[k], y[k])
            for b in range(total.size):
                total[b] += factor * (d[b] * (twice_error + d[b]))


@kernel
def _add_binary_change(z, y, moved, factor, scratch, total):
    """Add the change of y softplus(-z) + (1 - y) softplus(z) for each nudge of one output."""
    change = scratch
    for b in range(total.size):
        change[b] = moved[b]
        moved[b] = -moved[b]
    if y < 1.0:
        value, slope = softplus.value_and_slope(z)
        change_nudges(Activation.SOFTPLUS, z, value, slope, change)
        for b in range(total.size):
            total[b] += factor * (1.0 - y) * change[b]
    if y > 0.0:
        value, slope = softplus.value_and_slope(-z)
        change_nudges(Activation.SOFTPLUS, -z, value, slope, moved)
        for b in range(total.size):
            total[b] += factor * y * moved[b]


@kernel
def _add_categorical_change(z, p, y, moved, factor, scratch, total):
    """Add the change of sum_k y_k (log sum_m exp(z_m) - z_k) for each nudge.

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
                    excess[b] += p[m] * growth(row[b] - own[b])
            for b in range(total.size):
                total[b] += factor * y[k] * math.log1p(excess[b])
        else:
            for b in range(total.size):
                total[b] += factor * y[k] * _surprise_change(z, p, moved, b, k)


@kernel
def farthest(moved, b, k):
    """Return by how much more than output k's z nudge b moves any other; moved (n_outputs, n_nudges)."""
    largest = 0.0
    for m in range(moved.shape[0]):
        largest = max(largest, moved[m, b] - moved[k, b])
    return largest


@kernel
def _surprise_change(z, p, moved, b, k):
    """Return log(sum_m p_m exp(d_m - d_k)) for one nudge of any size; of a small one, what the loop for such returns."""
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
def _add_softmax_squared_change(z, p, slope, y, moved, factor, scratch, total):
    """Add the change of sum_k (p_k - y_k)**2, p the softmax, for each nudge.

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
    """Return the change for one nudge of any size; of a small one, what the loop for such returns."""
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
def bend_outputs(loss, code, z, a, slope, y, scale, second, third):
    """Write scale times the second and third Taylor coefficients of the loss in z of each output.

    All arrays are (n,): any outputs of any samples or, with softmax, those of one.
    """
    if loss != Loss.SQUARED_ERROR:  # log(1 + exp(z)), or the same with the other classes in place of 1
        for k in range(y.size):
            second[k] = scale * 0.5 * slope[k]
            third[k] = scale * slope[k] * (1.0 / 6.0 - a[k] * (1.0 / 3.0))
    elif code != Activation.SOFTMAX:
        taylor_units(code, z, a, slope, second, third)
        for k in range(y.size):
            error, f1, f2 = residual(code, a[k], slope[k], y[k]), slope[k], second[k]
            second[k] = scale * (2.0 * error * f2 + f1 * f1)
            third[k] = scale * (2.0 * (error * third[k] + f1 * f2))
    else:
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
def add_loss_curvature(loss, code, a, slope, y, scale, bend2, bend3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add to d2 and d3 (n_nudges,) what the loss itself bends: scale times its second and third coefficients.

    Along the outputs' z, whose own coefficients are u1 and u2 (n_outputs, n_nudges);
    what u2 adds to the second coefficient and the third ones to the third are left
    out, since they are first order in them. u2 and d3 are of no use unless both are
    asked for. bend2 and bend3 are those of `bend_outputs`, a, slope and y (n_outputs,); w1
    and w2 (n_outputs, n_nudges) and mean (n_nudges,) are room.
    """
    if code != Activation.SOFTMAX:
        for k in range(y.size):
            add_curvature(bend2[k], bend3[k], both, u1[k], u2[k], d2, d3)
        return
    top = np.argmax(a)
    _center(a, top, u1, mean, w1)
    if both:
        _center(a, top, u2, mean, w2)
    if loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        # log(sum p exp(u)): half the variance, the covariance with u2 and a sixth of the third moment.
        for k in range(y.size):
            add_curvature(0.5 * scale * a[k], scale * a[k] / 6.0, both, w1[k], w2[k], d2, d3)
    else:
        for b in range(d2.size):
            variance, covariance, moment = 0.0, 0.0, 0.0
            for k in range(y.size):
                w = w1[k, b]
                variance += a[k] * w * w
                covariance += a[k] * w * w2[k, b]
                moment += a[k] * w * w * w
            for k in range(y.size):
                # The coefficients of p_k, as in `bend_outputs`; the second also without u2.
                w, x3 = w1[k, b], -covariance - moment / 6.0
                bare = -0.5 * variance
                x2 = w2[k, b] + bare
                c1, c2 = a[k] * w, a[k] * (x2 + 0.5 * w * w)
                c3 = a[k] * (x3 + w * x2 + w * w * w / 6.0)
                error = residual(code, a[k], slope[k], y[k])
                d2[b] += scale * (2.0 * error * a[k] * (bare + 0.5 * w * w) + c1 * c1)
                d3[b] += scale * 2.0 * (error * c3 + c1 * c2)


@kernel
def _center(p, top, u, mean, out):
    """Write u (n_outputs, n_nudges) less its mean under p into out; mean (n_nudges,) is room.

    Both from the row `top` of the likeliest class, whose own rest is then as exact as its probability is sure.
    """
    clear(mean)
    for k in range(p.size):
        weight, row, centered, own = mean.dtype.type(p[k]), u[k], out[k], u[top]
        for b in range(mean.size):
            centered[b] = row[b] - own[b]
            mean[b] += weight * centered[b]
    for k in range(p.size):
        centered = out[k]
        for b in range(mean.size):
            centered[b] -= mean[b]
