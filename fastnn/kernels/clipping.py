"""Steps along a gradient that is clipped: shortened to a norm if it is longer. The last part of a step.

The norm is that of all weights' and biases' gradient. Its squares are summed by parts, which are the same for any
number of threads.
"""

import math

from fastnn._compiler.jit import kernel, line, unit, unpack, unpack_stem
from fastnn.kernels.layers.maps import BIASES, FILTERS, N_INPUTS, WEIGHTS
from fastnn.kernels.layout import weights_start
from fastnn.kernels.optimizers import Update, update
from fastnn.kernels.vectors import dot

PARTS = 64  # at most


@kernel(inline=True)
def own_share(size, chunk, n_chunks):
    """Return the first and last of the parameters that are this chunk's."""
    return size * chunk // n_chunks, size * (chunk + 1) // n_chunks


@kernel(inline=True)
def find_factor(clip_norm, sums):
    """Return what the gradient is multiplied by, of the sums (n_parts,) of its squares."""
    total = 0.0
    for part in range(sums.size):
        total += sums[part]
    norm = math.sqrt(total)
    if norm <= clip_norm:
        return 1.0
    return clip_norm / norm if norm < math.inf else math.nan  # squares that overflow are to be seen


@kernel(inline=True)
def unclipped(optimizer):
    """Return the optimiser that moves weights at once."""
    return Update(optimizer.code, optimizer.lr, optimizer.weight_decay, math.inf, optimizer.rates, optimizer.moments)


@kernel(inline=True)
def norm_parts(work):
    """Return where the sums of squares stand, (n_parts,): the norms of weights are of no use any more."""
    return line(work.norms, 0, min(PARTS, work.norms.size))


@unit
def run_norm(packed, block, task, step, chunk):
    """Sum the squares of this chunk's parts of the gradient."""
    _, _, _, _, work = unpack(packed)
    if not block.closes:
        return
    sums, size = norm_parts(work), work.gradient.size
    for part in range(chunk, sums.size, task.n_chunks):
        first, last = own_share(size, part, sums.size)
        entries = line(work.gradient, first, last - first)
        sums[part] = dot(entries, entries)


@unit
def run_clip(packed, block, task, step, chunk):
    """Clip this chunk's share of the gradient, and move those of the dense layers' parameters that are in it."""
    layout, theta, _, optimizer, work = unpack(packed)
    if not block.closes:
        return
    factor = find_factor(optimizer.clip_norm, norm_parts(work))
    first, last = own_share(theta.size, chunk, task.n_chunks)
    for k in range(first, last):
        work.gradient[k] *= factor
    own = unclipped(optimizer)
    for layer in range(layout.activations.size):
        n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
        start = weights_start(layout, layer)
        middle, end = start + n_in * n_out, start + (n_in + 1) * n_out
        update(own, step, own.weight_decay, max(start, first), min(middle, last), work.gradient, theta)
        update(own, step, 0.0, max(middle, first), min(end, last), work.gradient, theta)


@unit
def run_stem_clip(packed, block, task, step, chunk):
    """Move those of the shared weights and biases that are in this chunk's share of the gradient, which is clipped."""
    (_, theta, _, optimizer, work), stem = unpack_stem(packed)
    if not block.closes:
        return
    first, last = own_share(theta.size, chunk, task.n_chunks)
    own = unclipped(optimizer)
    for layer in range(stem.units.shape[0]):
        here = stem.table[layer + 1]
        start, middle = here[WEIGHTS], here[WEIGHTS] + here[N_INPUTS] * here[FILTERS]
        end = middle + here[BIASES] * here[FILTERS]
        update(own, step, own.weight_decay, max(start, first), min(middle, last), work.gradient, theta)
        update(own, step, 0.0, max(middle, first), min(end, last), work.gradient, theta)
