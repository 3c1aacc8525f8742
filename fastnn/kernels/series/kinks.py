"""Perturbations that may take a unit across a kink: their weights are measured directly.

A rectifier's own, its unit's z moving by t; one in the next level, by the weight in
between; one further up, by the bound of |z'|. Between kinks a rectifier is linear and its
series exact. So it is with a loss that has a kink.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import derivative_bounds, has_kink, residual
from fastnn.kernels.losses import loss_kink
from fastnn.kernels.work import (
    DIRECT,
    LARGEST,
    SLOPE,
    A,
    Z,
    transposed_weights,
    unit_norms,
    values,
)

# By how much what is compared with a kink, or with the bound's root, may be rounded.
ROUNDED = 2.0**-20


@kernel
def mark(direct, j, distance, eps):
    """Have inputs measured directly in unit j whose perturbation moves z at least so far: sizes, direct (n_units,)."""
    size = distance * (1.0 - ROUNDED) / eps
    direct[j] = min(direct[j], size if size > 0.0 else 0.0)  # all, should the distance not be a number


@kernel
def has_kinks(layout, loss, level):
    """Return if units of a level, or the loss of those on top, have kinks."""
    is_top = level == layout.activations.size
    return has_kink(layout.activations[level - 1]) or (is_top and loss_kink(loss) < math.inf)


@kernel
def distance(layout, loss, level, n, k, n_samples, work):
    """Return how far at least z of unit k of a level is from a kink, its own or, on top, one of the loss."""
    code = layout.activations[level - 1]
    nearest = np.float64(abs(values(layout, work, Z, level, n_samples)[n, k])) if has_kink(code) else math.inf
    if level == layout.activations.size and loss_kink(loss) < math.inf:
        a = values(layout, work, A, level, n_samples)[n, k]
        slope = values(layout, work, SLOPE, level, n_samples)[n, k]
        error = abs(residual(code, a, slope, work.y[n, k]))
        nearest = min(nearest, abs(error - loss_kink(loss)) / derivative_bounds(code)[0])
    return nearest


@kernel
def mark_kinks(layout, loss, layer, n, n_samples, eps, move, work):
    """Mark what of sample n a move of z, up to the largest, takes to a kink of its own unit, or of the next level."""
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    if has_kinks(layout, loss, layer + 1):
        for j in range(direct.size):
            away = distance(layout, loss, layer + 1, n, j, n_samples, work)
            if away <= move:
                mark(direct, j, away, eps)
    level = layer + 2
    if level <= layout.activations.size and has_kinks(layout, loss, level):
        moved = derivative_bounds(layout.activations[layer])[0] * move
        norms = unit_norms(layout, work, LARGEST, level)
        for k in range(norms.size):
            away = distance(layout, loss, level, n, k, n_samples, work)
            if away <= norms[k] * moved:
                w = transposed_weights(layout, work, level - 1, 0)[k]
                for j in range(w.size):
                    if away <= abs(w[j]) * moved:
                        mark(direct, j, move * (away / (abs(w[j]) * moved)), eps)


@kernel
def mark_kinks_above(layout, loss, layer, level, n, start, n_samples, eps, move, m1, m2, u1, work):
    """Mark what moving units `start` and on of sample n takes to a kink further up; u1 (n_units, n_perturbations)."""
    if not has_kinks(layout, loss, level):
        return
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    slope = derivative_bounds(layout.activations[layer])[0]
    for k in range(u1.shape[0]):
        away = distance(layout, loss, level, n, k, n_samples, work)
        # Not the other way round: majorants that overflow may be nan.
        if not away > move * m1:
            for b in range(u1.shape[1]):
                moved = move * (abs(u1[k, b]) * slope + 2.0 * move * m2)
                if not away > moved:
                    mark(direct, start + b, move * (away / moved), eps)
