"""What recurrent layers have in common: a state that goes from step to step, and gates that are made of it.

W (n_in, n_filters) is met by a step's inputs, U (n_units, n_filters) by the state before it; behind them stand the
biases. A layer keeps, behind one another, numbers of its own, a state of zeros, and the states of all steps: its
level's units are these, or the last.
"""

import math

import numpy as np

from fastnn._compiler.jit import kernel, line, rows, unit, unpack_stem, view
from fastnn.kernels.activations import activate
from fastnn.kernels.layers.maps import (
    CHANNELS,
    FILTERS,
    FIRST,
    GRADIENT,
    N_INPUTS,
    REACH_A,
    REACH_Z,
    WEIGHTS,
    WIDTH,
    Geometry,
    add_noise,
    map_rows,
    moved_channels,
    moved_units,
    reach_of,
    sample_values,
)
from fastnn.kernels.products import add_product
from fastnn.kernels.work import SLOPE, A, Z

SHARE = 32  # rows of weights whose gradient is added in one go


def make_shape(
    below: Geometry,
    n_units: int,
    n_gates: int,
    n_biases: int,
    activation: int,
    return_sequences: bool,
    n_own: int = 0,
    n_moved: int = 0,
    n_sums: int = 0,
) -> Geometry:
    """Return (to Python) what a recurrent layer makes of a level.

    It keeps `n_own` numbers of its own, the last `n_sums` of them its sums z, which otherwise stand with its states;
    and it carries up changes of `n_moved` units besides those of its states.
    """
    n_steps, n_inputs = below.width, below.channels + n_units
    width, n_filters = n_steps if return_sequences else 1, n_gates * n_units
    states = (width - n_steps) * n_units
    bias = (n_filters,) if n_biases == 1 else (n_biases, n_filters)
    return Geometry(
        *(1, width, n_units, activation),
        n_inputs=n_inputs,
        n_filters=n_filters,
        n_biases=n_biases,
        shapes=((below.channels, n_filters), (n_units, n_filters), bias),
        n_shares=-(-n_inputs // SHARE),
        has_z=n_gates == 1,
        mixes=True,
        is_recurrent=True,
        n_before=n_own + (1 + n_steps - width) * n_units,
        n_moved=max(width, 2) * n_units + n_moved,
        sums=(states - n_units - n_sums, n_sums) if n_sums else (states, n_steps * n_units),
    )


@kernel
def count_steps(stem, layer):
    """Return how many steps a recurrent layer takes."""
    return stem.table[layer, WIDTH]


@kernel
def states_start(stem, layer):
    """Return where in a sample's values a layer's states begin: zeros first, then a step's after another's."""
    here = stem.table[layer + 1]
    return here[FIRST] + (here[WIDTH] - 1 - count_steps(stem, layer)) * here[CHANNELS]


@kernel(returns_view=True)
def below_rows(stem, kind, layer, sample):
    """Return one kind of the values of what is below, (n_steps, n_in)."""
    below = stem.table[layer]
    return map_rows(stem, kind, sample, below[FIRST], below[WIDTH], below[CHANNELS])


@kernel(returns_view=True)
def strip_rows(stem, kind, start, first, n_samples, n_columns):
    """Return a part of one kind of the values of some samples, (n_samples, n_columns)."""
    _, n_all, n_units = stem.values.shape
    return rows(stem.values, (kind * n_all + first) * n_units + start, n_samples, n_columns, n_units)


@kernel(returns_view=True)
def transposed_filters(stem, layer):
    """Return W and U transposed, (n_filters, n_in + n_units)."""
    here = stem.table[layer + 1]
    return view(stem.transposed, here[WEIGHTS], here[FILTERS], here[N_INPUTS])


@kernel(returns_view=True)
def filter_rows(stem, flat, layer, first, n_rows):
    """Return rows of a layer's W, U and biases in a flat vector, (n_rows, n_filters)."""
    here = stem.table[layer + 1]
    return view(flat, here[WEIGHTS] + first * here[FILTERS], n_rows, here[FILTERS])


@kernel
def take_below(stem, theta, layer, sample, gates):
    """Write what a sample's inputs and the first biases make of z, (n_steps, n_filters), which begins at `gates`."""
    n_steps, n_in, n_filters = count_steps(stem, layer), stem.table[layer, CHANNELS], stem.table[layer + 1, FILTERS]
    z = map_rows(stem, Z, sample, gates, n_steps, n_filters)
    bias = filter_rows(stem, theta, layer, stem.table[layer + 1, N_INPUTS], 1)
    for t in range(n_steps):
        for c in range(n_filters):
            z[t, c] = bias[0, c]
    add_product(below_rows(stem, A, layer, sample), filter_rows(stem, theta, layer, 0, n_in), 0, n_steps, z)


@kernel
def activate_units(code, stem, sample, start, size):
    """Write a and slope of some of a sample's units."""
    add_noise(stem, Z, sample, start, size)
    activate(
        code,
        line(sample_values(stem, Z, sample), start, size),
        line(sample_values(stem, A, sample), start, size),
        line(sample_values(stem, SLOPE, sample), start, size),
    )


@kernel
def hand_below(stem, layer, sample, gates):
    """Hand on what the gradient with respect to z, (n_steps, n_filters) from `gates` on, is with respect to inputs."""
    if stem.table[layer + 1, WEIGHTS] > 0:  # else there are no weights below
        n_steps, n_in = count_steps(stem, layer), stem.table[layer, CHANNELS]
        gradient = map_rows(stem, GRADIENT, sample, gates, n_steps, stem.table[layer + 1, FILTERS])
        through = transposed_filters(stem, layer)[:, :n_in]
        add_product(gradient, through, 0, n_steps, below_rows(stem, GRADIENT, layer, sample))


@kernel
def add_rows(inputs, gradient, part, before, out):
    """Add inputs' (n, n_steps) times a gradient (n_steps, p) to a share's rows of out (n, p), which is so far down."""
    first = max(part.first * SHARE - before, np.int64(0))
    last = min((part.first + 1) * SHARE - before, out.shape[0])
    if first < last:
        add_product(inputs, gradient, first, last, out)


@kernel
def add_bias(gradient, out):
    """Add a gradient (n_steps, p), summed over steps, to out (p,)."""
    for t in range(gradient.shape[0]):
        for c in range(out.size):
            out[c] += gradient[t, c]


@kernel
def add_gradient(stem, part, gates, out):
    """Add a sample's gradient with respect to a share of the rows of W and U, and to the first biases with the first.

    That with respect to z, (n_steps, n_filters), begins at `gates`.
    """
    layer, n, n_steps = part.layer, part.sample, count_steps(stem, part.layer)
    n_in, n_units = stem.table[layer, CHANNELS], stem.table[layer + 1, CHANNELS]
    gradient = map_rows(stem, GRADIENT, n, gates, n_steps, stem.table[layer + 1, FILTERS])
    states = map_rows(stem, A, n, states_start(stem, layer), n_steps, n_units)
    add_rows(below_rows(stem, A, layer, n).T, gradient, part, np.int64(0), filter_rows(stem, out, layer, 0, n_in))
    add_rows(states.T, gradient, part, n_in, filter_rows(stem, out, layer, n_in, n_units))
    if part.first == 0:
        add_bias(gradient, filter_rows(stem, out, layer, n_in + n_units, 1)[0])


@kernel(returns_view=True)
def moved_states(stem, part, t):
    """Return the changes of the states at a step, (n_units, count).

    All steps' stand in order; where only the last one is wanted, two by turns, the last first.
    """
    here, n_steps = stem.table[part.layer + 1], count_steps(stem, part.layer)
    n_units, count = here[CHANNELS], part.size
    place = t if here[WIDTH] == n_steps else (n_steps - 1 - t) % 2
    moved = moved_units(stem, part.chunk, part.layer, max(here[WIDTH], 2) * n_units, count)
    return view(moved, place * n_units * count, n_units, count)


@kernel(returns_view=True)
def moved_gates(stem, part, first, n_rows):
    """Return changes of a step's gates and what else a layer carries, (n_rows, count); they stand behind the states."""
    here = stem.table[part.layer + 1]
    start = max(here[WIDTH], 2) * here[CHANNELS]
    moved = moved_units(stem, part.chunk, part.layer, start + first + n_rows, part.size)
    return view(moved, (start + first) * part.size, n_rows, part.size)


@kernel
def add_below(stem, part, t, out):
    """Add what the changes of a step's inputs make of z, (n_filters, count), when one or all of them move."""
    below, layer = stem.table[part.layer], part.layer
    n_moved = moved_channels(below, part.channel)
    source = moved_units(stem, part.chunk, layer - 1, below[WIDTH] * n_moved, part.size)
    first = max(part.channel, 0)
    through = transposed_filters(stem, layer)[:, first : first + n_moved]
    add_product(through, view(source, t * n_moved * part.size, n_moved, part.size), 0, out.shape[0], out)


@kernel
def add_own(stem, part, t, row, state_row):
    """Add what perturbations of W and of U make of a filter's z at a step, (count,) each: of a moved input as well."""
    layer = part.layer
    here, n_in = stem.table[layer + 1], stem.table[layer, CHANNELS]
    n_units = here[CHANNELS]
    a = sample_values(stem, A, part.sample)
    inputs = line(a, stem.table[layer, FIRST] + t * n_in, n_in)
    states = line(a, states_start(stem, layer) + t * n_units, n_units)
    for b in range(row.size):
        k = part.first + b
        if k < n_in:
            row[b] += part.eps * inputs[k]
        elif k < here[N_INPUTS]:
            moved = moved_states(stem, part, t - 1)[k - n_in, b] if t > 0 else 0.0
            state_row[b] += part.eps * (states[k - n_in] + moved)


@kernel
def add_biases(stem, part, which, row):
    """Add what a perturbation of one of a filter's biases makes of its z, (count,)."""
    b = stem.table[part.layer + 1, N_INPUTS] + which - part.first
    if 0 <= b < row.size:
        row[b] += part.eps


@unit
def reach(packed, part):
    """Write that perturbations may move z and a however far: of many steps, no bound would be of use."""
    _, stem = unpack_stem(packed)
    for which in (REACH_Z, REACH_A):
        out = reach_of(stem, part.chunk, which, part.layer + 1)
        for c in range(out.size):
            out[c] = math.inf
