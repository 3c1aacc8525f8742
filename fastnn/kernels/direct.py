"""Finite differences by perturbation, recomputing only what a perturbation touches.

A perturbation of W[i, j] moves z[n, j] by t = eps * a[n, i], and then the levels above. The
*changes* are carried upwards, in float64, never two values subtracted, and a block
of up to PERTURBATIONS weights, first those into one unit j and then those into the next, is
carried together, the inner loops running along the block. Any activation, any loss, any eps.
"""

import math
from typing import NamedTuple

import numpy as np

from fastnn._compiler.jit import call_part, kernel, line, unit, unpack, view
from fastnn.kernels.dropout import change_unit, masks
from fastnn.kernels.layout import SHARED_BIAS, biases, weights_start
from fastnn.kernels.losses import add_loss_change
from fastnn.kernels.optimizers import target
from fastnn.kernels.products import add_product
from fastnn.kernels.vectors import clear
from fastnn.kernels.work import (
    COEFFICIENTS,
    DIRECT,
    GATHERED,
    LISTED,
    PERTURBATIONS,
    PICKED,
    REACH,
    SLOPE,
    UNITS,
    A,
    Method,
    Z,
    change_scratch,
    count_direct,
    row_scratch,
    share,
    total_scratch,
    transposed_weights,
    values,
)


@kernel
def is_one_bias(layout, layer, task):
    """Return if all of a layer's bias is perturbed as one."""
    return task.together or layout.traits[SHARED_BIAS, layer] != 0


@kernel
def list_inputs(layout, layer, n, block, task, chunk, work):
    """List this chunk's inputs of a layer that are not zero in sample n, the bias last; return how many.

    Inputs are dealt like cards: those that are mostly zero are cheap, and stand
    together (the margin of an image). Weights perturbed as one are not listed.
    """
    before = values(layout, work, A, layer, block.n_samples)[n]
    listed = work.listed[chunk, LISTED]
    count = 0
    if not task.together:
        for i in range(chunk, before.size, task.n_chunks):
            if before[i] != 0.0:
                listed[count] = i
                count += 1
    if not is_one_bias(layout, layer, task) and before.size % task.n_chunks == chunk:
        listed[count] = before.size
        count += 1
    return count


@kernel
def pick_inputs(before, size, n_listed, listed, picked):
    """Pick the inputs listed that are at least of a size, before (n,) and a 1; return how many."""
    count = 0
    for b in range(n_listed):
        i = listed[b]
        if (abs(before[i]) if i < before.size else 1.0) >= size:
            picked[count] = i
            count += 1
    return count


@kernel
def per_change(task):
    """Return what turns a change of the mean loss into a difference."""
    return 1.0 / ((2.0 if task.central else 1.0) * task.eps)


@kernel
def _series(layout, layer, n, j, a, block, task, work):
    """Return the difference of an input's weight in the mean loss, as the series of unit j of sample n has it."""
    total = 0.0
    for term in range(task.n_terms - 1, -1, -1):
        total = a * (total + values(layout, work, COEFFICIENTS[term], layer + 1, block.n_samples)[n, j])
    return total


@kernel
def _add_units(packed, layout, layer, n, count, block, task, scale, chunk, work, out):
    """Add to out (n_in + 1, n_out), W and then b, the differences of the weights that are gathered.

    Of sample n, and what they are beyond those of the series, which are there as well.
    """
    before = values(layout, work, A, layer, block.n_samples)[n]
    inputs, units = line(work.listed[chunk, GATHERED], 0, count), line(work.listed[chunk, UNITS], 0, count)
    total = total_scratch(work, chunk, count)
    clear(total)
    for sign in range(1, -2 if task.central else 0, -2):
        move = row_scratch(work, chunk, count)
        for b in range(count):
            i = inputs[b]
            move[b] = sign * task.eps * (before[i] if i < before.size else 1.0)
        _change_units(layout, layer, n, units, block.n_samples, chunk, work, move)
        level = min(layer + 2, layout.activations.size)
        carry(packed, work, level, n, block.n_samples, 1.0 * sign, task.loss, count, chunk)
    factor = share(block, work, n) * per_change(task)
    for b in range(count):
        i, j = inputs[b], units[b]
        found = factor * total[b]
        if task.method == Method.SERIES:
            found -= _series(layout, layer, n, j, np.float64(before[i] if i < before.size else 1.0), block, task, work)
        out[i, j] += scale * found


@kernel(inline=True)
def _add_as_one(packed, layout, layer, n_inputs, block, task, scale, chunk, work, out):
    """Add to every entry of out the difference of an array perturbed as one: W with its n_inputs, or b with none."""
    before = values(layout, work, A, layer, block.n_samples)
    total = total_scratch(work, chunk, 1)
    total[0] = 0.0
    for n in range(block.n_samples):
        reach = 0.0 if n_inputs > 0 else 1.0
        for i in range(n_inputs):
            reach += before[n, i]
        for sign in range(1, -2 if task.central else 0, -2):
            moved = change_scratch(work, chunk, 0, layout.sizes[layer + 1], 1)
            for k in range(moved.shape[0]):
                moved[k, 0] = sign * task.eps * reach
            factor = sign * share(block, work, n)
            carry(packed, work, layer + 1, n, block.n_samples, factor, task.loss, 1, chunk)
    for k in range(out.size):
        out[k] += scale * per_change(task) * total[0]


@kernel
def _change_units(layout, layer, n, units, n_samples, chunk, work, move):
    """Move z of one of the units (n_perturbations,) of sample n by each move (n_perturbations,), which is overwritten.

    The change of z, one level up or, on the output layer, there, is left in array 0. Units
    stand in runs, which are taken together.
    """
    level, top = layer + 1, layout.activations.size
    moved = change_scratch(work, chunk, 0, layout.sizes[min(level + 1, top)], move.size)
    if level == top:
        clear(line(moved, 0, moved.size))
        for b in range(move.size):
            moved[units[b], b] = move[b]
        return
    z = values(layout, work, Z, level, n_samples)[n]
    a = values(layout, work, A, level, n_samples)[n]
    slope = values(layout, work, SLOPE, level, n_samples)[n]
    mask = masks(layout, work, level, n_samples)[n]
    through = transposed_weights(layout, work, level, 0)
    first = 0
    while first < move.size:
        j, last = units[first], first + 1
        while last < move.size and units[last] == j:
            last += 1
        run = line(move, first, last - first)
        change_unit(layout, level, z, a, slope, mask, j, run)
        for k in range(moved.shape[0]):
            weight, row = through[k, j], line(moved, k * move.size + first, run.size)
            for b in range(run.size):
                row[b] = weight * run[b]
        first = last


class Rise(NamedTuple):
    """Which changes are carried up to the loss. Numbers only."""

    level: int  # of whose z they are
    sample: int  # of the block
    n_samples: int  # of the block
    factor: float  # of what is added to the sums
    loss: int  # Loss
    size: int  # how many perturbations
    chunk: int


@kernel
def carry(packed, work, level, n, n_samples, factor, loss, size, chunk):
    """Carry changes of z at `level`, in array 0, up to the loss; add factor times those to the chunk's sums (size,)."""
    which = np.int64(level), np.int64(n), np.int64(n_samples)
    rise = Rise(which[0], which[1], which[2], float(factor), np.int64(loss), np.int64(size), np.int64(chunk))
    call_part(work.carry[0], packed, rise)


@unit
def run_carry(packed, rise):
    """Do what `carry` says."""
    layout, _, _, _, work = unpack(packed)
    level, n, n_samples, chunk = rise.level, rise.sample, rise.n_samples, rise.chunk
    total = total_scratch(work, chunk, rise.size)
    top = layout.activations.size
    here = 0
    moved = change_scratch(work, chunk, here, layout.sizes[level], total.size)
    while level < top:
        z = values(layout, work, Z, level, n_samples)[n]
        a = values(layout, work, A, level, n_samples)[n]
        slope = values(layout, work, SLOPE, level, n_samples)[n]
        mask = masks(layout, work, level, n_samples)[n]
        for k in range(z.size):
            change_unit(layout, level, z, a, slope, mask, k, moved[k])
        here = 1 - here
        above = change_scratch(work, chunk, here, layout.sizes[level + 1], total.size)
        for k in range(above.shape[0]):
            clear(above[k])
        add_product(transposed_weights(layout, work, level, 0), moved, 0, above.shape[0], above)
        moved = above
        level += 1
    z = values(layout, work, Z, top, n_samples)[n]
    a = values(layout, work, A, top, n_samples)[n]
    slope = values(layout, work, SLOPE, top, n_samples)[n]
    code = layout.activations[top - 1]
    scratch = row_scratch(work, chunk, total.size)
    add_loss_change(rise.loss, code, z, a, slope, work.y[n], moved, rise.factor, scratch, total)


@unit
def run_direct(packed, block, task, step, chunk):
    """Add the differences of what is marked to be measured directly, for this chunk's parameters."""
    layout, theta, _, optimizer, work = unpack(packed)
    out, scale = target(optimizer, block, theta, work.gradient)
    for layer in range(layout.activations.size):
        n_in, n_out = layout.sizes[layer], layout.sizes[layer + 1]
        start = weights_start(layout, layer)
        both = view(out, start, n_in + 1, n_out)
        every, picked = work.listed[chunk, LISTED], work.listed[chunk, PICKED]
        inputs, units = work.listed[chunk, GATHERED], work.listed[chunk, UNITS]
        for n in range(block.n_samples):
            before = values(layout, work, A, layer, block.n_samples)[n]
            direct = values(layout, work, DIRECT, layer + 1, block.n_samples)[n]
            n_listed = -1  # not yet
            size = -1.0  # of those picked
            count = 0
            for j in range(n_out):
                if work.stop[0] != 0:
                    return
                wanted = 0.0
                if task.method == Method.SERIES:
                    wanted = min(np.float64(direct[j]), work.checks[REACH, layer, n])
                    if wanted == math.inf:
                        continue
                if n_listed < 0:
                    n_listed = list_inputs(layout, layer, n, block, task, chunk, work)
                if wanted != size:
                    size = wanted
                    n_picked = pick_inputs(before, size, n_listed, every, picked)
                count_direct(layout, layer, n_picked, chunk, work)
                for first in range(0, n_picked, PERTURBATIONS):
                    n_more = min(PERTURBATIONS, n_picked - first)
                    if count + n_more > PERTURBATIONS:
                        _add_units(packed, layout, layer, n, count, block, task, scale, chunk, work, both)
                        count = 0
                    for p in range(first, first + n_more):
                        inputs[count], units[count] = picked[p], j
                        count += 1
            if count > 0:
                _add_units(packed, layout, layer, n, count, block, task, scale, chunk, work, both)
        if layer % task.n_chunks == chunk:
            if task.together:
                flat = line(out, start, n_in * n_out)
                _add_as_one(packed, layout, layer, n_in, block, task, scale, chunk, work, flat)
            if is_one_bias(layout, layer, task):
                bias = biases(layout, out, layer)
                _add_as_one(packed, layout, layer, np.int64(0), block, task, scale, chunk, work, bias)
