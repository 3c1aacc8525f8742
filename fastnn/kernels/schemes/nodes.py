"""Node perturbation: noise on each sample's sums z, and what it does to that sample's loss."""

from fastnn._compiler.jit import kernel, line, unit, unpack_scheme
from fastnn.kernels.layout import weights
from fastnn.kernels.products import add_product
from fastnn.kernels.readings import read_change
from fastnn.kernels.schemes.scheme import change_level, change_loss, draw_units, gather, moved_values
from fastnn.kernels.vectors import copy
from fastnn.kernels.work import DELTA, LOSS, WEIGHT, share, span, total_scratch, values


@kernel(inline=True)
def draw_noise(layout, scheme, block, step, first, last, chunk, work):
    """Write the noise of samples first to last into delta, for all levels above the inputs."""
    n_inputs, n_units = layout.sizes[0], scheme.drawn.shape[1]
    noise = line(scheme.drawn, chunk * n_units, n_units)
    for n in range(first, last):
        draw_units(scheme, step, block.start + n, noise)
        for level in range(1, layout.sizes.size):
            n_here = layout.sizes[level]
            delta = values(layout, work, DELTA, level, block.n_samples)
            copy(line(noise, layout.starts[0, level] - n_inputs, n_here), delta[n])


@kernel(inline=True)
def carry_noise(layout, theta, scheme, lowest, highest, n_signs, sigma, n_samples, first, last, chunk, work):
    """Carry the noise of levels lowest to highest up to the outputs' z, and gather it there."""
    top = layout.activations.size
    turn = 0
    for level in range(lowest, top + 1):
        noise = values(layout, work, DELTA, level, n_samples)
        for sign in range(n_signs):
            factor = 0.0 if level > highest else sigma if sign == 0 else -sigma
            moved = moved_values(layout, scheme, chunk, turn, sign, level, n_samples)
            for n in range(first, last):
                for k in range(noise.shape[1]):
                    moved[n, k] = factor * noise[n, k]
            if level > lowest:
                below = moved_values(layout, scheme, chunk, 1 - turn, sign, level - 1, n_samples)
                add_product(below, weights(layout, theta, level - 1), first, last, moved)
        if level < top:
            change_level(layout, scheme, level, turn, n_signs, n_samples, first, last, chunk, work)
            turn = 1 - turn
    gather(layout, scheme, turn, n_signs, 0, n_signs, n_samples, first, last, chunk)


@kernel(inline=True)
def read_sample(scheme, data, block, step, n, turn, n_readings, work, total):
    """Make readings of the changes of a sample's loss, in total, and return by how much that without noise is off.

    Of n_readings of each sample, these are of the layer number `turn` that is perturbed by itself, or of all.
    """
    first = ((step - 1) * data.order.shape[1] + block.start + n) * n_readings
    weight = work.measured[WEIGHT, n]
    base = work.measured[LOSS, n] / weight if weight > 0.0 else 0.0
    if total.size == 2:
        for sign in range(2):
            total[sign] = read_change(scheme.reading, first + 2 * turn + sign, base, total[sign])
        still = 0.0
    else:
        total[0] = read_change(scheme.reading, first + 1 + turn, base, total[0])
        still = read_change(scheme.reading, first, base, 0.0)
    return still


@unit
def run_back(packed, block, task, step, chunk):
    """Write what is taken for delta: the noise of this chunk's samples, times what it makes of their losses."""
    (layout, theta, data, _, work), (scheme, _) = unpack_scheme(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    draw_noise(layout, scheme, block, step, first, last, chunk, work)
    n_signs, top, n_samples = 2 if task.central else 1, layout.activations.size, block.n_samples
    n_readings = (1 if task.together else top) * n_signs + (2 - n_signs)
    lowest = 1
    while lowest <= top:
        highest = top if task.together else lowest
        carry_noise(layout, theta, scheme, lowest, highest, n_signs, task.eps, n_samples, first, last, chunk, work)
        for n in range(first, last):
            change_loss(packed, layout, scheme, task.loss, n, n_signs, n_samples, chunk, work)
            total = total_scratch(work, chunk, n_signs)
            still = 0.0
            if scheme.reading.noise > 0.0 or scheme.reading.levels > 0.0:
                still = read_sample(scheme, data, block, step, n, lowest - 1, n_readings, work, total)
            change = (total[0] - still) / task.eps if n_signs == 1 else (total[0] - total[1]) / (2.0 * task.eps)
            factor = share(block, work, n) * change
            for level in range(lowest, highest + 1):
                delta = values(layout, work, DELTA, level, n_samples)[n]
                for k in range(delta.size):
                    delta[k] *= factor
        lowest = highest + 1


UNITS = {"BACK": run_back}
STEM_UNITS = None
REPLACES = True
