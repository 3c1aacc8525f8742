"""f(z) = z where it is positive, exp(z) - 1 elsewhere (Clevert, Unterthiner, Hochreiter 2016, section 3, alpha = 1).

Its slope is continuous; its second derivative jumps at 0, from 1 to 0.
"""

import numpy as np

from fastnn._jit import kernel
from fastnn.kernels.elementary import decay, expm1

DERIVATIVE_BOUNDS = (1.0, 0.5, 0.166667, 0.0416667)
HAS_KINK = True
SLOPE_BELOW = 0.0
HAS_LOOPS = False


@kernel
def residual(a, slope, y):
    """Return a - y: what a lacks of -1 is its slope."""
    return slope - (np.float64(1.0) + y) if a < -0.5 else np.float64(a) - y


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    z = np.float64(z)
    if z > 0.0:
        return z, 1.0
    e, fall = decay(z)
    return -fall, e


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for any t; across the kink, a difference of numbers of opposite signs."""
    if z > 0.0:
        return t if z + t > 0.0 else expm1(z + t) - z
    return z + t - a if z + t > 0.0 else slope * expm1(t)


large_change = change


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6, on either side of the kink."""
    return (0.0, 0.0) if z > 0.0 else (0.5 * slope, slope * (1.0 / 6.0))
