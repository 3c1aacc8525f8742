"""Finite differences by perturbation, recomputing only what a nudge touches.

A nudge of W[i, j] moves z[n, j] by eps * a[n, i], and then the levels above. The
*changes* are carried upwards, never two values subtracted, and a block of up to
NUDGES weights of the same row i is carried together: they share the nudge
t = eps * a[n, i], and the inner loops run along the block. Any activation, any
loss, any eps.
"""

import numpy as np

from fastnn._jit import kernel, view
from fastnn.kernels.activations import change_nudges, change_units
from fastnn.kernels.layout import biases, weights, weights_start
from fastnn.kernels.losses import add_loss_change
from fastnn.kernels.products import add_product
from fastnn.kernels.work import DIRECT, NUDGES, SLOPE, A, Z, moved_room, scratch_room, total_room, values


@kernel
def transposed_weights(layout, work, layer):
    """Return the room for layer's W transposed, (n_out, n_in)."""
    n_in = layout.sizes[layer]
    n_out = layout.sizes[layer + 1]
    start = weights_start(layout, layer)
    return view(work.transposed, start, n_out, n_in)


@kernel
def transpose(layout, theta, chunk, n_chunks, work):
    """Write this chunk's rows of every W transposed but the first, which no nudge passes through."""
    for layer in range(1, layout.activations.size):
        w = weights(layout, theta, layer)
        out = transposed_weights(layout, work, layer)
        for k in range(chunk, out.shape[0], n_chunks):
            for j in range(out.shape[1]):
                out[k, j] = w[j, k]


@kernel
def add_direct(layout, block, task, chunk, work):
    """Add the differences of the block's samples marked DIRECT to work.gradient, for this chunk's parameters."""
    for layer in range(layout.activations.size):
        wanted = False
        for n in range(block.n_samples):
            wanted |= work.checks[DIRECT, layer, n] != 0.0
        if not wanted:
            continue
        n_in = layout.sizes[layer]
        if layout.together[2 * layer] == 0:
            # Rows are dealt like cards: those of inputs that are mostly zero are
            # cheap, and stand together (the margin of an image).
            w = weights(layout, work.gradient, layer)
            for i in range(chunk, n_in, task.n_chunks):
                _add_row(layout, layer, i, block, task, chunk, work, w[i])
        elif layer % task.n_chunks == chunk:
            start = weights_start(layout, layer)
            size = n_in * layout.sizes[layer + 1]
            _add_together(layout, layer, n_in, block, task, chunk, work, view(work.gradient, start, 1, size)[0])
        b = biases(layout, work.gradient, layer)
        if layout.together[2 * layer + 1] == 0:
            if n_in % task.n_chunks == chunk:
                _add_row(layout, layer, n_in, block, task, chunk, work, b)
        elif layer % task.n_chunks == chunk:
            _add_together(layout, layer, np.int64(0), block, task, chunk, work, b)


@kernel
def _scale(block, task):
    """Return what turns a summed change of the loss into a difference of the mean loss."""
    return 1.0 / ((2.0 if task.central else 1.0) * task.eps * block.batch_size)


@kernel(inline=True)
def _add_row(layout, layer, i, block, task, chunk, work, out):
    """Add to out (n_out,) the differences of W[i], or, past the last input, of b."""
    before = values(layout, work, A, layer, block.n_samples)
    for first in range(0, out.size, NUDGES):
        total = total_room(work, chunk, min(NUDGES, out.size - first))
        for b in range(total.size):
            total[b] = 0.0
        for n in range(block.n_samples):
            t = task.eps * (before[n, i] if i < before.shape[1] else 1.0)
            if t == 0.0 or work.checks[DIRECT, layer, n] == 0.0:
                continue
            for sign in range(1, -2 if task.central else 0, -2):
                _nudge_units(layout, layer, n, block.n_samples, first, sign * t, chunk, work, total.size)
                _carry(
                    layout,
                    min(layer + 2, layout.activations.size),
                    n,
                    block.n_samples,
                    sign,
                    task.loss,
                    chunk,
                    work,
                    total,
                )
        for b in range(total.size):
            out[first + b] += _scale(block, task) * total[b]


@kernel(inline=True)
def _add_together(layout, layer, n_inputs, block, task, chunk, work, out):
    """Add to every entry of out the difference of a whole array: W with its n_inputs, or b with none."""
    before = values(layout, work, A, layer, block.n_samples)
    total = total_room(work, chunk, 1)
    total[0] = 0.0
    for n in range(block.n_samples):
        reach = 0.0 if n_inputs > 0 else 1.0
        for i in range(n_inputs):
            reach += before[n, i]
        for sign in range(1, -2 if task.central else 0, -2):
            moved = moved_room(work, chunk, 0, layout.sizes[layer + 1], 1)
            for k in range(moved.shape[0]):
                moved[k, 0] = sign * task.eps * reach
            _carry(layout, layer + 1, n, block.n_samples, sign, task.loss, chunk, work, total)
    for k in range(out.size):
        out[k] += _scale(block, task) * total[0]


@kernel
def _nudge_units(layout, layer, n, n_samples, first, t, chunk, work, n_nudges):
    """Move the z of units `first` and on of sample n, each alone, by t.

    The change of z, one level up or, on the output layer, there, is left in room 0.
    """
    level = layer + 1
    if level == layout.activations.size:
        moved = moved_room(work, chunk, 0, layout.sizes[level], n_nudges)
        for k in range(moved.shape[0]):
            for b in range(n_nudges):
                moved[k, b] = t if k == first + b else 0.0
        return
    code = layout.activations[layer]
    z = values(layout, work, Z, level, n_samples)[n, first:]
    a = values(layout, work, A, level, n_samples)[n, first:]
    slope = values(layout, work, SLOPE, level, n_samples)[n, first:]
    unit = moved_room(work, chunk, 1, 1, n_nudges)[0]
    change_units(code, z, a, slope, t, unit)
    moved = moved_room(work, chunk, 0, layout.sizes[level + 1], n_nudges)
    through = transposed_weights(layout, work, level)
    for k in range(moved.shape[0]):
        row = through[k, first:]
        for b in range(n_nudges):
            moved[k, b] = row[b] * unit[b]


@kernel
def _carry(layout, level, n, n_samples, sign, loss, chunk, work, total):
    """Carry the changes of z at `level`, in room 0, up to the loss; add sign * its changes to total (n_nudges,)."""
    top = layout.activations.size
    here = 0
    moved = moved_room(work, chunk, here, layout.sizes[level], total.size)
    while level < top:
        code = layout.activations[level - 1]
        z = values(layout, work, Z, level, n_samples)[n]
        a = values(layout, work, A, level, n_samples)[n]
        slope = values(layout, work, SLOPE, level, n_samples)[n]
        for k in range(z.size):
            change_nudges(code, z[k], a[k], slope[k], moved[k])
        here = 1 - here
        above = moved_room(work, chunk, here, layout.sizes[level + 1], total.size)
        for k in range(above.shape[0]):
            for b in range(total.size):
                above[k, b] = 0.0
        add_product(transposed_weights(layout, work, level), moved, 0, above.shape[0], above)
        moved = above
        level += 1
    z = values(layout, work, Z, top, n_samples)[n]
    a = values(layout, work, A, top, n_samples)[n]
    slope = values(layout, work, SLOPE, top, n_samples)[n]
    code = layout.activations[top - 1]
    add_loss_change(loss, code, z, a, slope, work.y[n], moved, sign, scratch_room(work, chunk, total.size), total)
