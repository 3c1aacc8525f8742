"""f(z) = z P(z), P being the Gaussian distribution function (Hendrycks, Gimpel 2016), exactly, by erfc.

It falls to a lowest value at z = `TURN` and rises from there, so that its slope P + z p, p being the density, has a
zero to lose digits at: near there it is the integral of f'' = p (2 - z**2) from TURN on.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import decay, make_large_change, plain_residual

DERIVATIVE_BOUNDS = (1.12891, 0.398943, 0.129795, 0.0664904)
KINKS = ()
SLOPE_BELOW = 0.0
HAS_LOOPS = False

# Where the slope is zero, and what that number lacks.
TURN = -0.7517915246935645
TURN_REST = 1.4956759177009883e-17
# The density at 0, and the square root of a half in two parts.
PEAK = 0.3989422804014327
HALF_ROOT, HALF_ROOT_REST = 0.7071067811865476, -4.833646656726457e-17
# Splits a number into two of 26 digits each, whose products are exact (Dekker 1971).
SPLITTER = 134217729.0
# Beyond, in the tail below, there is no P(z) any more; splitting larger numbers would overflow.
FAR = 39.0
# A series in t is taken where |t| (1 + |z|) is no more, so that its terms do not cancel much; 24 of them.
NEAR = 1.0
TERMS = 24

residual = plain_residual


@kernel
def density(z):
    """Return p(z) of |z| up to FAR, its exponent z**2 / 2 in two parts, the first exact."""
    scaled = SPLITTER * z
    high = scaled - (scaled - z)
    return PEAK * decay(-0.5 * high * high)[0] * math.exp(-0.5 * (z - high) * (z + high))


@kernel
def below(z):
    """Return P(z) of |z| up to FAR: what the argument of erfc is rounded by is made good by its slope."""
    scaled, scaled_root = SPLITTER * z, SPLITTER * HALF_ROOT
    high, root_high = scaled - (scaled - z), scaled_root - (scaled_root - HALF_ROOT)
    low, root_low = z - high, HALF_ROOT - root_high
    x = z * HALF_ROOT
    lost = ((high * root_high - x) + high * root_low + low * root_high) + low * root_low + z * HALF_ROOT_REST
    return 0.5 * math.erfc(-x) + lost * (density(z) / HALF_ROOT)


@kernel
def integrals(z, t):
    """Return the integral of f'' over v from z to z + t, and that of it, both over p(z), by their series in t.

    p(z + v) / p(z) = exp(-z v - v**2 / 2) has coefficients r with (n + 1) r_(n + 1) = -(z r_n + r_(n - 1)).
    """
    older, old, here, power = 0.0, 0.0, 1.0, t
    first, second = 0.0, 0.0
    for n in range(TERMS):
        term = ((2.0 - z * z) * here - 2.0 * z * old - older) * power / (n + 1)
        first += term
        second += term * t / (n + 2)
        older, old, here, power = old, here, -(z * here + old) / (n + 1), power * t
    return first, second


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    z = np.float64(z)
    if abs(z) > FAR:
        return (z, 1.0) if z > 0.0 else (0.0, 0.0)
    share = below(z)
    w = (z - TURN) - TURN_REST
    slope = density(TURN) * integrals(TURN, w)[0] if abs(w) <= 0.5 else share + z * density(z)
    return z * share, slope


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for a small t: f' t and the integral of the change of f', or as for a large one."""
    if abs(z) > FAR or abs(t) * (1.0 + abs(z)) > NEAR:
        return large_change(z, a, slope, t)
    return slope * t + density(z) * integrals(z, t)[1]


large_change = make_large_change(value_and_slope)


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    z = np.float64(z)
    if abs(z) > FAR:
        return 0.0, 0.0
    p = density(z)
    return p * (1.0 - 0.5 * z * z), p * z * (z * z - 4.0) * (1.0 / 6.0)
