"""f(z) = z where it is positive, exp(z) - 1 elsewhere (Clevert, Unterthiner, Hochreiter 2016, section 3, alpha = 1).

Its slope is continuous; its second derivative jumps at 0, from 1 to 0.
"""

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import decay, growth

DERIVATIVE_BOUNDS = (1.0, 0.5, 0.166667, 0.0416667)
KINKS = (0.0,)
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
    """Return f(z + t) - f(z) for a small t; across the kink, a difference of numbers of opposite signs."""
    if z > 0.0:
        return t if z + t > 0.0 else growth(z + t) - z
    return z + t - a if z + t > 0.0 else slope * growth(t)


@kernel
def large_change(z, a, slope, t):
    """Return f(z + t) - f(z) for a large t; below the kink, exp of the larger of the two as a factor."""
    if z > 0.0:
        return t if z + t > 0.0 else -decay(z + t)[1] - z
    if z + t > 0.0:
        return z + t - a
    return decay(z + t)[0] * decay(-t)[1] if t > 0.0 else -slope * decay(t)[1]


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6, on either side of the kink."""
    return (0.0, 0.0) if z > 0.0 else (0.5 * slope, slope * (1.0 / 6.0))
