"""Perturbations that may take a unit across a kink: their weights are measured directly.

A rectifier's own, its unit's z moving by t; one in the next level, by the weight in
between; one further up, by the bound of |z'|. Between kinks a rectifier is linear and its
series exact. So it is with a loss that has a kink.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel
from fastnn.kernels.activations import derivative_bounds, has_kink, kink_distance, residual
from fastnn.kernels.dropout import level_bounds
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
def find_kinks(layout, loss, level):
    """Return if a level's activation has a kink, and, of outputs, the residual at which the loss has one, else inf."""
    is_top = level == layout.activations.size
    return has_kink(layout.activations[level - 1]), loss_kink(loss) if is_top else math.inf


@kernel
def has_kinks(layout, loss, level):
    """Return if units of a level, or the loss of those on top, have kinks."""
    own, edge = find_kinks(layout, loss, level)
    return own or edge < math.inf


@kernel
def distance(code, own, edge, k, z, a, slope, y):
    """Return how far at least z of unit k is from a kink, from what `find_kinks` returns; rows of one sample."""
    nearest = kink_distance(code, np.float64(z[k])) if own else math.inf
    if edge < math.inf:
        error = abs(residual(code, a[k], slope[k], y[k]))
        nearest = min(nearest, abs(error - edge) / derivative_bounds(code)[0])
    return nearest


@kernel
def mark_kinks(layout, loss, layer, n, n_samples, eps, move, work):
    """Mark what of sample n a move of z, up to the largest, takes to a kink of its own unit, or of the next level."""
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    top = layout.activations.size
    for level in range(layer + 1, min(layer + 2, top) + 1):
        own, edge = find_kinks(layout, loss, level)
        if not (own or edge < math.inf):
            continue
        code = layout.activations[level - 1]
        z = values(layout, work, Z, level, n_samples)[n]
        a = values(layout, work, A, level, n_samples)[n]
        slope = values(layout, work, SLOPE, level, n_samples)[n]
        moved = level_bounds(layout, layer + 1, work)[0] * move
        for k in range(z.size):
            away = distance(code, own, edge, k, z, a, slope, work.y[n])
            if level == layer + 1:
                if away <= move:
                    mark(direct, k, away, eps)
            elif away <= unit_norms(layout, work, LARGEST, level)[k] * moved:
                w = transposed_weights(layout, work, level - 1, 0)[k]
                for j in range(w.size):
                    if away <= abs(w[j]) * moved:
                        mark(direct, j, move * (away / (abs(w[j]) * moved)), eps)


@kernel
def mark_kinks_above(layout, loss, layer, level, n, start, n_samples, eps, move, m1, m2, u1, work):
    """Mark what moving units `start` and on of sample n takes to a kink further up; u1 (n_units, n_perturbations)."""
    own, edge = find_kinks(layout, loss, level)
    if not (own or edge < math.inf):
        return
    code = layout.activations[level - 1]
    z = values(layout, work, Z, level, n_samples)[n]
    a = values(layout, work, A, level, n_samples)[n]
    slope = values(layout, work, SLOPE, level, n_samples)[n]
    direct = values(layout, work, DIRECT, layer + 1, n_samples)[n]
    steepest = level_bounds(layout, layer + 1, work)[0]
    for k in range(u1.shape[0]):
        away = distance(code, own, edge, k, z, a, slope, work.y[n])
        # Not the other way round: majorants that overflow may be nan.
        if not away > move * m1:
            for b in range(u1.shape[1]):
                moved = move * (abs(u1[k, b]) * steepest + 2.0 * move * m2)
                if not away > moved:
                    mark(direct, start + b, move * (away / moved), eps)
