"""Activations: values, slopes, and exact changes.

A new activation is a member of `Activation`, a line in each of the dispatchers
`value_and_slope` and `change`, and the scalar functions that they call.

`change` is what perturbation lives on: f(z + t) - f(z) to full relative
precision, where subtracting two values would leave only the digits above
rounding (eleven of sixteen at t = 1e-5, and none in float32).
"""

import math
from enum import IntEnum

from fastnn._jit import kernel

LEAKY_SLOPE = 0.01
# Beyond this |t| two values are subtracted: nothing cancels there, and the
# closed forms would overflow.
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
def sigmoid_change(z, a, slope, t, growth):
    """Return sigmoid(z + t) - sigmoid(z); growth is expm1(t)."""
    if abs(t) <= LARGE:
        return slope * growth / (1.0 + a * growth)
    if z > 0.0:  # subtract on the side where the values are small
        return sigmoid(-z)[0] - sigmoid(-z - t)[0]
    return sigmoid(z + t)[0] - sigmoid(z)[0]


@kernel
def tanh(z):
    """Return tanh(z) and its slope 1 - tanh(z)**2, without the cancellation."""
    e = math.exp(-2.0 * abs(z))
    r = 1.0 / (1.0 + e)
    return math.tanh(z), 4.0 * e * r * r


@kernel
def tanh_change(z, a, slope, t, growth):
    """Return tanh(z + t) - tanh(z); growth is expm1(t)."""
    if abs(t) <= LARGE:
        twice = growth * (growth + 2.0)  # expm1(2 t)
        tanh_t = twice / (twice + 2.0)
        return slope * tanh_t / (1.0 + a * tanh_t)
    if z > 0.0:  # tanh(z) = 1 - 2 sigmoid(-2 z)
        return 2.0 * (sigmoid(-2.0 * z)[0] - sigmoid(-2.0 * (z + t))[0])
    return 2.0 * (sigmoid(2.0 * (z + t))[0] - sigmoid(2.0 * z)[0])


@kernel
def softplus(z):
    """Return log(1 + exp(z)) and its slope, the sigmoid."""
    e = math.exp(-abs(z))
    r = 1.0 / (1.0 + e)
    return (z if z > 0.0 else 0.0) + math.log1p(e), (r if z >= 0.0 else e * r)


@kernel
def softplus_change(z, a, slope, t, growth):
    """Return softplus(z + t) - softplus(z); growth is expm1(t)."""
    if abs(t) <= LARGE:
        return math.log1p(slope * growth)
    return softplus(z + t)[0] - a


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
    largest = z[0]
    for k in range(z.size):
        largest = max(largest, z[k])
    total = 0.0
    for k in range(z.size):
        total += math.exp(z[k] - largest)
    for k in range(z.size):
        a[k] = math.exp(z[k] - largest) / total


@kernel
def activate(code, z, a, slope):
    """Write one sample's activations and slopes, each (n_units,); softmax has no slope of its own."""
    if code == Activation.SOFTMAX:
        softmax(z, a)
    else:
        for k in range(z.size):
            a[k], slope[k] = value_and_slope(code, z[k])


@kernel
def change(code, z, a, slope, t, growth):
    """Return f(z + t) - f(z) of one unit with activation a and slope; growth is expm1(t)."""
    if code == Activation.SIGMOID:
        return sigmoid_change(z, a, slope, t, growth)
    if code == Activation.TANH:
        return tanh_change(z, a, slope, t, growth)
    if code == Activation.RELU:
        return rectify_change(z, a, t, 0.0)
    if code == Activation.LEAKY_RELU:
        return rectify_change(z, a, t, LEAKY_SLOPE)
    if code == Activation.SOFTPLUS:
        return softplus_change(z, a, slope, t, growth)
    return t
