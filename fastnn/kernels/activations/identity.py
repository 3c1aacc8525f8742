"""f(z) = z."""

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import plain_residual

DERIVATIVE_BOUNDS = (1.0, 0.0, 0.0, 0.0)
KINKS = ()
SLOPE_BELOW = 1.0
HAS_LOOPS = True

residual = plain_residual


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    return z, 1.0


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for any t."""
    return t


large_change = change


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    return 0.0, 0.0
