"""f(z) = 1 / (1 + exp(-z)); with s its value, f' = s (1 - s)."""

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import growth, logistic, logistic_residual

DERIVATIVE_BOUNDS = (0.25, 0.0481126, 0.0208334, 0.00532021)
KINKS = ()
SLOPE_BELOW = 1.0
HAS_LOOPS = True

residual = logistic_residual


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    return logistic(np.float64(z))


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for a small t: with E = exp(t) - 1, s (1 - s) E / (1 + s E)."""
    grown = growth(t)
    return slope * grown / (1.0 + a * grown)


@kernel
def large_change(z, a, slope, t):
    """Return f(z + t) - f(z) for a large t, on the side where both are small."""
    if z > 0.0:
        return logistic(-z)[0] - logistic(-z - t)[0]
    return logistic(z + t)[0] - logistic(z)[0]


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    return slope * (0.5 - a), slope * (1.0 / 6.0 - slope)
