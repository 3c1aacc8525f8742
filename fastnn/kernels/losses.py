"""Losses: values, slopes and exact changes, summed over outputs, one sample at a time.

A new loss is a member of `Loss`, a branch in each of `sample_loss`,
`output_delta`, `add_loss_change` and `add_loss_series`, a bound in
`series.bound_loss`, and its pairing with output activations in
`fastnn.losses`. The mean over samples is taken by the callers.

Cross-entropies are computed from the logits z, never from probabilities, so
they are finite and precise at any size of z.
"""

import math
from enum import IntEnum

import numpy as np

from fastnn._jit import kernel
from fastnn.kernels.activations import (
    LARGE,
    Activation,
    activate_jets,
    change_nudges,
    growth,
    largest,
    softplus,
    taylor,
)


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


@kernel
def log_sum_exp_moved(z, moved, b):
    """Return `log_sum_exp` of z (n,) + moved (n, n_nudges)[:, b]."""
    top = z[0] + moved[0, b]
    for k in range(z.size):
        top = max(top, z[k] + moved[k, b])
    total = 0.0
    for k in range(z.size):
        total += math.exp(z[k] + moved[k, b] - top)
    return math.log(total), top


@kernel
def sample_loss(loss, z, a, y):
    """Return one sample's loss; z, a and y are (n_outputs,)."""
    total = 0.0
    if loss == Loss.SQUARED_ERROR:
        for k in range(y.size):
            error = np.float64(a[k]) - y[k]
            total += error * error
    elif loss == Loss.BINARY_CROSS_ENTROPY:
        for k in range(y.size):
            zk = np.float64(z[k])
            total += y[k] * softplus(-zk)[0] + (1.0 - y[k]) * softplus(zk)[0]
    else:
        excess, top = log_sum_exp(z)
        for k in range(y.size):
            total += y[k] * (excess + (top - z[k]))
    return total


@kernel
def count_correct(loss, a, y):
    """Return how many decisions of one sample are right; none are counted for squared error."""
    if loss == Loss.BINARY_CROSS_ENTROPY:
        right = 0
        for k in range(y.size):
            right += (a[k] > 0.5) == (y[k] > 0.5)
        return right
    if loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        return 1 if np.argmax(a) == np.argmax(y) else 0
    return 0


@kernel
def output_delta(loss, code, a, slope, y, scale, delta):
    """Write scale * d loss / d z of one sample, (n_outputs,), into delta."""
    if loss != Loss.SQUARED_ERROR:
        for k in range(y.size):
            delta[k] = scale * (a[k] - y[k])
    elif code == Activation.SOFTMAX:
        mean = 0.0
        for k in range(y.size):
            mean += a[k] * (a[k] - y[k])
        for k in range(y.size):
            delta[k] = scale * 2.0 * a[k] * (a[k] - y[k] - mean)
    else:
        for k in range(y.size):
            delta[k] = scale * 2.0 * (a[k] - y[k]) * slope[k]


@kernel
def add_loss_change(loss, code, z, a, slope, y, moved, sign, scratch, total):
    """Add sign * (loss after - loss before) of one sample to total, one entry a nudge.

    moved (n_outputs, n_nudges), the change of the outputs' z, is overwritten; z, a,
    slope and y are (n_outputs,); scratch (n_nudges,).
    """
    if loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        _add_categorical_change(z, a, y, moved, sign, scratch, total)
    elif loss == Loss.BINARY_CROSS_ENTROPY:
        for k in range(y.size):
            _add_binary_change(z[k], y[k], moved[k], sign, scratch, total)
    elif code == Activation.SOFTMAX:
        _add_softmax_squared_change(z, a, y, moved, sign, scratch, total)
    else:
        for k in range(y.size):
            d = moved[k]
            change_nudges(code, z[k], a[k], slope[k], d)
            twice_error = 2.0 * (a[k] - y[k])
            for b in range(total.size):
                total[b] += sign * (d[b] * (twice_error + d[b]))


@kernel
def _add_binary_change(z, y, moved, sign, scratch, total):
    """Add the change of y softplus(-z) + (1 - y) softplus(z) for each nudge of one output."""
    change = scratch
    for b in range(total.size):
        change[b] = moved[b]
        moved[b] = -moved[b]
    if y < 1.0:
        value, slope = softplus(z)
        change_nudges(Activation.SOFTPLUS, z, value, slope, change)
        for b in range(total.size):
            total[b] += sign * (1.0 - y) * change[b]
    if y > 0.0:
        value, slope = softplus(-z)
        change_nudges(Activation.SOFTPLUS, -z, value, slope, moved)
        for b in range(total.size):
            total[b] += sign * y * moved[b]


@kernel
def _add_categorical_change(z, p, y, moved, sign, scratch, total):
    """Add the change of sum_k y_k (log sum_m exp(z_m) - z_k) for each nudge.

    Term k is log(sum_m p_m exp(d_m - d_k)): measured from d_k, the terms that
    would cancel when class k is already certain are zero by construction.
    """
    small = True
    for m in range(y.size):
        small = small and largest(moved[m]) <= 0.5 * LARGE
    before, top_before = log_sum_exp(z)
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
                total[b] += sign * y[k] * math.log1p(excess[b])
        else:
            for b in range(total.size):
                after, top = log_sum_exp_moved(z, moved, b)
                total[b] += sign * y[k] * ((after - before) + ((top - top_before) - own[b]))


@kernel
def _add_softmax_squared_change(z, p, y, moved, sign, scratch, total):
    """Add the change of sum_k (p_k - y_k)**2, p the softmax, for each nudge."""
    small = True
    for m in range(y.size):
        small = small and largest(moved[m]) <= LARGE
    if small:
        mean = scratch
        for b in range(total.size):
            mean[b] = 0.0
        for m in range(y.size):
            row = moved[m]
            for b in range(total.size):
                row[b] = growth(row[b])
                mean[b] += p[m] * row[b]
        for m in range(y.size):
            row = moved[m]
            twice_error = 2.0 * (p[m] - y[m])
            for b in range(total.size):
                d = p[m] * (row[b] - mean[b]) / (1.0 + mean[b])
                total[b] += sign * (d * (twice_error + d))
    else:
        for b in range(total.size):
            after, top = log_sum_exp_moved(z, moved, b)
            for m in range(y.size):
                d = math.exp(z[m] + moved[m, b] - top - after) - p[m]
                total[b] += sign * (d * (2.0 * (p[m] - y[m]) + d))


@kernel
def add_loss_series(loss, code, a, slope, y, u1, u2, u3, total):
    """Write the first three coefficients of one sample's loss, (3, n_nudges), into total.

    u1, u2 and u3 (n_outputs, n_nudges), the coefficients of the outputs' z, are overwritten.
    """
    total1, total2, total3 = total[0], total[1], total[2]
    for b in range(total1.size):
        total1[b] = 0.0
        total2[b] = 0.0
        total3[b] = 0.0
    if loss == Loss.BINARY_CROSS_ENTROPY:
        for k in range(y.size):  # softplus(z) - y z; a is softplus's slope
            g2, g3 = taylor(Activation.SOFTPLUS, 0.0, a[k])
            activate_jets(a[k] - y[k], g2, g3, u1[k], u2[k], u3[k])
            for b in range(total1.size):
                total1[b] += u1[k, b]
                total2[b] += u2[k, b]
                total3[b] += u3[k, b]
    elif loss == Loss.CATEGORICAL_CROSS_ENTROPY:
        _add_categorical_series(a, y, u1, u2, u3, total1, total2, total3)
    else:
        if code == Activation.SOFTMAX:
            _softmax_jets(a, u1, u2, u3, total1, total2, total3)
        else:
            for k in range(y.size):
                g2, g3 = taylor(code, a[k], slope[k])
                activate_jets(slope[k], g2, g3, u1[k], u2[k], u3[k])
        for k in range(y.size):
            twice_error = 2.0 * (a[k] - y[k])
            d1, d2, d3 = u1[k], u2[k], u3[k]
            for b in range(total1.size):
                total1[b] += twice_error * d1[b]
                total2[b] += twice_error * d2[b] + d1[b] * d1[b]
                total3[b] += twice_error * d3[b] + 2.0 * d1[b] * d2[b]


@kernel
def _average_growth(p, u1, u2, u3, s1, s2, s3):
    """Replace u by the coefficients of exp(u) - 1, and add their average under p, (n_outputs,), to s (n_nudges,)."""
    for k in range(p.size):
        d1, d2, d3 = u1[k], u2[k], u3[k]
        activate_jets(1.0, 0.5, 1.0 / 6.0, d1, d2, d3)
        for b in range(s1.size):
            s1[b] += p[k] * d1[b]
            s2[b] += p[k] * d2[b]
            s3[b] += p[k] * d3[b]


@kernel
def _add_categorical_series(p, y, u1, u2, u3, s1, s2, s3):
    """Add the coefficients of log(sum p exp(u)) - sum y u to s, which is zero, (n_nudges,)."""
    _average_growth(p, u1, u2, u3, s1, s2, s3)
    activate_jets(1.0, -0.5, 1.0 / 3.0, s1, s2, s3)  # log(1 + s)
    # u, found again from exp(u) - 1. The first coefficient is summed anew as that of
    # (p - y) u, which keeps its digits where the two parts cancel.
    for b in range(s1.size):
        s1[b] = 0.0
    for k in range(p.size):
        d1, d2, d3 = u1[k], u2[k], u3[k]
        activate_jets(1.0, -0.5, 1.0 / 3.0, d1, d2, d3)
        for b in range(s1.size):
            s1[b] += (p[k] - y[k]) * d1[b]
            s2[b] -= y[k] * d2[b]
            s3[b] -= y[k] * d3[b]


@kernel
def _softmax_jets(p, u1, u2, u3, s1, s2, s3):
    """Replace u by the coefficients of the softmax's change, p (exp(u) / (1 + s) - 1).

    s (n_nudges,), zero before and after, is room for the average of exp(u) - 1.
    """
    _average_growth(p, u1, u2, u3, s1, s2, s3)
    activate_jets(-1.0, 1.0, -1.0, s1, s2, s3)  # 1 / (1 + s)
    for k in range(p.size):
        d1, d2, d3 = u1[k], u2[k], u3[k]
        for b in range(s1.size):
            d3[b] = p[k] * (d3[b] + d2[b] * s1[b] + d1[b] * s2[b] + s3[b])
            d2[b] = p[k] * (d2[b] + d1[b] * s1[b] + s2[b])
            d1[b] = p[k] * (d1[b] + s1[b])
    for b in range(s1.size):
        s1[b] = 0.0
        s2[b] = 0.0
        s3[b] = 0.0
