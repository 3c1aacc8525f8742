"""f(z) = (z + 3) / 6 between -3 and 3, 0 below and 1 above, as PyTorch and Keras have it."""

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import plain_residual

DERIVATIVE_BOUNDS = (0.166667, 0.0, 0.0, 0.0)
KINKS = (-3.0, 3.0)
SLOPE_BELOW = 1.0
HAS_LOOPS = False

residual = plain_residual


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z); at a kink, the slope of its left side, and nan stays nan."""
    if z <= KINKS[0]:
        return 0.0, 0.0
    if z > KINKS[1]:
        return 1.0, 0.0
    return (z + 3.0) / 6.0, 1.0 / 6.0


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for any t: what of the way lies between the kinks."""
    low, high = KINKS[0] - z, KINKS[1] - z
    start = low if low > 0.0 else min(high, 0.0)
    end = low if t < low else high if t > high else t
    return (end - start) * (1.0 / 6.0)


large_change = change


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6, on either side of the kinks."""
    return 0.0, 0.0
