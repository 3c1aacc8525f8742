"""f(z) = max(z, 0)."""

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import plain_residual, rectify, rectify_change

DERIVATIVE_BOUNDS = (1.0, 0.0, 0.0, 0.0)
KINKS = (0.0,)
SLOPE_BELOW = 0.0
HAS_LOOPS = True

residual = plain_residual


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z); at the kink, the slope of its left side."""
    return rectify(z, SLOPE_BELOW)


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for any t."""
    return rectify_change(z, a, t, SLOPE_BELOW)


large_change = change


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6, on either side of the kink."""
    return 0.0, 0.0
