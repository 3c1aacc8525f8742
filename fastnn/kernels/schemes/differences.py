"""Differences of every weight by itself, as they are read: of some weights only, with the readings' noise."""

import math

from fastnn._compiler.jit import kernel, line, unit, unpack_scheme
from fastnn.kernels.counter import draw_normals, fill_noise, shuffle
from fastnn.kernels.estimators import MASK, NOISE
from fastnn.kernels.readings import read_change
from fastnn.kernels.schemes.scheme import PART, move_part, own_entries
from fastnn.kernels.work import LOSS

# Columns of Scheme.quotas, a row a layer: where it begins, how many weights it has, and how many are perturbed.
BEGIN, SIZE, COUNT = range(3)


@unit
def run_mask(packed, block, task, step, chunk):
    """Draw which weights are perturbed from now on: as many of each layer as there are to be, each as likely."""
    _, (scheme, _) = unpack_scheme(packed)
    draw = (step - 1) // scheme.redraw
    if chunk > 0 or scheme.quotas.shape[0] == 0 or scheme.held[0] == draw:
        return
    scheme.held[0] = draw
    for layer in range(scheme.quotas.shape[0]):
        size, count = scheme.quotas[layer, SIZE], scheme.quotas[layer, COUNT]
        mask, order = line(scheme.drawn, scheme.quotas[layer, BEGIN], size), line(scheme.order, 0, size)
        shuffle(scheme.plan.key, MASK, draw, layer, count, order)
        for k in range(size):
            mask[k] = 0.0
        for k in range(count):
            mask[order[k]] = size / count if scheme.rescales else 1.0


@kernel(inline=True)
def find_deviation(reading, eps):
    """Return what the noise of one reading deviates by in a difference."""
    return reading.noise / math.sqrt(reading.repeats) / eps


@kernel(inline=True)
def add_noise(scheme, step, eps, base, start, chunk, out):
    """Add to differences `start` and on what their readings' noise comes to, less a base's, which all of them have."""
    reading = scheme.reading
    deviation = find_deviation(reading, eps) * (math.sqrt(0.5) if scheme.plan.is_central else 1.0)
    noise = line(scheme.noise, chunk * PART, out.size)
    fill_noise(reading.key, NOISE, step - 1, 0, start, noise)
    deviation, base = out.dtype.type(deviation), out.dtype.type(base)
    for k in range(noise.size):
        out[k] += deviation * noise[k] - base


@kernel(inline=True)
def read_base(scheme, step, eps):
    """Return what the noise of the reading at the weights, if there is one, is in every difference."""
    reading = scheme.reading
    if scheme.plan.is_central or reading.noise == 0.0:
        return 0.0
    return find_deviation(reading, eps) * draw_normals(reading.key, NOISE, step - 1, 1, 0)[0]


@kernel(inline=True)
def read_coarsely(scheme, step, eps, base, first, last, gradient):
    """Replace forward differences first to last by those of readings that are rounded to levels, and have noise."""
    reading, first_number = scheme.reading, (step - 1) * (gradient.size + 1)
    still = read_change(reading, first_number, base, 0.0)
    for k in range(first, last):
        change = read_change(reading, first_number + 1 + k, base, eps * gradient[k])
        gradient[k] = (change - still) / eps


@unit
def run_move(packed, block, task, step, chunk):
    """Make readings of this chunk's differences, leave those out that are not wanted, and take the step."""
    (_, theta, _, _, work), (scheme, _) = unpack_scheme(packed)
    base = 0.0 if block.opens else scheme.base[chunk]
    for n in range(block.n_samples):
        base += work.measured[LOSS, n] / block.batch_size
    scheme.base[chunk] = base
    if not block.closes:
        return
    gradient = work.gradient
    first, last = own_entries(gradient.size, chunk, task.n_chunks)
    if scheme.reading.levels > 0.0:
        read_coarsely(scheme, step, task.eps, base, first, last, gradient)
    noise_base = read_base(scheme, step, task.eps)
    for start in range(first, last, PART):
        out = line(gradient, start, min(PART, last - start))
        if scheme.reading.levels == 0.0 and scheme.reading.noise > 0.0:
            add_noise(scheme, step, task.eps, noise_base, start, chunk, out)
        if scheme.quotas.shape[0] > 0:
            for k in range(out.size):
                out[k] *= scheme.drawn[0, start + k]
        move_part(scheme, block, step, start, out, gradient, theta)


UNITS = {"INPUTS": run_mask, "MOVE": run_move}
STEM_UNITS = UNITS
REPLACES = False
