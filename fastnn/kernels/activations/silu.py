"""f(z) = z s(z), s being the sigmoid, also called swish (Elfwing, Uchibe, Doya 2018).

It falls to a lowest value at z = `TURN` and rises from there, so that its slope has a zero to lose digits at: with
q = 1 + z (1 - s), f' = s q. Since exp(TURN) = -1 - TURN, q is also (w - (1 + TURN) (exp(w) - 1)) / (1 + exp(z)) with
w = z - TURN, a sum of two numbers of one sign.
"""

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.elementary import LARGE, decay, growth, logistic, make_large_change, plain_residual

DERIVATIVE_BOUNDS = (1.09984, 0.25, 0.0513636, 0.0208334)
KINKS = ()
SLOPE_BELOW = 0.0
HAS_LOOPS = False

# Where the slope is zero, and what that number lacks.
TURN = -1.2784645427610737
TURN_REST = -1.0946994183093437e-16
# Below, s is exp(z) to all digits, and is taken in two factors: times z it is a number where it is none itself.
FAR = -700.0

residual = plain_residual


@kernel
def times_sigmoid(factor, z):
    """Return factor * s(z), a number wherever that is one."""
    if z < FAR:
        half = decay(0.5 * z)[0]
        return factor * half * half
    return factor * logistic(z)[0]


@kernel
def value_and_slope(z):
    """Return f(z) and f'(z)."""
    z = np.float64(z)
    e, _ = decay(-abs(z))
    r = 1.0 / (1.0 + e)
    w = (z - TURN) - TURN_REST
    q = (w - (1.0 + TURN) * growth(w)) * r if abs(w) <= LARGE else 1.0 + z * (e * r if z >= 0.0 else r)
    return times_sigmoid(z, z), times_sigmoid(q, z)


@kernel
def surplus(t):
    """Return t exp(t) - exp(t) + 1 for |t| <= LARGE: the sum of t**n (n - 1) / n!, never negative.

    0.5**17 * 17 / 18! is 2e-19 of the first term.
    """
    tail = 1.0 / 22230464256000.0  # 16 / 17!
    tail = 1.0 / 1394852659200.0 + t * tail
    tail = 1.0 / 93405312000.0 + t * tail
    tail = 1.0 / 6706022400.0 + t * tail
    tail = 1.0 / 518918400.0 + t * tail
    tail = 1.0 / 43545600.0 + t * tail
    tail = 1.0 / 3991680.0 + t * tail
    tail = 1.0 / 403200.0 + t * tail
    tail = 1.0 / 45360.0 + t * tail
    tail = 1.0 / 5760.0 + t * tail
    tail = 1.0 / 840.0 + t * tail
    tail = 1.0 / 144.0 + t * tail
    tail = 1.0 / 30.0 + t * tail
    tail = 1.0 / 8.0 + t * tail
    tail = 1.0 / 3.0 + t * tail
    tail = 1.0 / 2.0 + t * tail
    return t * t * tail


@kernel
def change(z, a, slope, t):
    """Return f(z + t) - f(z) for a small t: with E = exp(t) - 1, (f' E + s (t exp(t) - E)) / (1 + s E)."""
    grown = growth(t)
    return (slope * grown + times_sigmoid(surplus(t), z)) / (1.0 + logistic(z)[0] * grown)


large_change = make_large_change(value_and_slope)


@kernel
def taylor(z, a, slope):
    """Return f''(z) / 2 and f'''(z) / 6."""
    z = np.float64(z)
    s, d = logistic(z)
    return d * (1.0 + z * (0.5 - s)), d * ((0.5 - s) + z * (1.0 / 6.0 - d))
