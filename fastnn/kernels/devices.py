"""Weights as devices keep them: within bounds, on levels, written and read with noise.

Of each weight there is what is wanted, which an optimiser moves, and what acts: the device's setting, times its gain.
With a copy, what is wanted is a number of its own, and a setting is made of it whenever it is written; else it is
the setting. A device with a gain of 0 is stuck: it acts as it did.

On a network an `Update` of the code NONE has them: behind the optimiser's rates stand N_NUMBERS, behind its moments
N_ROWS.
"""

import math

from numpy import int64, uint64

from fastnn._compiler.jit import kernel, line, unit, unpack, unpack_stem
from fastnn.kernels.counter import HALF, UNIT, draw_normals, draw_words
from fastnn.kernels.layers.maps import BIASES, FILTERS, N_INPUTS, WEIGHTS
from fastnn.kernels.layout import weights_start
from fastnn.kernels.optimizers import Update, update
from fastnn.kernels.work import span

# Streams of random numbers, far from those of other keys that may be the same.
ROUNDED, WRITTEN, READ, SPREAD, STUCK = range(32, 37)
# The numbers of devices: the seeds of theirs and of a run; the bounds; levels less one, 0 if there are none; whether
# they are rounded to at random; the noises' deviations; whether there is a copy; the optimiser of a network.
N_NUMBERS = 10
SEED, RUN, LOW, HIGH, LEVELS, AT_RANDOM, WRITE_NOISE, READ_NOISE, HAS_COPY, CODE = range(N_NUMBERS)
# Rows of a network's.
N_ROWS = 3
WANTED, ACTING, GAINS = range(N_ROWS)
# How often weights are written in a step: by itself, by whoever sets them, and from here on for each reading.
STEP, SET, READING = range(3)


@kernel
def make_key(numbers):
    """Return the key of what is drawn."""
    return uint64(int64(numbers[SEED])) | (uint64(int64(numbers[RUN])) << HALF)


@kernel
def round_to_level(numbers, value, chance):
    """Return the level below a value within the bounds, or the next one, by a chance: 1/2 rounds to the nearest."""
    if numbers[LEVELS] == 0.0:
        return value
    size = (numbers[HIGH] - numbers[LOW]) / numbers[LEVELS]
    return numbers[LOW] + min(math.floor((value - numbers[LOW]) / size + chance), numbers[LEVELS]) * size


@kernel
def write(numbers, gains, step, index, first, last, wanted, settings, acting):
    """Write weights first to last: make settings of what is wanted, and of those what acts; all (n_weights,).

    Settings and acting may be one vector, which is the latter then. Each index of a step has noise of its own.
    """
    key = make_key(numbers)
    for block in range(first // 4, (last + 3) // 4):
        a, b, c, d = uint64(0), uint64(0), uint64(0), uint64(0)
        if numbers[AT_RANDOM] != 0.0:
            a, b, c, d = draw_words(key, ROUNDED, step, index, block)
        words = a, b, c, d
        e, f, g, h = 0.0, 0.0, 0.0, 0.0
        if numbers[WRITE_NOISE] > 0.0:
            e, f, g, h = draw_normals(key, WRITTEN, step, index, block)
        normals = e, f, g, h
        for k in range(max(first, 4 * block), min(last, 4 * block + 4)):
            if gains[k] == 0.0:
                continue
            value = level = float(wanted[k])
            if math.isfinite(value):  # else it is to be seen
                value = min(max(value, numbers[LOW]), numbers[HIGH])
                chance = (int64(words[k - 4 * block]) + 0.5) * UNIT if numbers[AT_RANDOM] != 0.0 else 0.5
                level = round_to_level(numbers, value, chance)
            noisy = level + numbers[WRITE_NOISE] * normals[k - 4 * block]
            if numbers[HAS_COPY] != 0.0:
                wanted[k], settings[k] = value, level
            else:
                wanted[k] = settings[k] = noisy
            acting[k] = gains[k] * noisy


@kernel
def write_stuck(numbers, gains, first, last, wanted, settings, acting):
    """Have those devices among first to last that are stuck be so at the level nearest to what is wanted."""
    for k in range(first, last):
        if gains[k] == 0.0:
            value = min(max(float(wanted[k]), numbers[LOW]), numbers[HIGH])
            settings[k] = acting[k] = round_to_level(numbers, value, 0.5)


@kernel
def read(numbers, number, first, last, acting, out):
    """Write what weights first to last come to in the reading of that number."""
    key, noise = make_key(numbers), numbers[READ_NOISE]
    for block in range(first // 4, (last + 3) // 4):
        e, f, g, h = 0.0, 0.0, 0.0, 0.0
        if noise > 0.0:
            e, f, g, h = draw_normals(key, READ, number, 0, block)
        normals = e, f, g, h
        for k in range(max(first, 4 * block), min(last, 4 * block + 4)):
            out[k] = acting[k] + noise * normals[k - 4 * block]


@kernel
def draw_gains(numbers, spread, stuck, gains):
    """Fill the devices' gains: e to a normal number of that deviation, or 0 for the share that is stuck."""
    key = make_key(numbers)
    for block in range((gains.size + 3) // 4):
        normals = draw_normals(key, SPREAD, 0, 0, block)
        words = draw_words(key, STUCK, 0, 0, block)
        for k in range(4 * block, min(4 * block + 4, gains.size)):
            gains[k] = math.exp(spread * normals[k - 4 * block])
            if (int64(words[k - 4 * block]) + 0.5) * UNIT < stuck:
                gains[k] = 0.0


@kernel
def move(optimizer, step, decay, first, last, gradient, theta):
    """Take the optimiser's step, the number `step`, from 1, with devices first to last, and leave what is read next."""
    rates, moments, n = optimizer.rates, optimizer.moments, theta.size
    n_rates, n_moments = rates.size - N_NUMBERS, moments.shape[0] - N_ROWS
    numbers = line(rates, n_rates, N_NUMBERS)
    wanted = line(moments, (n_moments + WANTED) * n, n)
    acting = line(moments, (n_moments + ACTING) * n, n)
    gains = line(moments, (n_moments + GAINS) * n, n)
    for k in range(first, last):  # the slope with the setting, where a gain acts on every nudge
        gradient[k] *= gains[k]
    own = Update(int64(numbers[CODE]), optimizer.lr, optimizer.weight_decay, math.inf, rates, moments)
    update(own, step, decay, first, last, gradient, wanted)
    write(numbers, gains, step, STEP, first, last, wanted, acting, acting)
    read(numbers, step + 1, first, last, acting, theta)


@kernel
def write_changed(numbers, gains, unwritten, step, wanted, acting, theta):
    """Write those weights of a network that are not what acts: all at first, and then what others have set.

    What acts is `unwritten` at first. What is set later is what is to act, whatever the gain.
    """
    for k in range(theta.size):
        if theta[k] == acting[k]:
            continue
        is_first = acting[k] == unwritten
        if gains[k] != 0.0:
            wanted[k] = theta[k] if is_first else theta[k] / gains[k]
            write(numbers, gains, step, SET, k, k + 1, wanted, acting, acting)
        elif is_first:
            wanted[k] = theta[k]
            write_stuck(numbers, gains, k, k + 1, wanted, acting, acting)
        theta[k] = acting[k]


@unit
def run_devices(packed, block, task, step, chunk):
    """Move and write this chunk's rows of every W, the bias going with the last."""
    layout, theta, _, optimizer, work = unpack(packed)
    if not block.closes:
        return
    decay = optimizer.weight_decay
    for layer in range(layout.activations.size):
        n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
        first, last = span(n_in, chunk, task.n_chunks)
        start = weights_start(layout, layer)
        move(optimizer, step, decay, start + first * n_out, start + last * n_out, work.gradient, theta)
        if first < last == n_in:
            move(optimizer, step, 0.0, start + n_in * n_out, start + (n_in + 1) * n_out, work.gradient, theta)


@unit
def run_stem_devices(packed, block, task, step, chunk):
    """Move and write this chunk's share of the shared weights and biases."""
    (_, theta, _, optimizer, work), stem = unpack_stem(packed)
    if not block.closes:
        return
    for layer in range(stem.units.shape[0]):
        here = stem.table[layer + 1]
        start, middle = here[WEIGHTS], here[WEIGHTS] + here[N_INPUTS] * here[FILTERS]
        first, last = span(middle - start, chunk, task.n_chunks)
        move(optimizer, step, optimizer.weight_decay, start + first, start + last, work.gradient, theta)
        if here[BIASES] > 0 and layer % task.n_chunks == chunk:
            move(optimizer, step, 0.0, middle, middle + here[BIASES] * here[FILTERS], work.gradient, theta)
