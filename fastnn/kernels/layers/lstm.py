"""A layer of long short-term memory: i, f, o = sigmoid and g = tanh of x_t W + a_(t-1) U + b, in the order i, f, g, o.

Its cells are c_t = f c_(t-1) + i g, and a_t = o tanh(c_t).
"""

import numpy as np

from fastnn._compiler.jit import kernel, unit, unpack_stem
from fastnn.kernels.activations import Activation, change_block
from fastnn.kernels.layers import recurrent
from fastnn.kernels.layers.maps import CHANNELS, GRADIENT, Geometry, sample_values
from fastnn.kernels.layers.recurrent import (
    activate_units,
    add_below,
    add_biases,
    add_gradient,
    add_own,
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
    """Return (to Python) what it makes of a level: it keeps four gates a step, and cells, first those of zeros."""
    n_own, code = (5 * below.width + 1) * n_units, int(Activation.TANH)
    n_gates = 4 * below.width * n_units
    return recurrent.make_shape(below, n_units, 4, 1, code, return_sequences, n_own, 5 * n_units, n_gates)


@kernel
def gates_start(stem, layer):
    """Return where in a sample's values the gates begin, (n_steps, 4 n_units)."""
    return states_start(stem, layer) - 4 * count_steps(stem, layer) * stem.table[layer + 1, CHANNELS]


@kernel
def cells_start(stem, layer):
    """Return where the cells begin: c is their z, tanh(c) their a; zeros first, then a step's after another's."""
    return gates_start(stem, layer) - (count_steps(stem, layer) + 1) * stem.table[layer + 1, CHANNELS]


@unit
def forward(packed, part):
    """Write the gates, the cells and a of some samples at every step."""
    (_, theta, _, _, _), stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    u = filter_rows(stem, theta, layer, n_in, n_units)
    for n in range(first, first + size):
        take_below(stem, theta, layer, n, gates_start(stem, layer))
    for t in range(count_steps(stem, layer)):
        states = states_start(stem, layer) + t * n_units
        gates = gates_start(stem, layer) + 4 * t * n_units
        cells = cells_start(stem, layer) + t * n_units
        z = strip_rows(stem, Z, gates, first, size, 4 * n_units)
        add_product(strip_rows(stem, A, states, first, size, n_units), u, 0, size, z)
        for n in range(first, first + size):
            activate_units(Activation.SIGMOID, stem, n, gates, 2 * n_units)
            activate_units(Activation.TANH, stem, n, gates + 2 * n_units, n_units)
            activate_units(Activation.SIGMOID, stem, n, gates + 3 * n_units, n_units)
            c, a = sample_values(stem, Z, n), sample_values(stem, A, n)
            for k in range(n_units):
                kept = a[gates + n_units + k] * c[cells + k]
                c[cells + n_units + k] = kept + a[gates + k] * a[gates + 2 * n_units + k]
            activate_units(Activation.TANH, stem, n, cells + n_units, n_units)
            for k in range(n_units):
                a[states + n_units + k] = a[gates + 3 * n_units + k] * a[cells + n_units + k]


@unit
def back(packed, part):
    """Turn the gradient with respect to a into that with respect to z, the last step first, and hand it on."""
    _, stem = unpack_stem(packed)
    layer, first, size = part.layer, part.sample, part.size
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    u = transposed_filters(stem, layer)[:, n_in:]
    for t in range(count_steps(stem, layer) - 1, -1, -1):
        states = states_start(stem, layer) + t * n_units
        gates = gates_start(stem, layer) + 4 * t * n_units
        cells = cells_start(stem, layer) + t * n_units
        for n in range(first, first + size):
            c, a, slope = sample_values(stem, Z, n), sample_values(stem, A, n), sample_values(stem, SLOPE, n)
            gradient = sample_values(stem, GRADIENT, n)
            for k in range(n_units):
                i, f, g, o = gates + k, gates + n_units + k, gates + 2 * n_units + k, gates + 3 * n_units + k
                here, cell = gradient[states + n_units + k], cells + n_units + k
                of_cell = gradient[cell] + here * a[o] * slope[cell]
                gradient[i] = of_cell * a[g] * slope[i]
                gradient[f] = of_cell * c[cells + k] * slope[f]
                gradient[g] = of_cell * a[i] * slope[g]
                gradient[o] = here * a[cell] * slope[o]
                gradient[cells + k] = of_cell * a[f]
        if t > 0:
            gradient_z = strip_rows(stem, GRADIENT, gates, first, size, 4 * n_units)
            add_product(gradient_z, u, 0, size, strip_rows(stem, GRADIENT, states, first, size, n_units))
    for n in range(first, first + size):
        hand_below(stem, layer, n, gates_start(stem, layer))


@unit
def add(packed, part):
    """Add a sample's gradient with respect to a share of the rows of W and U; with the first, that of b."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    add_gradient(stem, part, gates_start(stem, part.layer), work.gradient)


reach = recurrent.reach


@kernel
def take_step(stem, part, t, z):
    """Take the changes of the gates' z at a step, to which the state before it adds, to those of cells and state."""
    layer, n, n_units = part.layer, part.sample, stem.table[part.layer + 1, CHANNELS]
    states, cells = moved_states(stem, part, t), moved_gates(stem, part, 4 * n_units, n_units)
    if t > 0:
        u = transposed_filters(stem, layer)[:, stem.table[layer, CHANNELS] :]
        add_product(u, moved_states(stem, part, t - 1), 0, 4 * n_units, z)
    else:
        clear_all(cells)
    gates = gates_start(stem, layer) + 4 * t * n_units
    first = cells_start(stem, layer) + t * n_units
    all_z, all_a, slope = sample_values(stem, Z, n), sample_values(stem, A, n), sample_values(stem, SLOPE, n)
    for k in range(4 * n_units):
        code = Activation.TANH.value if k // n_units == 2 else Activation.SIGMOID.value
        change_block(code, all_z[gates + k], all_a[gates + k], slope[gates + k], z[k])
    for k in range(n_units):
        i, f = np.float64(all_a[gates + k]), np.float64(all_a[gates + n_units + k])
        g, o = np.float64(all_a[gates + 2 * n_units + k]), np.float64(all_a[gates + 3 * n_units + k])
        before, now = np.float64(all_z[first + k]), first + n_units + k
        of_i, of_f, of_g, of_o = z[k], z[n_units + k], z[2 * n_units + k], z[3 * n_units + k]
        cell, state = cells[k], states[k]
        for b in range(part.size):
            kept = f * cell[b] + of_f[b] * (before + cell[b])
            cell[b] = kept + i * of_g[b] + of_i[b] * (g + of_g[b])
            state[b] = cell[b]
        change_block(Activation.TANH.value, all_z[now], all_a[now], slope[now], state)
        out = np.float64(all_a[now])
        for b in range(part.size):
            state[b] = o * state[b] + of_o[b] * (out + state[b])


@unit
def start(packed, part):
    """Write by how much perturbations of a filter's weights move all units, (n_units at every step, count)."""
    _, stem = unpack_stem(packed)
    z = moved_gates(stem, part, 0, 4 * stem.table[part.layer + 1, CHANNELS])
    for t in range(count_steps(stem, part.layer)):
        clear_all(z)
        add_own(stem, part, t, z[part.channel], z[part.channel])
        add_biases(stem, part, 0, z[part.channel])
        take_step(stem, part, t, z)


@unit
def carry(packed, part):
    """Write by how much all units move, (n_units at every step, count), when one or all channels below do."""
    _, stem = unpack_stem(packed)
    z = moved_gates(stem, part, 0, 4 * stem.table[part.layer + 1, CHANNELS])
    for t in range(count_steps(stem, part.layer)):
        clear_all(z)
        add_below(stem, part, t, z)
        take_step(stem, part, t, z)
