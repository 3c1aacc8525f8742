"""Activations: values, slopes, and exact changes.

A new activation is a member of `Activation` and a branch in each of
`value_and_slope`, `change` and `taylor`, and in `series.suprema`.

Changes are what perturbation lives on: f(z + t) - f(z) to full relative
precision, where subtracting two values would leave only the digits above
rounding (eleven of sixteen at t = 1e-5, and none in float32). With E = exp(t) - 1
and s the value, the sigmoid's is s (1 - s) E / (1 + s E); tanh's follows from the
addition theorem, softplus's is log(1 + s' E) with s' its slope.
"""

import math
from enum import IntEnum

from fastnn._jit import kernel

LEAKY_SLOPE = 0.01
# Beyond this |t| two values are subtracted: little cancels there, and the closed
# forms would overflow.
LARGE = 0.5


class Activation(IntEnum):
    """What a layer does to its pre-activations."""

    IDENTITY = 0
    SIGMOID = 1
    TANH = 2
    RELU = 3
    LEAKY_RELU = 4
    SOFTPLUS = 5
    SOFTMAX = 6


@kernel
def sigmoid(z):
    """Return 1 / (1 + exp(-z)) and its slope, neither of which can overflow or cancel."""
    e = math.exp(-abs(z))
    r = 1.0 / (1.0 + e)
    return (r if z >= 0.0 else e * r), e * r * r


@kernel
def tanh(z):
    """Return tanh(z) and its slope 1 - tanh(z)**2, without the cancellation."""
    e = math.exp(-2.0 * abs(z))
    r = 1.0 / (1.0 + e)
    return math.tanh(z), 4.0 * e * r * r


@kernel
def softplus(z):
    """Return log(1 + exp(z)) and its slope, the sigmoid."""
    e = math.exp(-abs(z))
    r = 1.0 / (1.0 + e)
    return (z if z > 0.0 else 0.0) + math.log1p(e), (r if z >= 0.0 else e * r)


@kernel
def rectify(z, leak):
    """Return z where it is positive, leak * z elsewhere, and the slope; nan stays nan."""
    return (leak * z if z < 0.0 else z), (1.0 if z > 0.0 else leak)


@kernel
def rectify_change(z, a, t, leak):
    """Return the exact change of `rectify`; t itself on either side of the kink."""
    if z > 0.0 and z + t > 0.0:
        return t
    if z <= 0.0 and z + t <= 0.0:
        return leak * t
    return rectify(z + t, leak)[0] - a


@kernel
def value_and_slope(code, z):
    """Return f(z) and f'(z) of one unit; a kink's slope is that of its left side."""
    if code == Activation.SIGMOID:
        return sigmoid(z)
    if code == Activation.TANH:
        return tanh(z)
    if code == Activation.RELU:
        return rectify(z, 0.0)
    if code == Activation.LEAKY_RELU:
        return rectify(z, LEAKY_SLOPE)
    if code == Activation.SOFTPLUS:
        return softplus(z)
    return z, 1.0


@kernel
def softmax(z, a):
    """Write the softmax of one sample's z, (n_units,), into a."""
    top = z[0]
    for k in range(z.size):
        top = max(top, z[k])
    total = 0.0
    for k in range(z.size):
        a[k] = math.exp(z[k] - top)
        total += a[k]
    for k in range(z.size):
        a[k] /= total


@kernel
def activate(code, z, a, slope):
    """Write one sample's activations and slopes, each (n_units,); softmax has no slope of its own."""
    if code == Activation.SOFTMAX:
        softmax(z, a)
    else:
        for k in range(z.size):
            a[k], slope[k] = value_and_slope(code, z[k])


@kernel
def growth(t):
    """Return exp(t) - 1 for |t| <= LARGE, within 2 ulp.

    Taylor's series, since loops over it vectorise and libm's expm1 is a call a
    number: 0.5**15 / 16! is 1e-18 of the first term.
    """
    tail = 1.0 / 87178291200.0 + t / 1307674368000.0
    tail = 1.0 / 6227020800.0 + t * tail
    tail = 1.0 / 479001600.0 + t * tail
    tail = 1.0 / 39916800.0 + t * tail
    tail = 1.0 / 3628800.0 + t * tail
    tail = 1.0 / 362880.0 + t * tail
    tail = 1.0 / 40320.0 + t * tail
    tail = 1.0 / 5040.0 + t * tail
    tail = 1.0 / 720.0 + t * tail
    tail = 1.0 / 120.0 + t * tail
    tail = 1.0 / 24.0 + t * tail
    tail = 1.0 / 6.0 + t * tail
    tail = 1.0 / 2.0 + t * tail
    return t + t * t * tail


@kernel
def sigmoid_change(a, slope, growth_t):
    """Return sigmoid(z + t) - sigmoid(z) for a small t; growth_t is growth(t)."""
    return slope * growth_t / (1.0 + a * growth_t)


@kernel
def tanh_change(a, slope, growth_t):
    """Return tanh(z + t) - tanh(z) for a small t; growth_t is growth(t)."""
    twice = growth_t * (growth_t + 2.0)  # exp(2 t) - 1
    tanh_t = twice / (twice + 2.0)
    return slope * tanh_t / (1.0 + a * tanh_t)


@kernel
def softplus_change(slope, growth_t):
    """Return softplus(z + t) - softplus(z) for a small t; growth_t is growth(t)."""
    return math.log1p(slope * growth_t)


@kernel
def change(code, z, a, slope, t):
    """Return f(z + t) - f(z) of one unit for any t.

    A large one is a subtraction, for sigmoid and tanh on the side where they are small.
    """
    small = abs(t) <= LARGE
    if code == Activation.SIGMOID:
        if small:
            return sigmoid_change(a, slope, growth(t))
        if z > 0.0:
            return sigmoid(-z)[0] - sigmoid(-z - t)[0]
        return sigmoid(z + t)[0] - sigmoid(z)[0]
    if code == Activation.TANH:
        if small:
            return tanh_change(a, slope, growth(t))
        if z > 0.0:  # tanh(z) = 1 - 2 sigmoid(-2 z)
            return 2.0 * (sigmoid(-2.0 * z)[0] - sigmoid(-2.0 * (z + t))[0])
        return 2.0 * (sigmoid(2.0 * (z + t))[0] - sigmoid(2.0 * z)[0])
    if code == Activation.RELU:
        return rectify_change(z, a, t, 0.0)
    if code == Activation.LEAKY_RELU:
        return rectify_change(z, a, t, LEAKY_SLOPE)
    if code == Activation.SOFTPLUS:
        return softplus_change(slope, growth(t)) if small else softplus(z + t)[0] - a
    return t


@kernel
def largest(t):
    """Return the largest size of a vector's entries; nan compares false and is left out."""
    result = 0.0
    for b in range(t.size):
        result = max(result, abs(t[b]))
    return result


@kernel
def change_units(code, z, a, slope, t, out):
    """Write f(z + t) - f(z) for units (n,) that share one nudge t.

    `change`, with loops of their own for the commonest codes, which vectorise.
    """
    if abs(t) <= LARGE and code == Activation.SIGMOID:
        growth_t = growth(t)
        for b in range(out.size):
            out[b] = sigmoid_change(a[b], slope[b], growth_t)
    elif abs(t) <= LARGE and code == Activation.TANH:
        growth_t = growth(t)
        for b in range(out.size):
            out[b] = tanh_change(a[b], slope[b], growth_t)
    else:
        for b in range(out.size):
            out[b] = change(code, z[b], a[b], slope[b], t)


@kernel
def change_nudges(code, z, a, slope, t):
    """Replace nudges t (n,) of one unit by f(z + t) - f(z).

    `change`, with loops of their own for the commonest codes, which vectorise.
    """
    if code == Activation.IDENTITY:
        return
    small = largest(t) <= LARGE
    if small and code == Activation.SIGMOID:
        for b in range(t.size):
            t[b] = sigmoid_change(a, slope, growth(t[b]))
    elif small and code == Activation.TANH:
        for b in range(t.size):
            t[b] = tanh_change(a, slope, growth(t[b]))
    else:
        for b in range(t.size):
            t[b] = change(code, z, a, slope, t[b])


@kernel
def taylor(code, a, slope):
    """Return half the second and a sixth of the third derivative of one unit; 0 between kinks."""
    if code == Activation.SIGMOID:
        return 0.5 * slope * (1.0 - 2.0 * a), slope * (1.0 - 6.0 * slope) / 6.0
    if code == Activation.TANH:
        return -a * slope, slope * (2.0 - 3.0 * slope) / 3.0
    if code == Activation.SOFTPLUS:  # its slope is the sigmoid
        return 0.5 * slope * (1.0 - slope), slope * (1.0 - slope) * (1.0 - 2.0 * slope) / 6.0
    return 0.0, 0.0


@kernel
def activate_jets(g1, g2, g3, u1, u2, u3):
    """Replace the coefficients u (n_nudges,) of one unit's z by those of its activation; in place."""
    for b in range(u1.size):
        x1, x2 = u1[b], u2[b]
        u1[b] = g1 * x1
        u2[b] = g1 * x2 + g2 * x1 * x1
        u3[b] = g1 * u3[b] + 2.0 * g2 * x1 * x2 + g3 * x1 * x1 * x1
