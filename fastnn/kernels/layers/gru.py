"""A layer of gated recurrent units: r, z = sigmoid of x_t W + b_0 + a_(t-1) U + b_1, a third of their columns each.

The last third makes n = tanh(x_t W + b_0 + r (a_(t-1) U + b_1)); then a_t = (1 - z) n + z a_(t-1).
"""

import numpy as np

from fastnn._compiler.jit import kernel, unit, unpack_stem
from fastnn.kernels.activations import Activation, change_block
from fastnn.kernels.layers import recurrent
from fastnn.kernels.layers.maps import CHANNELS, GRADIENT, Geometry, add_noise, map_rows, sample_values
from fastnn.kernels.layers.recurrent import (
    activate_units,
    add_below,
    add_bias,
    add_biases,
    add_own,
    add_rows,
    below_rows,
    count_steps,
    filter_rows,
    hand_below,
    moved_gates,
    moved_states,
    states_start,
    strip_rows,
    take_below,
    transposed_filters,
)
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear_all
from fastnn.kernels.work import SLOPE, A, Z


def shape(below: Geometry, n_units: int, return_sequences: bool) -> Geometry:
    """Return (to Python) what it makes of a level: it keeps three gates a step, and what n's takes of the state."""
    n_own, code = 4 * below.width * n_units, int(Activation.TANH)
    return recurrent.make_shape(below, n_units, 3, 2, code, return_sequences, n_own, 4 * n_units, n_own)


@kernel
def gates_start(stem, layer):
    """Return where in a sample's values the gates begin, (n_steps, 3 n_units)."""
    return states_start(stem, layer) - 4 * count_steps(stem, layer) * stem.table[layer + 1, CHANNELS]


@kernel
def parts_start(stem, layer):
    """Return where a_(t-1) U + b_1 begins, of n's columns, (n_steps, n_units)."""
    return states_start(stem, layer) - count_steps(stem, layer) * stem.table[layer + 1, CHANNELS]


@unit
def forward(packed, part):
    """Write the gates and a of some samples at every step."""
    (_, theta, _, _, _), stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    u, bias = filter_rows(stem, theta, layer, n_in, n_units), filter_rows(stem, theta, layer, n_in + n_units + 1, 1)[0]
    for n in range(first, first + size):
        take_below(stem, theta, layer, n, gates_start(stem, layer))
    for t in range(count_steps(stem, layer)):
        states = states_start(stem, layer) + t * n_units
        gates, parts = gates_start(stem, layer) + 3 * t * n_units, parts_start(stem, layer) + t * n_units
        for n in range(first, first + size):
            z = sample_values(stem, Z, n)
            for k in range(2 * n_units):
                z[gates + k] += bias[k]
            for k in range(n_units):
                z[parts + k] = bias[2 * n_units + k]
        before = strip_rows(stem, A, states, first, size, n_units)
        add_product(before, u[:, : 2 * n_units], 0, size, strip_rows(stem, Z, gates, first, size, 2 * n_units))
        add_product(before, u[:, 2 * n_units :], 0, size, strip_rows(stem, Z, parts, first, size, n_units))
        for n in range(first, first + size):
            z, a = sample_values(stem, Z, n), sample_values(stem, A, n)
            add_noise(stem, Z, n, parts, n_units)
            activate_units(Activation.SIGMOID, stem, n, gates, 2 * n_units)
            for k in range(n_units):
                z[gates + 2 * n_units + k] += a[gates + k] * z[parts + k]
            activate_units(Activation.TANH, stem, n, gates + 2 * n_units, n_units)
            for k in range(n_units):
                new = a[gates + 2 * n_units + k]
                a[states + n_units + k] = new + a[gates + n_units + k] * (a[states + k] - new)


@unit
def back(packed, part):
    """Turn the gradient with respect to a into that with respect to the gates' z, the last step first; hand it on."""
    _, stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    through = transposed_filters(stem, layer)
    for t in range(count_steps(stem, layer) - 1, -1, -1):
        states = states_start(stem, layer) + t * n_units
        gates, parts = gates_start(stem, layer) + 3 * t * n_units, parts_start(stem, layer) + t * n_units
        for n in range(first, first + size):
            z, a, slope = sample_values(stem, Z, n), sample_values(stem, A, n), sample_values(stem, SLOPE, n)
            gradient = sample_values(stem, GRADIENT, n)
            for k in range(n_units):
                r, kept, new = gates + k, gates + n_units + k, gates + 2 * n_units + k
                here = gradient[states + n_units + k]
                gradient[new] = here * (1 - a[kept]) * slope[new]
                gradient[kept] = here * (a[states + k] - a[new]) * slope[kept]
                gradient[r] = gradient[new] * z[parts + k] * slope[r]
                gradient[parts + k] = gradient[new] * a[r]
                gradient[states + k] += here * a[kept]
        out = strip_rows(stem, GRADIENT, states, first, size, n_units)
        of_gates = strip_rows(stem, GRADIENT, gates, first, size, 2 * n_units)
        of_parts = strip_rows(stem, GRADIENT, parts, first, size, n_units)
        add_product(of_gates, through[: 2 * n_units, n_in:], 0, size, out)
        add_product(of_parts, through[2 * n_units :, n_in:], 0, size, out)
    for n in range(first, first + size):
        hand_below(stem, layer, n, gates_start(stem, layer))


@unit
def add(packed, part):
    """Add a sample's gradient with respect to a share of the rows of W and U; with the first, those of b."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    layer, n, n_steps = part.layer, part.sample, count_steps(stem, part.layer)
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    gradient = map_rows(stem, GRADIENT, n, gates_start(stem, layer), n_steps, 3 * n_units)
    of_gates = gradient[:, : 2 * n_units]
    of_parts = map_rows(stem, GRADIENT, n, parts_start(stem, layer), n_steps, n_units)
    states = map_rows(stem, A, n, states_start(stem, layer), n_steps, n_units)
    u = filter_rows(stem, work.gradient, layer, n_in, n_units)
    w = filter_rows(stem, work.gradient, layer, 0, n_in)
    add_rows(below_rows(stem, A, layer, n).T, gradient, part, np.int64(0), w)
    add_rows(states.T, of_gates, part, n_in, u[:, : 2 * n_units])
    add_rows(states.T, of_parts, part, n_in, u[:, 2 * n_units :])
    if part.first == 0:
        biases = filter_rows(stem, work.gradient, layer, n_in + n_units, 2)
        add_bias(gradient, biases[0])
        add_bias(of_gates, biases[1, : 2 * n_units])
        add_bias(of_parts, biases[1, 2 * n_units :])


reach = recurrent.reach


@kernel
def take_step(stem, part, t, z):
    """Take the changes of z at a step, of r, z and n's two parts, to which the state before it adds, to its own."""
    layer, n, n_units = part.layer, part.sample, stem.table[part.layer + 1, CHANNELS]
    states = moved_states(stem, part, t)
    if t > 0:
        before = moved_states(stem, part, t - 1)
        u = transposed_filters(stem, layer)[:, stem.table[layer, CHANNELS] :]
        add_product(u[: 2 * n_units], before, 0, 2 * n_units, z[: 2 * n_units])
        add_product(u[2 * n_units :], before, 0, n_units, z[3 * n_units :])
    else:
        before = states
        clear_all(before)
    gates, parts = gates_start(stem, layer) + 3 * t * n_units, parts_start(stem, layer) + t * n_units
    first = states_start(stem, layer) + t * n_units
    all_z, all_a, slope = sample_values(stem, Z, n), sample_values(stem, A, n), sample_values(stem, SLOPE, n)
    for k in range(2 * n_units):
        change_block(Activation.SIGMOID.value, all_z[gates + k], all_a[gates + k], slope[gates + k], z[k])
    for k in range(n_units):
        r, kept = np.float64(all_a[gates + k]), np.float64(all_a[gates + n_units + k])
        new = gates + 2 * n_units + k
        part_of_state, lag = np.float64(all_z[parts + k]), np.float64(all_a[first + k]) - np.float64(all_a[new])
        of_r, of_kept, of_new, of_part = z[k], z[n_units + k], z[2 * n_units + k], z[3 * n_units + k]
        old, state = before[k], states[k]
        for b in range(part.size):
            of_new[b] += r * of_part[b] + of_r[b] * (part_of_state + of_part[b])
        change_block(Activation.TANH.value, all_z[new], all_a[new], slope[new], of_new)
        for b in range(part.size):
            behind = old[b] - of_new[b]
            state[b] = of_new[b] + kept * behind + of_kept[b] * (lag + behind)


@unit
def start(packed, part):
    """Write by how much perturbations of a filter's weights move all units, (n_units at every step, count)."""
    _, stem = unpack_stem(packed)
    n_units = stem.table[part.layer + 1, CHANNELS]
    z = moved_gates(stem, part, 0, 4 * n_units)
    row, state_row = z[part.channel], z[part.channel + (n_units if part.channel >= 2 * n_units else 0)]
    for t in range(count_steps(stem, part.layer)):
        clear_all(z)
        add_own(stem, part, t, row, state_row)
        add_biases(stem, part, 0, row)
        add_biases(stem, part, 1, state_row)
        take_step(stem, part, t, z)


@unit
def carry(packed, part):
    """Write by how much all units move, (n_units at every step, count), when one or all channels below do."""
    _, stem = unpack_stem(packed)
    n_units = stem.table[part.layer + 1, CHANNELS]
    z = moved_gates(stem, part, 0, 4 * n_units)
    for t in range(count_steps(stem, part.layer)):
        clear_all(z)
        add_below(stem, part, t, z[: 3 * n_units])
        take_step(stem, part, t, z)
