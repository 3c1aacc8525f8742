"""f(z) = log(1 + exp(z)); its slope is the sigmoid."""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import decay, growth, plain_residual

DERIVATIVE_BOUNDS = (1.0, 0.125, 0.0160376, 0.00520834)
KINKS = ()
SLOPE_BELOW = 0.0
HAS_LOOPS = False

residual = plain_residual


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    z = np.float64(z)
    e, _ = decay(-abs(z))
    r = 1.0 / (1.0 + e)
    return (z if z > 0.0 else 0.0) + math.log1p(e), (r if z >= 0.0 else e * r)


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for a small t: with E = exp(t) - 1, log(1 + f' E)."""
    return math.log1p(slope * growth(t))


@kernel
def large_change(z, a, slope, t):
    """Return f(z + t) - f(z) for a large t."""
    return value_and_slope(z + t)[0] - a


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    return 0.5 * slope * (1.0 - slope), slope * (1.0 - slope) * (1.0 / 6.0 - slope * (1.0 / 3.0))
