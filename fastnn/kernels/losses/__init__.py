"""Losses, a file each, summed over outputs, one sample at a time: values, slopes, exact changes, and their bounds.

A new one is a file with the same names as the others, and here its import, its member of
`Loss` and its entry in `MODULES`. The mean over samples is taken by the callers. A file
has, in this order (``code`` is the output layer's activation; arrays are (n_outputs,) but
where another shape is said),

- ``OUTPUTS``: the activations of the output layer that it goes with, None for all;
- ``TARGETS``: "numbers"; "counts", not below 0; "probabilities", each from 0 to 1; or "distributions", rows of
  probabilities that sum to 1, or labels. A loss of the last two classifies;
- ``KINK``: the size of a residual a - y at which a derivative jumps, infinity for none: outputs that may be
  moved across it are measured directly;
- ``sample_loss(code, z, a, slope, y)``: one sample's loss;
- ``count_correct(a, y)``: how many of its predictions are right;
- ``output_delta(code, a, slope, y, scale, delta)``: writes scale times the slope with z; and
  ``curve_outputs(code, z, a, slope, y, scale, second, third)``: scale times the second and third Taylor
  coefficients in z of each output alone. Arrays are (n,) for both: any outputs of any samples or,
  with softmax, those of one;
- ``residual_scale(code, a, slope, y)``: what the higher coefficients are proportional to, 1 where that is
  nothing smaller;
- ``add_change(code, z, a, slope, y, moved, factor, scratch, total)``: adds factor times the change of the loss to
  total (n_perturbations,). moved (n_outputs, n_perturbations), the change of the outputs' z, is
  overwritten; scratch (n_perturbations,);
- ``add_loss_curvature(code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3)``: adds to
  d2 and d3 (n_perturbations,) scale times the second and third coefficients of the loss along z of all outputs, whose
  own coefficients are u1 and u2 (n_outputs, n_perturbations). What u2 adds to the second coefficient and the
  third ones to the third are left out, since they are first order in them; u2 and d3 are of no use
  unless both are asked for. curvature2 and curvature3 are those of `curve_outputs`; w1 and w2
  (n_outputs, n_perturbations) and mean (n_perturbations,) are scratch;
- ``bound_loss(code, n_moved, n_terms, u1, u2, u3, u4)``: what bounds the next coefficient, z of n_moved outputs having
  up to u: four numbers (cap, fixed, rising, spread). It is at most fixed + rising * (scale + spread * move), scale
  being that before the perturbation, and at most cap. Next after three terms is the fourth, else
  the third: one term is kept of central differences only, whose second term is zero.
"""

from enum import IntEnum

import numpy as np

from fastnn._compiler.jit import by_code, kernel, shared
from fastnn.kernels.losses import (
    absolute_error,
    binary_cross_entropy,
    categorical_cross_entropy,
    huber,
    poisson,
    squared_error,
)


class Loss(IntEnum):
    """What is measured on the outputs."""

    SQUARED_ERROR = 0
    BINARY_CROSS_ENTROPY = 1
    CATEGORICAL_CROSS_ENTROPY = 2
    HUBER = 3
    ABSOLUTE_ERROR = 4
    POISSON = 5

    @property
    def classifies(self):
        """Whether predictions are right or wrong."""
        return MODULES[self].TARGETS in ("probabilities", "distributions")


MODULES = {
    Loss.SQUARED_ERROR: squared_error,
    Loss.BINARY_CROSS_ENTROPY: binary_cross_entropy,
    Loss.CATEGORICAL_CROSS_ENTROPY: categorical_cross_entropy,
    Loss.HUBER: huber,
    Loss.ABSOLUTE_ERROR: absolute_error,
    Loss.POISSON: poisson,
}
_KINKS = np.array([MODULES[code].KINK for code in Loss])


@kernel
def loss_kink(loss):
    """Return the size of a residual at which a loss has a kink, infinity for none."""
    return _KINKS[loss]


def _by_loss(name, arguments, inline=False):
    """Return the kernel that calls the losses' functions of that name."""
    return by_code(name, arguments, {code: getattr(module, name) for code, module in MODULES.items()}, inline=inline)


sample_loss = _by_loss("sample_loss", "code, z, a, slope, y", inline=True)
count_correct = _by_loss("count_correct", "a, y", inline=True)
output_delta = _by_loss("output_delta", "code, a, slope, y, scale, delta", inline=True)
_curve_outputs = _by_loss("curve_outputs", "code, z, a, slope, y, scale, second, third", inline=True)
_residual_scale = _by_loss("residual_scale", "code, a, slope, y", inline=True)
_add_change = _by_loss("add_change", "code, z, a, slope, y, moved, factor, scratch, total", inline=True)
_add_loss_curvature = _by_loss(
    "add_loss_curvature",
    "code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3",
    inline=True,
)
_bound_loss = _by_loss("bound_loss", "code, n_moved, n_terms, u1, u2, u3, u4", inline=True)


@shared
def curve_outputs(loss, code, z, a, slope, y, scale, second, third):
    """Do what the loss's function of that name does; as the others below."""
    _curve_outputs(loss, code, z, a, slope, y, scale, second, third)


@shared
def residual_scale(loss, code, a, slope, y):
    """Return what the higher coefficients are proportional to."""
    return _residual_scale(loss, code, a, slope, y)


@shared
def add_loss_change(loss, code, z, a, slope, y, moved, factor, scratch, total):
    """Add the change of the loss."""
    _add_change(loss, code, z, a, slope, y, moved, factor, scratch, total)


@shared
def add_loss_curvature(loss, code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3):
    """Add the loss's coefficients along z of all outputs."""
    _add_loss_curvature(loss, code, a, slope, y, scale, curvature2, curvature3, both, u1, u2, w1, w2, mean, d2, d3)


@shared
def bound_loss(loss, code, n_moved, n_terms, u1, u2, u3, u4):
    """Return what bounds the next coefficient."""
    return _bound_loss(loss, code, n_moved, n_terms, u1, u2, u3, u4)
