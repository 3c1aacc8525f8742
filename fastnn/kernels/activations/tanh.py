"""f(z) = tanh(z) = 2 sigmoid(2 z) - 1; with a its value, f' = (1 - a) (1 + a)."""

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import decay, growth, logistic

DERIVATIVE_BOUNDS = (1.0, 0.384901, 0.333334, 0.170247)
KINKS = ()
SLOPE_BELOW = 1.0
HAS_LOOPS = True


@kernel
def residual(a, slope, y):
    """Return a - y: what a lacks of 1 or -1 is its slope over 1 + |a|."""
    lack = np.float64(slope) / (1.0 + abs(a))
    if a > 0.5:
        return (1.0 - y) - lack
    if a < -0.5:
        return lack - (1.0 + y)
    return np.float64(a) - y


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z), the latter without the cancellation of 1 - a**2."""
    e, fall = decay(-2.0 * abs(np.float64(z)))
    r = 1.0 / (1.0 + e)
    return (fall * r if z >= 0.0 else -fall * r), 4.0 * e * r * r


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for a small t, by the addition theorem."""
    grown = growth(t)
    twice = grown * (grown + 2.0)  # exp(2 t) - 1
    tanh_t = twice / (twice + 2.0)
    return slope * tanh_t / (1.0 + a * tanh_t)


@kernel
def large_change(z, a, slope, t):
    """Return f(z + t) - f(z) for a large t, on the side where 1 - |f| is small."""
    if z > 0.0:  # tanh(z) = 1 - 2 sigmoid(-2 z)
        return 2.0 * (logistic(-2.0 * z)[0] - logistic(-2.0 * (z + t))[0])
    return 2.0 * (logistic(2.0 * (z + t))[0] - logistic(2.0 * z)[0])


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    return -a * slope, slope * (2.0 / 3.0 - slope)
