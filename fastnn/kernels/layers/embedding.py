"""A row of W for each token: the inputs are whole numbers, which say which.

A perturbation of one weight moves its unit where the token stands, and nothing in a sample without it. No layer is
below: there is nothing to go back to, and no change to carry.
"""

import numpy as np

from fastnn._compiler.jit import kernel, line, unit, unpack_stem, view
from fastnn.kernels.layers.maps import (
    CHANNELS,
    FIRST,
    GRADIENT,
    LIST,
    N_INPUTS,
    N_MET,
    WEIGHTS,
    WIDTH,
    Geometry,
    add_noise,
    map_rows,
    moved_units,
    sample_values,
)
from fastnn.kernels.vectors import copy
from fastnn.kernels.work import A


def shape(below: Geometry, n_tokens: int, n_units: int) -> Geometry:
    """Return (to Python) what it makes of a level, a sequence of single numbers."""
    return Geometry(
        *(1, below.width, n_units),
        n_inputs=n_tokens,
        n_filters=n_units,
        shapes=((n_tokens, n_units),),
        n_shares=1,
        looks_up=True,
    )


@kernel
def token_at(stem, layer, sample, t):
    """Return which token a sample has at a step."""
    return np.int64(sample_values(stem, A, sample)[stem.table[layer, FIRST] + t])


@unit
def forward(packed, part):
    """Write a of a sample."""
    (_, theta, _, _, _), stem = unpack_stem(packed)
    here = stem.table[part.layer + 1]
    w = view(theta, here[WEIGHTS], here[N_INPUTS], here[CHANNELS])
    a = map_rows(stem, A, part.sample, here[FIRST], here[WIDTH], here[CHANNELS])
    for t in range(here[WIDTH]):
        copy(w[token_at(stem, part.layer, part.sample, t)], a[t])
    add_noise(stem, A, part.sample, here[FIRST], here[WIDTH] * here[CHANNELS])


@unit
def add(packed, part):
    """Add a sample's gradient with respect to the rows of W that it meets."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    here = stem.table[part.layer + 1]
    gradient = map_rows(stem, GRADIENT, part.sample, here[FIRST], here[WIDTH], here[CHANNELS])
    for t in range(here[WIDTH]):
        token = token_at(stem, part.layer, part.sample, t)
        out = line(work.gradient, here[WEIGHTS] + token * here[CHANNELS], here[CHANNELS])
        for c in range(out.size):
            out[c] += gradient[t, c]


@unit
def start(packed, part):
    """Write by how much perturbations of a unit's weights of the sample's tokens move each step, (n_listed, count)."""
    _, stem = unpack_stem(packed)
    layer, chunk = part.layer, part.chunk
    here = stem.table[layer + 1]
    moved = moved_units(stem, chunk, layer, stem.counts[chunk, layer + 1], part.size)
    for i in range(moved.shape[0]):
        token = token_at(stem, layer, part.sample, stem.listed[chunk, here[LIST] + i, 1])
        for b in range(part.size):
            k = part.first + b
            is_met = k < here[N_MET] and token_at(stem, layer, part.sample, k) == token
            moved[i, b] = part.eps if is_met else 0.0
