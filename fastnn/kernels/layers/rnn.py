"""A recurrent layer: z_t = x_t W + a_(t-1) U + b, a_t = its activation of that.

A perturbation of one weight moves z at every step, at those of U also by the state that it has moved itself.
"""

from fastnn._compiler.jit import kernel, line, unit, unpack_stem
from fastnn.kernels.activations import change_block
from fastnn.kernels.layers import recurrent
from fastnn.kernels.layers.maps import (
    ACTIVATION,
    CHANNELS,
    GRADIENT,
    Geometry,
    sample_values,
)
from fastnn.kernels.layers.recurrent import (
    activate_units,
    add_below,
    add_biases,
    add_gradient,
    add_own,
    count_steps,
    filter_rows,
    hand_below,
    moved_states,
    states_start,
    strip_rows,
    take_below,
    transposed_filters,
)
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear_all
from fastnn.kernels.work import SLOPE, A, Z


def shape(below: Geometry, n_units: int, activation: int, return_sequences: bool) -> Geometry:
    """Return (to Python) what it makes of a level."""
    return recurrent.make_shape(below, n_units, 1, 1, activation, return_sequences)


@unit
def forward(packed, part):
    """Write z, a and slope of some samples at every step."""
    (_, theta, _, _, _), stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    states, code = states_start(stem, layer), stem.table[layer + 1, ACTIVATION]
    u = filter_rows(stem, theta, layer, n_in, n_units)
    for n in range(first, first + size):
        take_below(stem, theta, layer, n, states + n_units)
    for t in range(count_steps(stem, layer)):
        here = states + (t + 1) * n_units
        z = strip_rows(stem, Z, here, first, size, n_units)
        add_product(strip_rows(stem, A, here - n_units, first, size, n_units), u, 0, size, z)
        for n in range(first, first + size):
            activate_units(code, stem, n, here, n_units)


@unit
def back(packed, part):
    """Turn the gradient with respect to a into that with respect to z, the last step first, and hand it on."""
    _, stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    states = states_start(stem, layer)
    u = transposed_filters(stem, layer)[:, n_in:]
    for t in range(count_steps(stem, layer) - 1, -1, -1):
        here = states + (t + 1) * n_units
        for n in range(first, first + size):
            gradient = line(sample_values(stem, GRADIENT, n), here, n_units)
            slope = line(sample_values(stem, SLOPE, n), here, n_units)
            for c in range(n_units):
                gradient[c] *= slope[c]
        if t > 0:
            gradient = strip_rows(stem, GRADIENT, here, first, size, n_units)
            add_product(gradient, u, 0, size, strip_rows(stem, GRADIENT, here - n_units, first, size, n_units))
    for n in range(first, first + size):
        hand_below(stem, layer, n, states + n_units)


@unit
def add(packed, part):
    """Add a sample's gradient with respect to a share of the rows of W and U; with the first, that of b."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    add_gradient(stem, part, states_start(stem, part.layer) + stem.table[part.layer + 1, CHANNELS], work.gradient)


reach = recurrent.reach


@kernel
def take_step(stem, part, t, z):
    """Take the changes of z at a step, to which the state before it adds, to those of the state."""
    layer, n, n_units = part.layer, part.sample, z.shape[0]
    if t > 0:
        u = transposed_filters(stem, layer)[:, stem.table[layer, CHANNELS] :]
        add_product(u, moved_states(stem, part, t - 1), 0, n_units, z)
    first, code = states_start(stem, layer) + (t + 1) * n_units, stem.table[layer + 1, ACTIVATION]
    for c in range(n_units):
        k = first + c
        slope = sample_values(stem, SLOPE, n)[k]
        change_block(code, sample_values(stem, Z, n)[k], sample_values(stem, A, n)[k], slope, z[c])


@unit
def start(packed, part):
    """Write by how much perturbations of a filter's weights move all units, (n_units at every step, count)."""
    _, stem = unpack_stem(packed)
    for t in range(count_steps(stem, part.layer)):
        z = moved_states(stem, part, t)
        clear_all(z)
        add_own(stem, part, t, z[part.channel], z[part.channel])
        add_biases(stem, part, 0, z[part.channel])
        take_step(stem, part, t, z)


@unit
def carry(packed, part):
    """Write by how much all units move, (n_units at every step, count), when one or all channels below do."""
    _, stem = unpack_stem(packed)
    for t in range(count_steps(stem, part.layer)):
        z = moved_states(stem, part, t)
        clear_all(z)
        add_below(stem, part, t, z)
        take_step(stem, part, t, z)
