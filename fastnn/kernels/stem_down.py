"""Differences of convolutions below straight ones: what is above is pulled down, once for all that is perturbed.

Between kinks, convolutions with rectifiers and pools make z of the first dense layer a linear function of any level
below them. Its slopes, a column for each of these z, are pulled down from layer to layer as back-propagation's one is.
A perturbation is carried up, exactly, to where the next convolution takes its inputs; there, one product with these
columns is what z moves by, and the dense layers keep their own way.

What perturbations may take across a kink has a column of its own, pulled down from where it stands: z of a rectifier,
or how far one unit of a window is ahead of its largest. Reaches (`stem.set_reach`) prove that nothing else crosses, and
up to its first crossing a perturbation moves all along straight lines. So the same product tells which perturbations
cross nothing; only those that move some column by more than it is from its kink, to either side, are carried up
further, as others are in `stem`.
"""

from fastnn._compiler.jit import call_part, kernel, line, rows, unit, unpack_stem
from fastnn.kernels.direct import carry, per_change
from fastnn.kernels.dropout import mask_rows
from fastnn.kernels.layers import PULL, START
from fastnn.kernels.layers.maps import (
    BIASES,
    CHANNELS,
    DOUBTS,
    DOWN,
    FARTHEST_A,
    FARTHEST_Z,
    FILTERS,
    HEIGHT,
    LANES,
    LIST,
    N_INPUTS,
    N_MET,
    REACH_A,
    REACH_Z,
    SELECTS,
    WEIGHTS,
    WIDTH,
    is_doubtful,
    list_all,
    moved_units,
    pulled_rows,
    reach_of,
    unit_at,
)
from fastnn.kernels.layout import weights
from fastnn.kernels.products import add_product
from fastnn.kernels.stem import arrive, cut_weights, list_wanted, make_part, next_mixing, rise, set_reach, span_samples
from fastnn.kernels.vectors import clear, clear_all, copy
from fastnn.kernels.work import GATHERED, WEIGHT, change_scratch, span, total_scratch


@kernel
def find_lowest(stem, chunk):
    """Return the lowest layer below pulled ones."""
    layer = 0
    while stem.verdicts[chunk, layer] != DOWN:
        layer += 1
    return layer


@kernel
def set_farthest_reach(packed, stem, lowest, n, eps, chunk):
    """Write how far perturbations of any of the layers below pulled ones move the units of each level, in sample n."""
    n_levels = stem.units.shape[0] + 1
    for level in range(lowest + 1, n_levels):
        clear(reach_of(stem, chunk, FARTHEST_Z, level))
        clear(reach_of(stem, chunk, FARTHEST_A, level))
    for layer in range(lowest, n_levels - 1):
        if stem.verdicts[chunk, layer] == DOWN:
            set_reach(packed, stem, layer, n, eps, chunk)
            for level in range(layer + 1, n_levels):
                for which in range(2):
                    here = reach_of(stem, chunk, REACH_Z + which, level)
                    farthest = reach_of(stem, chunk, FARTHEST_Z + which, level)
                    for c in range(here.size):  # nothing is ruled out by a reach that is nan
                        farthest[c] = farthest[c] if here[c] <= farthest[c] else here[c]
    for level in range(lowest + 1, n_levels):
        copy(reach_of(stem, chunk, FARTHEST_Z, level), reach_of(stem, chunk, REACH_Z, level))
        copy(reach_of(stem, chunk, FARTHEST_A, level), reach_of(stem, chunk, REACH_A, level))


@kernel
def count_doubts(stem, lowest, n, chunk):
    """Return how many kinks perturbations may cross in layers from `lowest` up, in what is listed of sample n."""
    count = 0
    for layer in range(lowest, stem.units.shape[0]):
        here = stem.table[layer + 1]
        for i in range(stem.counts[chunk, layer + 1]):
            entry = here[LIST] + i
            c = stem.listed[chunk, entry, 2]
            k = unit_at(here, stem.listed[chunk, entry, 0], stem.listed[chunk, entry, 1], c)
            if is_doubtful(stem, layer + 1, n, chunk, k, c):
                count += 1
            if here[SELECTS] != 0:
                count += max(stem.candidates[chunk, entry] - 1, 0)
    return count


@kernel
def pull_down(packed, layout, theta, stem, lowest, n, n_samples, width, chunk, work):
    """Pull z of the first dense layer, and kinks that may be crossed, down through all layers from `lowest` up."""
    n_layers, n_columns = stem.units.shape[0], layout.sizes[1]
    stem.n_doubts[chunk] = 0
    top, w = pulled_rows(stem, chunk, n_layers, width), weights(layout, theta, 0)
    for i in range(top.shape[0]):
        row, source = top[i], w[i]
        clear(row)
        for m in range(n_columns):
            row[m] = source[m]
    mask_rows(layout, n, 0, 1, n_samples, work, top)
    for layer in range(n_layers - 1, lowest - 1, -1):
        call_part(stem.units[layer, PULL], packed, make_part(layer, n, -1, n_columns, width, 0.0, chunk))


@kernel
def cross(stem, above, channel, n_columns, width, moved, count, chunk, z, crossing):
    """Add to z (n_columns, count) what a channel's moves below layer `above` come to; list those that cross a kink.

    Return how many do: of these, z does not move.
    """
    below, n_doubts, n_crossing = stem.table[above], stem.n_doubts[chunk], 0
    start = chunk * stem.pulled.shape[1] + (below[LIST] + channel) * width
    n_places, pitch = moved.shape[0], below[CHANNELS] * width
    add_product(rows(stem.pulled, start, n_places, n_columns, pitch).T, moved, 0, n_columns, z)
    ahead = moved_units(stem, chunk, above, n_doubts, count)
    clear_all(ahead)
    if n_doubts > 0:
        columns = rows(stem.pulled, start + n_columns, n_places, n_doubts, pitch).T
        add_product(columns, moved, 0, n_doubts, ahead)
    for b in range(count):
        crosses = False
        for k in range(n_doubts):
            crosses = crosses or not abs(ahead[k, b]) <= stem.margins[chunk, k]
        if crosses:
            crossing[n_crossing] = b
            n_crossing += 1
            for m in range(n_columns):
                z[m, b] = 0.0
    return n_crossing


@kernel
def keep_columns(moved, kept, n_kept, count):
    """Write those columns of moved (n, p) that are kept side by side, then zeros, as the start of (n, count)."""
    flat, n_columns = line(moved, 0, moved.size), moved.shape[1]
    for i in range(moved.shape[0]):
        for b in range(n_kept):
            flat[i * count + b] = flat[i * n_columns + kept[b]]
        for b in range(n_kept, count):
            flat[i * count + b] = 0.0


@kernel
def add_found(packed, layout, stem, layer, n, channel, first, sign, width, size, block, task, chunk, work):
    """Add sign times the changes of sample n's loss by perturbations of a filter's weights, `first` and on, to found.

    With no width, nothing has been pulled down, and all are carried up.
    """
    here, above, n_layers = stem.table[layer + 1], next_mixing(stem, layer), stem.units.shape[0]
    start, n_filters, n_met = here[WEIGHTS] + channel, here[FILTERS], here[N_MET]
    found, total = stem.found[n], total_scratch(work, chunk, size)
    call_part(stem.units[layer, START], packed, make_part(layer, n, channel, first, size, sign * task.eps, chunk))
    rise(packed, stem, layer + 1, above, n, channel, size, chunk)
    moved = moved_units(stem, chunk, above - 1, stem.table[above, HEIGHT] * stem.table[above, WIDTH], size)
    crossing, n_crossing = work.listed[chunk, GATHERED], size
    if width > 0:
        z = change_scratch(work, chunk, 0, layout.sizes[1], size)
        clear_all(z)
        n_crossing = cross(stem, above, channel, layout.sizes[1], width, moved, size, chunk, z, crossing)
        clear(total)
        carry(packed, work, 1, n, block.n_samples, sign * work.measured[WEIGHT, n], task.loss, size, chunk)
        for b in range(min(size, n_met - first)):
            found[start + (first + b) * n_filters] += total[b]
    else:
        for b in range(size):
            crossing[b] = b
    if n_crossing > 0:
        count = (n_crossing + LANES - 1) // LANES * LANES
        keep_columns(moved, crossing, n_crossing, count)
        clear(line(total, 0, count))
        moving = rise(packed, stem, above, n_layers, n, channel, count, chunk)
        arrive(packed, layout, stem, n, moving, sign, block, task, chunk, work, count)
        for b in range(n_crossing):
            if first + crossing[b] < n_met:
                found[start + (first + crossing[b]) * n_filters] += total[b]


@unit
def run_stem_down(packed, block, task, step, chunk):
    """Write by how much perturbations of weights below pulled layers change the losses of this chunk's samples."""
    (layout, theta, _, _, work), stem = unpack_stem(packed)
    first_sample, last_sample = span_samples(stem, block, chunk, task.n_chunks)
    n_layers, lowest = stem.units.shape[0], find_lowest(stem, chunk)
    pulled = next_mixing(stem, lowest)
    for n in range(first_sample, last_sample):
        clear(stem.found[n])
        if work.measured[WEIGHT, n] == 0.0:
            continue
        set_farthest_reach(packed, stem, lowest, n, task.eps, chunk)
        list_wanted(packed, stem, n, -1, pulled, n_layers, chunk)
        n_doubts, width = count_doubts(stem, pulled, n, chunk), 0
        if n_doubts <= DOUBTS:
            width = (layout.sizes[1] + n_doubts + LANES - 1) // LANES * LANES
            list_all(stem, pulled, -1, chunk)
            pull_down(packed, layout, theta, stem, pulled, n, block.n_samples, width, chunk, work)
        for layer in range(lowest, n_layers):
            if stem.verdicts[chunk, layer] != DOWN:
                continue
            n_parts, size = cut_weights(stem, stem.table[layer + 1, N_MET])
            for channel in range(stem.table[layer + 1, FILTERS]):
                if work.stop[0] != 0:
                    return
                list_wanted(packed, stem, n, channel, layer, next_mixing(stem, layer), chunk)
                for first in range(0, n_parts * size, size):
                    for sign in range(1, -2 if task.central else 0, -2):
                        add_found(
                            *(packed, layout, stem, layer, n, channel, first, 1.0 * sign, width, size),
                            *(block, task, chunk, work),
                        )


@unit
def run_stem_found(packed, block, task, step, chunk):
    """Add the differences of this chunk's share of the weights below pulled layers, which samples have found."""
    (_, _, _, _, work), stem = unpack_stem(packed)
    factor = 1.0 / block.batch_size * per_change(task)
    for layer in range(find_lowest(stem, chunk), stem.units.shape[0]):
        here = stem.table[layer + 1]
        if stem.verdicts[chunk, layer] == DOWN:
            first, last = span((here[N_INPUTS] + here[BIASES]) * here[FILTERS], chunk, task.n_chunks)
            out = line(work.gradient, here[WEIGHTS] + first, last - first)
            for n in range(block.n_samples):
                found = line(stem.found[n], here[WEIGHTS] + first, last - first)
                for k in range(out.size):
                    out[k] += factor * found[k]
