"""The layers below the dense ones, in a step: what is run over them, sample by sample, is in the folder `layers`.

A perturbation of a shared weight moves many sums at once, but only one channel of its layer; of a recurrent layer, all
of them. It is carried up exactly, through all layers and the loss, for any activation and any eps; the dense layers
above keep their own way, and `stem_down` has one for what is straight between kinks. Where dense layers work on every
step of a sequence, each step is a sample of theirs: a *row*.
"""

import math

import numpy as np

from fastnn._compiler.jit import call_part, kernel, line, unit, unpack_stem
from fastnn.kernels.activations import derivative_bounds
from fastnn.kernels.direct import carry, per_change
from fastnn.kernels.dropout import is_dropped, mask_inputs, mask_rows, masks
from fastnn.kernels.forward import add_inputs, prepare
from fastnn.kernels.layers import ADD, BACK, CARRY, FORWARD, REACH, START, WANT
from fastnn.kernels.layers.maps import (
    ACTIVATION,
    BIASES,
    CHANNELS,
    FILTERS,
    FIRST,
    GRADIENT,
    LANES,
    LOOKS_UP,
    MAP,
    MAP_SIZE,
    MEASURED,
    MIXES,
    N_INPUTS,
    N_MET,
    NORMS,
    REACH_A,
    REACH_Z,
    RECURRENT,
    SELECTS,
    SHARES,
    WEIGHTS,
    Part,
    copy_image,
    list_all,
    met_row,
    moved_units,
    reach_of,
    sample_values,
)
from fastnn.kernels.optimizers import update
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear, clear_all, copy, largest_size, multiply
from fastnn.kernels.work import (
    DELTA,
    STRIP,
    WEIGHT,
    A,
    Method,
    change_scratch,
    count_parts,
    span,
    stretch,
    total_scratch,
    transposed_weights,
    values,
)

# What a bound of moves is multiplied by: far more than its own rounding.
SLACK = 1.0 + 1e-6


@kernel
def make_part(layer, sample, channel, first, count, eps, chunk):
    """Return a Part of whole numbers and a float."""
    which = np.int64(layer), np.int64(sample), np.int64(channel), np.int64(first), np.int64(count)
    return Part(which[0], which[1], which[2], which[3], which[4], float(eps), np.int64(chunk))


@kernel
def copy_weights(stem, theta, layer, c):
    """Write filter c of a layer as (height, width, channels), and the sum of its absolute weights for each channel."""
    here, n_channels = stem.table[layer + 1], stem.table[layer, CHANNELS]
    n_inputs, n_filters = here[N_INPUTS], here[FILTERS]
    start = here[WEIGHTS]
    for i in range(n_channels):
        stem.norms[here[NORMS] + i * n_filters + c] = 0.0
    for k in range(n_inputs):
        w = theta[start + k * n_filters + c]
        stem.transposed[start + c * n_inputs + k] = w
        stem.norms[here[NORMS] + (k % n_channels) * n_filters + c] += abs(np.float64(w))


@kernel
def span_samples(stem, block, chunk, n_chunks):
    """Return the first and last of this chunk's samples, each of them some rows."""
    return span(block.n_samples // stem.n_steps, chunk, n_chunks)


@kernel
def count_together(stem):
    """Return how many samples are taken at once: a strip where a layer is recurrent, else one, while it is in cache."""
    together = 1
    for layer in range(stem.units.shape[0]):
        if stem.table[layer + 1, RECURRENT] != 0:
            together = STRIP
    return together


@kernel
def call_samples(packed, stem, layer, function, first, last, chunk):
    """Have a layer do something with samples first to last: a recurrent one with all at once."""
    each = last - first if stem.table[layer + 1, RECURRENT] != 0 else 1
    for n in range(first, last, each):
        call_part(stem.units[layer, function], packed, make_part(layer, n, -1, 0, each, 0.0, chunk))


@unit
def run_stem_inputs(packed, block, task, step, chunk):
    """Prepare this chunk's share of what the ways up and back need."""
    (layout, theta, _, optimizer, work), stem = unpack_stem(packed)
    prepare(layout, theta, 0, optimizer, block, task, chunk, work)
    if task.method != Method.NONE and block.opens:
        n_layers = stem.units.shape[0]
        for layer in range(n_layers):
            if stem.table[layer + 1, N_INPUTS] > 0 and stem.table[layer + 1, LOOKS_UP] == 0:
                for c in range(chunk, stem.table[layer + 1, FILTERS], task.n_chunks):
                    copy_weights(stem, theta, layer, c)
        # The shared weights' gradient is never added straight to them: others read them.
        first, last = span(layout.starts[1, 0], chunk, task.n_chunks)
        clear(work.gradient[first:last])


@unit
def run_stem_forward(packed, block, task, step, chunk):
    """Take this chunk's samples from the inputs to the first dense layer's z."""
    (layout, theta, data, _, work), stem = unpack_stem(packed)
    first, last = span_samples(stem, block, chunk, task.n_chunks)
    n_layers, n_steps, together = stem.units.shape[0], stem.n_steps, count_together(stem)
    outputs = values(layout, work, A, 0, block.n_samples)
    n_units = outputs.shape[1]
    for start in range(first, last, together):
        stop = min(start + together, last)
        for n in range(start, stop):
            copy_image(stem, data.x[data.order[block.row, block.start + n * n_steps] // n_steps], n)
        for layer in range(n_layers):
            call_samples(packed, stem, layer, FORWARD, start, stop, chunk)
        for n in range(start, stop):
            for t in range(n_steps):
                place = stem.table[n_layers, FIRST] + t * n_units
                copy(line(sample_values(stem, A, n), place, n_units), outputs[n * n_steps + t])
                mask_inputs(layout, n * n_steps + t, 0, n_units, block.n_samples, work)
    for part in range(count_parts(layout)):
        add_inputs(layout, theta, block.n_samples, part, first * n_steps, last * n_steps, work)


@unit
def run_stem_back(packed, block, task, step, chunk):
    """Take this chunk's samples from the first dense layer's delta down to the lowest layer that has weights."""
    (layout, _, _, _, work), stem = unpack_stem(packed)
    first, last = span_samples(stem, block, chunk, task.n_chunks)
    n_layers, n_steps, together = stem.units.shape[0], stem.n_steps, count_together(stem)
    begin, end = first * n_steps, last * n_steps
    clear(stretch(layout, work, DELTA, 0, block.n_samples, begin, end))
    outputs = values(layout, work, DELTA, 0, block.n_samples)
    n_units = outputs.shape[1]
    above = values(layout, work, DELTA, 1, block.n_samples)
    add_product(above, transposed_weights(layout, work, 0, 0), begin, end, outputs)
    if is_dropped(layout, 0):
        for row in range(begin, end):
            multiply(masks(layout, work, 0, block.n_samples)[row], outputs[row])
    for start in range(first, last, together):
        stop = min(start + together, last)
        for n in range(start, stop):
            gradient = sample_values(stem, GRADIENT, n)
            clear(gradient)
            for t in range(n_steps):
                place = stem.table[n_layers, FIRST] + t * n_units
                copy(outputs[n * n_steps + t], line(gradient, place, n_units))
        for layer in range(n_layers - 1, -1, -1):
            here = stem.table[layer + 1]
            if here[WEIGHTS] + here[N_INPUTS] > 0 and here[LOOKS_UP] == 0:
                call_samples(packed, stem, layer, BACK, start, stop, chunk)


@unit
def run_stem_add(packed, block, task, step, chunk):
    """Add the block's gradient with respect to this chunk's shares of every layer's weights."""
    _, stem = unpack_stem(packed)
    turn = 0
    for layer in range(stem.units.shape[0]):
        for part in range(stem.table[layer + 1, SHARES]):
            if turn % task.n_chunks == chunk:
                for n in range(block.n_samples // stem.n_steps):
                    call_part(stem.units[layer, ADD], packed, make_part(layer, n, -1, part, 0, 0.0, chunk))
            turn += 1


@kernel
def next_mixing(stem, layer):
    """Return the first layer above one that has all its channels moved by any, or how many layers there are.

    A recurrent layer does that itself.
    """
    if stem.table[layer + 1, RECURRENT] != 0:
        return layer
    above = layer + 1
    while above < stem.units.shape[0] and stem.table[above + 1, MIXES] == 0:
        above += 1
    return above


@kernel
def set_reach(packed, stem, layer, n, eps, chunk):
    """Write how far perturbations of a layer's weights move the units of each level above, in sample n."""
    below = stem.table[layer]
    largest = largest_size(line(sample_values(stem, A, n), below[MAP], below[MAP_SIZE]))
    size = SLACK * abs(eps) * max(np.float64(largest), 1.0)
    if stem.table[layer + 1, RECURRENT] != 0:
        size = math.inf
    elif stem.table[layer + 1, LOOKS_UP] != 0:
        size = SLACK * abs(eps)
    z, a = reach_of(stem, chunk, REACH_Z, layer + 1), reach_of(stem, chunk, REACH_A, layer + 1)
    steepest = derivative_bounds(stem.table[layer + 1, ACTIVATION])[0]
    for c in range(z.size):
        z[c] = size
        a[c] = steepest * size
    alone = next_mixing(stem, layer)
    for above in range(layer + 1, stem.units.shape[0]):
        part = make_part(above, n, 0 if above <= alone else -1, 0, 0, 0.0, chunk)
        call_part(stem.units[above, REACH], packed, part)


@kernel
def list_wanted(packed, stem, n, channel, lowest, end, chunk):
    """List what is to be computed of the layers from `lowest` up to, but not, `end`; of `channel` alone, or of all.

    Where it is of one channel, the lowest's own weights are what moves it.
    """
    list_all(stem, end, channel, chunk)
    for layer in range(end - 1, lowest, -1):
        if stem.table[layer + 1, SELECTS] != 0:
            own = 1 if channel >= 0 and layer == lowest + 1 else 0
            call_part(stem.units[layer, WANT], packed, make_part(layer, n, channel, own, 0, 0.0, chunk))
        else:
            list_all(stem, layer, channel, chunk)


@kernel
def list_channel(packed, stem, n, channel, layer, chunk):
    """List what is to be computed above a layer that is recurrent, or one channel of which moves below one that is."""
    above = next_mixing(stem, layer)
    list_wanted(packed, stem, n, -1, above, stem.units.shape[0], chunk)
    if above > layer:
        list_wanted(packed, stem, n, channel, layer, above, chunk)


@kernel
def rise(packed, stem, first, last, n, moving, count, chunk):
    """Carry changes of sample n, of one channel or all, through layers first to last; return which channel has moved.

    -1 for all, as `moving` is.
    """
    for layer in range(first, last):
        call_part(stem.units[layer, CARRY], packed, make_part(layer, n, moving, 0, count, 0.0, chunk))
        if stem.table[layer + 1, MIXES] != 0:
            moving = -1
    return moving


@kernel
def arrive(packed, layout, stem, n, moving, sign, block, task, chunk, work, count):
    """Add sign times the changes of sample n's loss by those of one or all channels of the topmost level."""
    n_layers = stem.units.shape[0]
    n_channels, n_steps = stem.table[n_layers, CHANNELS], stem.n_steps
    moved = moved_units(stem, chunk, n_layers - 1, stem.counts[chunk, n_layers], count)
    n_units = moved.shape[0] // n_steps
    through = transposed_weights(layout, work, 0, 0)
    for row in range(n * n_steps, (n + 1) * n_steps):
        weight = np.float64(work.measured[WEIGHT, row])
        if weight == 0.0:
            continue
        here = moved[(row - n * n_steps) * n_units : (row - n * n_steps + 1) * n_units]
        first, step = (0, 1) if moving < 0 else (moving, n_channels)
        mask_rows(layout, row, first, step, block.n_samples, work, here)
        z = change_scratch(work, chunk, 0, layout.sizes[1], count)
        clear_all(z)
        if moving < 0:
            add_product(through, here, 0, z.shape[0], z)
        else:
            add_product(through[:, moving::n_channels], here, 0, z.shape[0], z)
        carry(packed, work, 1, row, block.n_samples, sign * weight, task.loss, count, chunk)


@kernel
def add_changes(packed, layout, stem, layer, n, channel, first, sign, block, task, chunk, work, count):
    """Add sign times the changes of sample n's loss by perturbations of a channel's weights, `first` and on."""
    part = make_part(layer, n, channel, first, count, sign * task.eps, chunk)
    call_part(stem.units[layer, START], packed, part)
    moving = np.int64(channel if stem.table[layer + 1, RECURRENT] == 0 else -1)
    moving = rise(packed, stem, layer + 1, stem.units.shape[0], n, moving, count, chunk)
    arrive(packed, layout, stem, n, moving, sign, block, task, chunk, work, count)


@kernel
def add_part(packed, layout, stem, layer, n, channel, first, size, block, task, chunk, work):
    """Add sample n's differences of a filter's weights, `first` and on of those that it meets, the biases last."""
    here = stem.table[layer + 1]
    total = total_scratch(work, chunk, size)
    clear(total)
    for sign in range(1, -2 if task.central else 0, -2):
        add_changes(packed, layout, stem, layer, n, channel, first, 1.0 * sign, block, task, chunk, work, size)
    factor = 1.0 / block.batch_size * per_change(task)
    for b in range(min(size, here[N_MET] - first)):
        row = met_row(stem, layer, n, first + b)
        if row >= 0:
            work.gradient[here[WEIGHTS] + row * here[FILTERS] + channel] += factor * total[b]


@kernel
def cut_weights(stem, n_weights):
    """Return in how many parts a filter's weights are carried, and how many each has, whole LANES."""
    n_parts = (n_weights + stem.n_together - 1) // stem.n_together
    return n_parts, ((n_weights + n_parts - 1) // n_parts + LANES - 1) // LANES * LANES


@unit
def run_stem_direct(packed, block, task, step, chunk):
    """Add the differences of this chunk's share of the shared weights: of a filter, some that are carried together."""
    (layout, _, _, _, work), stem = unpack_stem(packed)
    n_layers = stem.units.shape[0]
    turn = 0
    for layer in range(n_layers):
        here = stem.table[layer + 1]
        n_weights = here[N_MET]
        if n_weights == 0 or stem.verdicts[chunk, layer] != MEASURED:
            continue
        n_parts, size = cut_weights(stem, n_weights)
        above = next_mixing(stem, layer)
        for n in range(block.n_samples // stem.n_steps):
            set_reach(packed, stem, layer, n, task.eps, chunk)
            if above < n_layers:
                list_wanted(packed, stem, n, -1, above, n_layers, chunk)
            for channel in range(here[FILTERS]):
                listed = above == layer
                for part in range(n_parts):
                    if (turn + channel * n_parts + part) % task.n_chunks != chunk:
                        continue
                    if work.stop[0] != 0:
                        return
                    if not listed:
                        list_wanted(packed, stem, n, channel, layer, above, chunk)
                        listed = True
                    add_part(packed, layout, stem, layer, n, channel, part * size, size, block, task, chunk, work)
        turn += here[FILTERS] * n_parts


@unit
def run_stem_descent(packed, block, task, step, chunk):
    """Move this chunk's share of the shared weights and biases along their gradient."""
    (_, theta, _, optimizer, work), stem = unpack_stem(packed)
    if not block.closes:
        return
    for layer in range(stem.units.shape[0]):
        here = stem.table[layer + 1]
        start, middle = here[WEIGHTS], here[WEIGHTS] + here[N_INPUTS] * here[FILTERS]
        first, last = span(middle - start, chunk, task.n_chunks)
        update(optimizer, step, optimizer.weight_decay, start + first, start + last, work.gradient, theta)
        if here[BIASES] > 0 and layer % task.n_chunks == chunk:
            update(optimizer, step, 0.0, middle, middle + here[BIASES] * here[FILTERS], work.gradient, theta)
