"""Node perturbation: noise on each sample's sums z, and what it does to that sample's loss.

With layers below the dense ones it is put on their sums, too, wherever a weight is used: at every place of a
convolution and at every step of a sequence, all of whose steps are one sample.
"""

from fastnn._compiler.jit import call, kernel, line, pack, unit, unpack_all, unpack_scheme, view
from fastnn.kernels.layers.maps import GRADIENT, sample_values
from fastnn.kernels.layout import weights
from fastnn.kernels.products import add_product
from fastnn.kernels.readings import read_change
from fastnn.kernels.schemes.scheme import (
    change_level,
    change_loss,
    draw_units,
    gather,
    hand_masks,
    moved_values,
    take_first,
)
from fastnn.kernels.schemes.units import LAYER, SIZE, START, copy_below, copy_units, count_below
from fastnn.kernels.vectors import clear, copy
from fastnn.kernels.work import DELTA, LOSS, WEIGHT, span, total_scratch, values


@kernel(inline=True)
def draw_noise(layout, scheme, block, n_steps, step, n, chunk, work):
    """Draw sample n's noise, and write that of the dense units into delta."""
    noise = line(scheme.drawn, chunk * scheme.drawn.shape[1], scheme.drawn.shape[1])
    draw_units(scheme, step, block.start // n_steps + n, noise)
    copy_units(layout, n, n_steps, block.n_samples, True, noise, work)


@kernel(inline=True)
def carry_noise(layout, theta, scheme, lowest, highest, is_moved, n_signs, sigma, n_samples, first, last, chunk, work):
    """Carry the noise of levels lowest to highest up to the outputs' z, and gather it there.

    It is added to what the lowest has moved already, in the arrays of turn 0, if it has.
    """
    top = layout.activations.size
    turn = 0
    for level in range(lowest, top + 1):
        noise = values(layout, work, DELTA, level, n_samples)
        for sign in range(n_signs):
            factor = 0.0 if level > highest else sigma if sign == 0 else -sigma
            moved = moved_values(layout, scheme, chunk, turn, sign, level, n_samples)
            for n in range(first, last):
                if level > lowest or not is_moved:
                    clear(moved[n])
                for k in range(noise.shape[1]):
                    moved[n, k] += factor * noise[n, k]
            if level > lowest:
                below = moved_values(layout, scheme, chunk, 1 - turn, sign, level - 1, n_samples)
                add_product(below, weights(layout, theta, level - 1), first, last, moved)
        if level < top:
            change_level(layout, scheme, level, turn, n_signs, n_samples, first, last, chunk, work)
            turn = 1 - turn
    gather(layout, scheme, turn, n_signs, 0, n_signs, n_samples, first, last, chunk)


@kernel(inline=True)
def find_slope(packed, layout, scheme, data, task, block, step, n, n_steps, turn, n_turns, n_signs, chunk, work):
    """Return what sample n's share in the batch's mean loss changes by for its noise, as it is read, over sigma.

    Of n_turns, in which layers are perturbed one by one, or all of them in the only one, this is number `turn`.
    """
    first = n * n_steps
    weight, base, above, below = 0.0, 0.0, 0.0, 0.0
    for row in range(first, first + n_steps):
        weight += work.measured[WEIGHT, row] / n_steps
        base += work.measured[LOSS, row]
    if weight == 0.0:
        return 0.0
    for row in range(first, first + n_steps):
        change_loss(packed, layout, scheme, task.loss, row, n_signs, block.n_samples, chunk, work)
        total, share = total_scratch(work, chunk, n_signs), work.measured[WEIGHT, row] / weight
        above += share * total[0]
        below += share * total[1] if n_signs == 2 else 0.0
    reading = scheme.reading
    if reading.noise > 0.0 or reading.levels > 0.0:
        place = (step - 1) * (data.order.shape[1] // n_steps) + block.start // n_steps + n
        number = place * (n_turns * n_signs + 2 - n_signs)
        if n_signs == 2:
            above = read_change(reading, number + 2 * turn, base / weight, above)
            below = read_change(reading, number + 2 * turn + 1, base / weight, below)
        else:
            above = read_change(reading, number + 1 + turn, base / weight, above)
            below = read_change(reading, number, base / weight, 0.0)
    return weight / block.batch_size * ((above - below) / (n_signs * task.eps))


@kernel(inline=True)
def weigh_units(layout, lowest, highest, n, n_steps, n_samples, factor, work):
    """Multiply the noise of sample n's dense units of levels lowest to highest by what it changes."""
    for level in range(lowest, highest + 1):
        delta = values(layout, work, DELTA, level, n_samples)
        for row in range(n * n_steps, (n + 1) * n_steps):
            for k in range(delta.shape[1]):
                delta[row, k] *= factor


@unit
def run_back(packed, block, task, step, chunk):
    """Write what is taken for delta: the noise of this chunk's samples, times what it makes of their losses."""
    (layout, theta, data, _, work), (scheme, _) = unpack_scheme(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    for n in range(first, last):
        draw_noise(layout, scheme, block, 1, step, n, chunk, work)
    n_signs, top, n_samples = 2 if task.central else 1, layout.activations.size, block.n_samples
    n_turns = 1 if task.together else top
    for turn in range(n_turns):
        lowest, highest = turn + 1, top if task.together else turn + 1
        carry_noise(
            layout, theta, scheme, lowest, highest, False, n_signs, task.eps, n_samples, first, last, chunk, work
        )
        for n in range(first, last):
            factor = find_slope(
                packed, layout, scheme, data, task, block, step, n, 1, turn, n_turns, n_signs, chunk, work
            )
            weigh_units(layout, lowest, highest, n, 1, n_samples, factor, work)


@kernel(inline=True)
def set_noise(scheme, stem, noisy, layer, factor, first, last):
    """Write the noise of samples first to last that a pass adds to the sums of a layer below, or of all for -1."""
    for n in range(first, last):
        noise, out = sample_values(stem, GRADIENT, n), noisy.noise[n]
        for place in range(scheme.places.shape[0]):
            here = factor if layer < 0 or scheme.places[place, LAYER] == layer else 0.0
            start = scheme.places[place, START]
            for k in range(start, start + scheme.places[place, SIZE]):
                out[k] = here * noise[k]


@kernel(inline=True)
def weigh_below(scheme, stem, layer, n, factor):
    """Multiply the noise of sample n's sums of a layer below, or of all for -1, by what it changes."""
    gradient = sample_values(stem, GRADIENT, n)
    for place in range(scheme.places.shape[0]):
        if layer < 0 or scheme.places[place, LAYER] == layer:
            start = scheme.places[place, START]
            for k in range(start, start + scheme.places[place, SIZE]):
                gradient[k] *= factor


@unit
def run_below(packed, block, task, step, chunk):
    """Write what is taken for the slopes with all sums of this chunk's samples, also below the dense layers.

    Those are run anew with noise, in float64, up to the first dense layer's z: there two values are subtracted. From
    there on changes are carried.
    """
    (layout, theta, data, optimizer, work), stem, (scheme, below) = unpack_all(packed)
    begin, end = span(block.n_samples // stem.n_steps, chunk, task.n_chunks)
    n_samples, n_steps, top, n_below = block.n_samples, stem.n_steps, layout.activations.size, count_below(scheme)
    first, last = begin * n_steps, end * n_steps
    for n in range(begin, end):
        draw_noise(layout, scheme, block, n_steps, step, n, chunk, work)
        copy_below(scheme, stem, n, True, line(scheme.drawn, chunk * scheme.drawn.shape[1], scheme.drawn.shape[1]))
    weights_below = line(below.theta, chunk * theta.size, theta.size)
    copy(theta, weights_below)
    inner = pack(((layout, weights_below, data, optimizer, below.work), below.stem))
    base = view(below.base, 0, n_samples, layout.sizes[1])
    for n in range(first, last):
        clear(base[n])
    hand_masks(layout, below, n_samples, first, last, work)
    set_noise(scheme, stem, below.stem, -1, 0.0, begin, end)
    call(below.units[0], inner, block, task, step, chunk)
    take_first(layout, below, n_samples, first, last, base, base)
    n_signs, n_turns = 2 if task.central else 1, 1 if task.together else n_below + top
    for turn in range(n_turns):
        layer = -1 if task.together else turn
        lowest, highest = max(turn - n_below, 0) + 1, top if task.together else turn - n_below + 1
        is_moved = layer < n_below
        for sign in range(n_signs if is_moved else 0):
            set_noise(scheme, stem, below.stem, layer, task.eps if sign == 0 else -task.eps, begin, end)
            call(below.units[0], inner, block, task, step, chunk)
            moved = moved_values(layout, scheme, chunk, 0, sign, 1, n_samples)
            take_first(layout, below, n_samples, first, last, base, moved)
        carry_noise(
            layout, theta, scheme, lowest, highest, is_moved, n_signs, task.eps, n_samples, first, last, chunk, work
        )
        for n in range(begin, end):
            factor = find_slope(
                packed, layout, scheme, data, task, block, step, n, n_steps, turn, n_turns, n_signs, chunk, work
            )
            weigh_units(layout, lowest, highest, n, n_steps, n_samples, factor, work)
            weigh_below(scheme, stem, layer, n, factor)


UNITS = {"BACK": run_back}
STEM_UNITS = {"BELOW": run_below}
REPLACES = True
