"""How initial weights are drawn."""

import math
from collections.abc import Callable

import numpy as np

from fastnn._support.choices import InitName
from fastnn._support.validate import Array
from fastnn.kernels.activations import MODULES, Activation

# Called with a random generator and the shape of an array of weights; returns the array.
Initializer = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _draw_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return Gaussian numbers of standard deviation 1."""
    return rng.standard_normal(shape)


def _draw_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers of an interval around 0, of standard deviation 1."""
    return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape)


def _draw_orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return an array whose rows, as (n_in, n_out), or columns, whichever are fewer, are orthonormal."""
    n_out = shape[-1]
    drawn = rng.standard_normal((math.prod(shape) // n_out, n_out))
    is_wide = drawn.shape[0] < n_out
    q, r = np.linalg.qr(drawn.T if is_wide else drawn)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # else not all such arrays are drawn alike
    return np.ascontiguousarray(q.T if is_wide else q).reshape(shape)


# What is drawn, and what that is multiplied by, from the numbers of inputs and outputs of a unit and the activation's
# slope far below 0.
INITIALIZERS: dict[str, tuple[Initializer, Callable[[int, int, float], float]]] = {
    "fan_in": (_draw_normal, lambda n_in, n_out, slope: float(np.sqrt(2.0 / ((1.0 + slope**2) * n_in)))),
    "standard_normal": (_draw_normal, lambda n_in, n_out, slope: 1.0),
    "glorot_normal": (_draw_normal, lambda n_in, n_out, slope: math.sqrt(2.0 / (n_in + n_out))),
    "glorot_uniform": (_draw_uniform, lambda n_in, n_out, slope: math.sqrt(2.0 / (n_in + n_out))),
    "he_normal": (_draw_normal, lambda n_in, n_out, slope: math.sqrt(2.0 / n_in)),
    "he_uniform": (_draw_uniform, lambda n_in, n_out, slope: math.sqrt(2.0 / n_in)),
    "uniform": (_draw_uniform, lambda n_in, n_out, slope: math.sqrt(1.0 / (3.0 * n_in))),
    "orthogonal": (_draw_orthogonal, lambda n_in, n_out, slope: 1.0),
}


def find_initializer(
    init: InitName | Initializer, n_in: int, shape: tuple[int, ...], code: Activation
) -> tuple[Initializer, float]:
    """Return what draws an array of weights, and what it is to be multiplied by in the network's dtype."""
    if callable(init):
        return init, 1.0
    draw, scale = INITIALIZERS[init]
    slope = MODULES[code].SLOPE_BELOW if code in MODULES else 1.0
    return draw, scale(n_in, math.prod(shape[:-2]) * shape[-1], slope)
