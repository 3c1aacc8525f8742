"""A flat level at every step of a sequence."""

from fastnn._compiler.jit import kernel, line, unit, unpack_stem
from fastnn.kernels.layers import max_pool
from fastnn.kernels.layers.maps import CHANNELS, FIRST, GRADIENT, LIST, WIDTH, Geometry, moved_units, sample_values
from fastnn.kernels.vectors import copy
from fastnn.kernels.work import A


def shape(below: Geometry, n_steps: int) -> Geometry:
    """Return (to Python) what it makes of a level."""
    return Geometry(1, n_steps, below.channels)


@kernel(returns_view=True)
def step_of(stem, kind, layer, sample, t):
    """Return one kind of a sample's values at a step, (channels,)."""
    here = stem.table[layer + 1]
    return line(sample_values(stem, kind, sample), here[FIRST] + t * here[CHANNELS], here[CHANNELS])


@unit
def forward(packed, part):
    """Write a of a sample."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    source = line(sample_values(stem, A, part.sample), below[FIRST], here[CHANNELS])
    for t in range(here[WIDTH]):
        copy(source, step_of(stem, A, part.layer, part.sample, t))


@unit
def back(packed, part):
    """Hand on the sum of all steps' gradients."""
    _, stem = unpack_stem(packed)
    below, here = stem.table[part.layer], stem.table[part.layer + 1]
    out = line(sample_values(stem, GRADIENT, part.sample), below[FIRST], here[CHANNELS])
    for t in range(here[WIDTH]):
        gradient = step_of(stem, GRADIENT, part.layer, part.sample, t)
        for c in range(out.size):
            out[c] += gradient[c]


reach = max_pool.reach  # as far as what is below


@unit
def carry(packed, part):
    """Write by how much each unit that is listed moves, (n_listed, count)."""
    _, stem = unpack_stem(packed)
    layer, chunk = part.layer, part.chunk
    below, here = stem.table[layer], stem.table[layer + 1]
    source = moved_units(stem, chunk, layer - 1, below[CHANNELS] if part.channel < 0 else 1, part.size)
    moved = moved_units(stem, chunk, layer, stem.counts[chunk, layer + 1], part.size)
    for i in range(moved.shape[0]):
        copy(source[stem.listed[chunk, here[LIST] + i, 2] if part.channel < 0 else 0], moved[i])
