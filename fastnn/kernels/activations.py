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

import numpy as np

from fastnn._jit import ROUNDER, add_exponent, kernel, order_by_size, size_in_order

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


@kernel(fastmath={"contract"})
def growth(t):
    """Return exp(t) - 1 for |t| <= LARGE, within 2 ulp.

    Taylor's series, since loops over it vectorise and libm's expm1 is a call a
    number: 0.5**15 / 16! is 1e-18 of the first term.
    """
    tail = 1.0 / 87178291200.0 + t * (1.0 / 1307674368000.0)
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
def expm1(t):
    """Return exp(t) - 1 for any t that does not overflow; `growth` where that is one."""
    return growth(t) if abs(t) <= LARGE else math.expm1(t)


@kernel(fastmath={"contract"})
def decay(x):
    """Return exp(x) for x <= 0, within 1 ulp, or 0 below -708, where it is under 4e-308; and 1 - exp(x).

    exp(x) = 2**k (1 + growth(r)), |r| <= log(2) / 2: loops over it vectorise, while
    libm's exp is a call of 8 ns a number.
    """
    none = x < -708.0
    x = -708.0 if none else x
    rounded = x * 1.4426950408889634 + ROUNDER
    k = rounded - ROUNDER
    # log(2) in two parts, the first with 21 trailing zeros so that its product with k is exact.
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    power, grown = add_exponent(1.0, rounded), growth(r)
    return (0.0 if none else power + power * grown), (1.0 - power) - power * grown


@kernel
def sigmoid(z):
    """Return 1 / (1 + exp(-z)) and its slope, neither of which can overflow or cancel."""
    e, _ = decay(-abs(z))
    r = 1.0 / (1.0 + e)
    return (r if z >= 0.0 else e * r), e * r * r


@kernel
def tanh(z):
    """Return tanh(z) and its slope 1 - tanh(z)**2, without the cancellation."""
    e, fall = decay(-2.0 * abs(z))
    r = 1.0 / (1.0 + e)
    return (fall * r if z >= 0.0 else -fall * r), 4.0 * e * r * r


@kernel
def softplus(z):
    """Return log(1 + exp(z)) and its slope, the sigmoid."""
    e, _ = decay(-abs(z))
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
def softmax(z, a, slope):
    """Write the softmax of one sample's z, (n_units,), and the slope a (1 - a) of each with its own z.

    One that is nearly 1 is found by what the others leave of it, so that its slope keeps its digits.
    """
    top = np.argmax(z)
    rest = 0.0
    for k in range(z.size):
        e = decay(np.float64(z[k] - z[top]))[0]
        a[k] = e
        rest += 0.0 if k == top else e
    r = 1.0 / (1.0 + rest)
    for k in range(z.size):
        a[k] *= r
        slope[k] = a[k] * (1.0 - a[k])
    slope[top] = rest * r * r


@kernel
def complement(a, slope):
    """Return 1 - a of a sigmoid's or softmax's value to full relative precision; slope is a (1 - a)."""
    return np.float64(slope) / a if a > 0.5 else 1.0 - a


@kernel
def residual(code, a, slope, y):
    """Return a - y to the precision of what a saturated unit still lacks, where a itself is rounded to its limit.

    With a within rounding of y = 1 the two subtracted leave no digit, and a loss whose
    every sample is nearly decided is nothing but such residuals.
    """
    if code == Activation.SIGMOID or code == Activation.SOFTMAX:
        return (1.0 - y) - complement(a, slope) if a > 0.5 else np.float64(a) - y
    if code == Activation.TANH:  # its slope is (1 - a) (1 + a)
        lack = np.float64(slope) / (1.0 + abs(a))
        if a > 0.5:
            return (1.0 - y) - lack
        if a < -0.5:
            return lack - (1.0 + y)
    return np.float64(a) - y


@kernel
def activate(code, z, a, slope):
    """Write activations and slopes of any units of one kind, each (n,), but for softmax.

    `value_and_slope`, with loops of their own for the commonest codes, which vectorise.
    """
    if code == Activation.SIGMOID:
        for k in range(z.size):
            a[k], slope[k] = sigmoid(np.float64(z[k]))
    elif code == Activation.TANH:
        for k in range(z.size):
            a[k], slope[k] = tanh(np.float64(z[k]))
    elif code == Activation.RELU:
        for k in range(z.size):
            a[k], slope[k] = rectify(z[k], 0.0)
    elif code == Activation.IDENTITY:
        for k in range(z.size):
            a[k], slope[k] = z[k], 1.0
    else:
        for k in range(z.size):
            a[k], slope[k] = value_and_slope(code, np.float64(z[k]))


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
    """Return f(z + t) - f(z) of one unit for any t; the identity's is t, and no call.

    A large one is a subtraction, for sigmoid and tanh on the side where they are small.
    """
    small = abs(t) <= LARGE
    z, a, slope = np.float64(z), np.float64(a), np.float64(slope)
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
    return softplus_change(slope, growth(t)) if small else softplus(z + t)[0] - a


@kernel
def largest_size(row):
    """Return the largest absolute value of a vector, 0 of an empty one; not finite where nan is among them."""
    largest = order_by_size(row.dtype.type(0.0))
    for k in range(row.size):
        order = order_by_size(row[k])
        largest = order if order > largest else largest
    return size_in_order(largest)


@kernel(fastmath={"reassoc"})
def sum_sizes(row):
    """Return the sum of a vector's absolute values, for bounds: in what order is the compiler's choice."""
    total = 0.0
    for k in range(row.size):
        total += abs(np.float64(row[k]))
    return total


@kernel
def change_nudges(code, z, a, slope, t):
    """Replace nudges t (n,) of one unit by f(z + t) - f(z).

    `change`, with loops of their own for the commonest codes, which vectorise.
    """
    if code == Activation.IDENTITY:
        return
    small = largest_size(t) <= LARGE
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
        return slope * (0.5 - a), slope * (1.0 / 6.0 - slope)
    if code == Activation.TANH:
        return -a * slope, slope * (2.0 / 3.0 - slope)
    if code == Activation.SOFTPLUS:  # its slope is the sigmoid
        return 0.5 * slope * (1.0 - slope), slope * (1.0 - slope) * (1.0 / 6.0 - slope * (1.0 / 3.0))
    return 0.0, 0.0


@kernel
def taylor_units(code, a, slope, second, third):
    """Write `taylor` of any units of one kind, each (n,), with loops of their own for the commonest codes."""
    if code == Activation.SIGMOID:
        for k in range(a.size):
            second[k], third[k] = taylor(Activation.SIGMOID, a[k], slope[k])
    elif code == Activation.TANH:
        for k in range(a.size):
            second[k], third[k] = taylor(Activation.TANH, a[k], slope[k])
    else:
        for k in range(a.size):
            second[k], third[k] = taylor(code, a[k], slope[k])


@kernel
def add_curvature(p2, p3, both, u1, u2, d2, d3):
    """Add p2 u1**2 to d2, and, if both, 2 p2 u1 u2 + p3 u1**3 to d3; all (n_nudges,)."""
    p2, p3 = d2.dtype.type(p2), d2.dtype.type(p3)
    if both:
        for b in range(d2.size):
            square = u1[b] * u1[b]
            d2[b] += p2 * square
            d3[b] += u1[b] * ((p2 + p2) * u2[b] + p3 * square)
    else:
        for b in range(d2.size):
            d2[b] += p2 * u1[b] * u1[b]
