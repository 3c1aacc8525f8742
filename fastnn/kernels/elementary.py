"""Elementary functions whose loops vectorise, and that keep their digits."""

import math

import numpy as np

from fastnn._compiler.jit import ROUNDER, add_exponent, kernel

# Beyond this |t| two values are subtracted: little cancels there, and the closed
# forms would overflow.
LARGE = 0.5


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
def logistic(z):
    """Return 1 / (1 + exp(-z)) and its slope, neither of which can overflow or cancel."""
    e, _ = decay(-abs(z))
    r = 1.0 / (1.0 + e)
    return (r if z >= 0.0 else e * r), e * r * r


@kernel
def complement(a, slope):
    """Return 1 - a of a logistic function's value to full relative precision; slope is a (1 - a)."""
    return np.float64(slope) / a if a > 0.5 else np.float64(1.0) - a


@kernel
def logistic_residual(a, slope, y):
    """Return a - y of a logistic function's value; slope is a (1 - a)."""
    return (np.float64(1.0) - y) - complement(a, slope) if a > 0.5 else np.float64(a) - y


@kernel
def plain_residual(a, slope, y):
    """Return a - y of a value that has no limit; its slope is of no use."""
    return np.float64(a) - y


@kernel
def rectify(z, below):
    """Return z where it is positive, below * z elsewhere, and the slope; nan stays nan."""
    return (below * z if z < 0.0 else z), (1.0 if z > 0.0 else below)


@kernel
def rectify_change(z, a, t, below):
    """Return the exact change of `rectify`; t itself on either side of the kink."""
    if z > 0.0 and z + t > 0.0:
        return t
    if z <= 0.0 and z + t <= 0.0:
        return below * t
    return rectify(z + t, below)[0] - a


def make_large_change(value_and_slope):
    """Return the change by a large t of a function that is z + f(-z) above 0, and falls and rises below."""

    @kernel
    def large_change(z, a, slope, t):
        """Return f(z + t) - f(z) for a large t; above 0, t and the change of what is bounded.

        z + t is rounded, by what may be hundreds of roundings of f far below 0: it is made good by the slope.
        """
        moved = z + t
        part = moved - z
        lost = (z - (moved - part)) + (t - part)
        if z > 0.0 and moved > 0.0:
            value, rate = value_and_slope(-moved)
            return t + ((value - rate * lost) - value_and_slope(-z)[0])
        value, rate = value_and_slope(moved)
        return (value + rate * lost) - value_and_slope(z)[0]

    return large_change


@kernel
def compose(g1, g2, g3, g4, u1, u2, u3, u4):
    """Return the first four coefficients of g(u(t))."""
    return (
        g1 * u1,
        g1 * u2 + g2 * u1 * u1,
        g1 * u3 + 2.0 * g2 * u1 * u2 + g3 * u1 * u1 * u1,
        g1 * u4 + g2 * (2.0 * u1 * u3 + u2 * u2) + 3.0 * g3 * u1 * u1 * u2 + g4 * u1 * u1 * u1 * u1,
    )
