"""Activations, a file each: values, slopes, exact changes, Taylor coefficients, and what bounds these.

A new one is a file with the same names as the others, and here its import, its member of `Activation`
and its entry in `MODULES`. Numbers that a file's functions are handed may be float32; `change` and
`large_change` are handed float64, unless there are loops. A file has, in this order,

- ``DERIVATIVE_BOUNDS``: of |f'|, |f''| / 2, |f'''| / 6 and |f''''| / 24 over all z, rounded up; with a kink,
  on either side of it;
- ``KINKS``: where a derivative jumps, at two places at most: units that may be moved across one are measured
  directly;
- ``SLOPE_BELOW``: the slope far below 0, which initial weights go by; 1 where f saturates on both sides;
- ``HAS_LOOPS``: whether loops of its own are compiled, which vectorise: for what is used most
  and free of branches; the others share one;
- ``residual(a, slope, y)``: a - y to full relative precision where a is within rounding of a limit.
  Subtracted, the two leave no digit there, and a loss whose every sample is nearly decided is
  nothing but such residuals;
- ``value_and_slope(z)``;
- ``change(z, a, slope, t)`` and ``large_change``: f(z + t) - f(z) for |t| up to `LARGE` and beyond, to
  full relative precision; where f turns between the two, relative to what it falls and rises by. Changes are
  what perturbation lives on: where two values are subtracted, only the digits above rounding are left,
  eleven of sixteen at t = 1e-5, and none in float32;
- ``taylor(z, a, slope)``: half the second and a sixth of the third derivative.
"""

import math
from enum import IntEnum

import numpy as np

from fastnn._compiler.jit import by_code, kernel, shared
from fastnn.kernels.activations import (
    elu,
    gelu,
    hard_sigmoid,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from fastnn.kernels.elementary import LARGE
from fastnn.kernels.vectors import largest_size


class Activation(IntEnum):
    """What a layer does to its pre-activations."""

    IDENTITY = 0
    SIGMOID = 1
    TANH = 2
    RELU = 3
    LEAKY_RELU = 4
    SOFTPLUS = 5
    SOFTMAX = 6
    ELU = 7
    SILU = 8
    HARD_SIGMOID = 9
    GELU = 10


# Softmax is not among them: its units depend on one another.
MODULES = {
    Activation.IDENTITY: identity,
    Activation.SIGMOID: sigmoid,
    Activation.TANH: tanh,
    Activation.RELU: relu,
    Activation.LEAKY_RELU: leaky_relu,
    Activation.SOFTPLUS: softplus,
    Activation.ELU: elu,
    Activation.SILU: silu,
    Activation.HARD_SIGMOID: hard_sigmoid,
    Activation.GELU: gelu,
}
_BOUNDS = np.array([MODULES[code].DERIVATIVE_BOUNDS if code in MODULES else [math.nan] * 4 for code in Activation])
# Kinks that are not there are infinitely far.
_KINKS = np.array([[*getattr(MODULES.get(code), "KINKS", ()), math.inf, math.inf][:2] for code in Activation])


def _gather(name, make=lambda function: function, looped=False):
    """Return, by the activations' codes, what is made of their functions of that name: of all, or those with loops."""
    return {code: make(getattr(m, name)) for code, m in MODULES.items() if m.HAS_LOOPS or not looped}


value_and_slope = by_code("value_and_slope", "z", _gather("value_and_slope"))
taylor = by_code("taylor", "z, a, slope", _gather("taylor"))
residual = by_code("residual", "a, slope, y", _gather("residual") | {Activation.SOFTMAX: softmax.residual})
_small_change = by_code("_small_change", "z, a, slope, t", _gather("change"))
_large_change = by_code("_large_change", "z, a, slope, t", _gather("large_change"))


@kernel
def derivative_bounds(code):
    """Return bounds of |f'|, |f''| / 2, |f'''| / 6 and |f''''| / 24 over all z; with a kink, on either side of it."""
    return _BOUNDS[code, 0], _BOUNDS[code, 1], _BOUNDS[code, 2], _BOUNDS[code, 3]


@kernel
def has_kink(code):
    """Return if a derivative jumps anywhere."""
    return _KINKS[code, 0] < math.inf


@kernel
def kink_distance(code, z):
    """Return how far z is from the nearest kink; nan stays nan."""
    one, other = abs(z - _KINKS[code, 0]), abs(z - _KINKS[code, 1])
    return other if other < one else one


@kernel
def change(code, z, a, slope, t):
    """Return f(z + t) - f(z) of one unit for any t."""
    z, a, slope = np.float64(z), np.float64(a), np.float64(slope)
    return _small_change(code, z, a, slope, t) if abs(t) <= LARGE else _large_change(code, z, a, slope, t)


def _activate_all(value_and_slope):
    @kernel
    def loop(z, a, slope):
        for k in range(z.size):
            a[k], slope[k] = value_and_slope(z[k])

    return loop


@kernel
def _activate_any(code, z, a, slope):
    """Write activations and slopes of units that have no loop of their own, each (n,)."""
    for k in range(z.size):
        a[k], slope[k] = value_and_slope(code, z[k])


def _change_all(change):
    @kernel
    def loop(z, a, slope, t):
        for b in range(t.size):
            t[b] = change(z, a, slope, t[b])

    return loop


@kernel
def _change_any(code, z, a, slope, t):
    """Replace t (n,) by the change of one unit that has no loop of its own."""
    for b in range(t.size):
        t[b] = change(code, z, a, slope, t[b])


def _change_each(change):
    @kernel
    def loop(z, a, slope, t):
        for k in range(t.size):
            t[k] = change(np.float64(z[k]), np.float64(a[k]), np.float64(slope[k]), np.float64(t[k]))

    return loop


@kernel
def _change_each_any(code, z, a, slope, t):
    """Replace each of t (n,) by the change of a unit of its own."""
    for k in range(t.size):
        t[k] = change(code, z[k], a[k], slope[k], np.float64(t[k]))


def _expand_all(taylor):
    @kernel
    def loop(z, a, slope, second, third):
        for k in range(z.size):
            second[k], third[k] = taylor(z[k], a[k], slope[k])

    return loop


@kernel
def _expand_any(code, z, a, slope, second, third):
    """Write Taylor coefficients of units that have no loop of their own, each (n,)."""
    for k in range(z.size):
        second[k], third[k] = taylor(code, z[k], a[k], slope[k])


_activate = by_code(
    "_activate", "z, a, slope", _gather("value_and_slope", _activate_all, looped=True), default=_activate_any
)
_taylor_units = by_code(
    "_taylor_units", "z, a, slope, second, third", _gather("taylor", _expand_all, looped=True), default=_expand_any
)


@shared
def activate(code, z, a, slope):
    """Write activations and slopes of any units of one kind, each (n,)."""
    _activate(code, z, a, slope)


@shared
def taylor_units(code, z, a, slope, second, third):
    """Write `taylor` of any units of one kind, each (n,)."""
    _taylor_units(code, z, a, slope, second, third)


_change_small_block = by_code(
    "_change_small_block", "z, a, slope, t", _gather("change", _change_all, looped=True), default=_change_any
)


@shared
def change_block(code, z, a, slope, t):
    """Replace perturbations t (n,) of one unit by f(z + t) - f(z); the identity's are that already."""
    if code == Activation.IDENTITY:
        return
    if largest_size(t) <= LARGE:
        _change_small_block(code, z, a, slope, t)
    else:
        _change_any(code, z, a, slope, t)


_change_small_units = by_code(
    "_change_small_units", "z, a, slope, t", _gather("change", _change_each, looped=True), default=_change_each_any
)


@shared
def change_units(code, z, a, slope, t):
    """Replace perturbations t (n,), one of each unit, by f(z + t) - f(z); the identity's are that already."""
    if code == Activation.IDENTITY:
        return
    if largest_size(t) <= LARGE:
        _change_small_units(code, z, a, slope, t)
    else:
        _change_each_any(code, z, a, slope, t)
