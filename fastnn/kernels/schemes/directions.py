"""Random directions of all weights at once: the loss's changes along them, carried up through the layers."""

import numpy as np

from fastnn._compiler.jit import call, kernel, line, pack, unit, unpack_scheme, view
from fastnn.kernels.directions import has_base, weigh
from fastnn.kernels.estimators import Kind
from fastnn.kernels.readings import read_change
from fastnn.kernels.schemes.scheme import (
    change_level,
    change_loss,
    combine,
    draw_whole,
    gather,
    hand_masks,
    moved_values,
    nudge_level,
    take_first,
)
from fastnn.kernels.vectors import clear, copy
from fastnn.kernels.work import LOSS, PERTURBATIONS, WEIGHT, span, total_scratch


@kernel(inline=True)
def carry_up(layout, theta, scheme, lowest, n_signs, column, n_readings, eps, n_samples, first, last, chunk, work):
    """Carry changes of a direction up from layer `lowest`, and put those of the outputs into columns.

    What the z below it have moved, where it is not the lowest of all, is in the arrays of turn 0.
    """
    top, turn = layout.activations.size, 0
    for layer in range(lowest, top):
        if layer > 0:
            change_level(layout, scheme, layer, turn, n_signs, n_samples, first, last, chunk, work)
        nudge_level(layout, theta, scheme, layer, turn, n_signs, layer > 0, eps, n_samples, first, last, chunk, work)
        turn = 1 - turn
    gather(layout, scheme, turn, n_signs, column, n_readings, n_samples, first, last, chunk)


@kernel(inline=True)
def sum_samples(packed, layout, scheme, loss, index, pitch, count, n_signs, n_samples, first, last, chunk, work):
    """Write changes of the loss of samples first to last along `count` directions, the first of them `index`."""
    for n in range(first, last):
        change_loss(packed, layout, scheme, loss, n, count * n_signs, n_samples, chunk, work)
        total = total_scratch(work, chunk, count * n_signs)
        for b in range(count):
            for sign in range(n_signs):
                change = work.measured[WEIGHT, n] * total[b * n_signs + sign]
                scheme.changes[n, (index + b * pitch) * n_signs + sign] = change


@unit
def run_read(packed, block, task, step, chunk):
    """Find how each sample's loss changes along this chunk's directions."""
    (layout, theta, _, _, work), (scheme, _) = unpack_scheme(packed)
    plan, n_samples = scheme.plan, block.n_samples
    shares = max(1, task.n_chunks // plan.q)  # of the samples, for each group of directions
    n_groups = task.n_chunks // shares
    if chunk >= shares * n_groups:
        return
    first, last = span(n_samples, chunk % shares, shares)
    n_signs = 2 if plan.is_central else 1
    drawn = line(scheme.drawn, chunk * scheme.drawn.shape[1], theta.size)
    index = chunk // shares
    while index < plan.q:
        count = min(PERTURBATIONS // n_signs, (plan.q - index + n_groups - 1) // n_groups)
        for b in range(count):
            if work.stop[0] != 0:
                return
            draw_whole(scheme, step, index + b * n_groups, chunk, drawn)
            carry_up(
                layout, theta, scheme, 0, n_signs, b * n_signs, count * n_signs, task.eps, n_samples, first, last,
                chunk, work,
            )  # fmt: skip
        sum_samples(
            packed, layout, scheme, task.loss, index, n_groups, count, n_signs, n_samples, first, last, chunk, work
        )
        index += count * n_groups


@unit
def run_read_stem(packed, block, task, step, chunk):
    """Find how the losses of this chunk's samples change along all directions, with layers below the dense ones.

    Those are run anew with nudged weights, in float64, up to the first dense layer's z: there two values are
    subtracted. From there on changes are carried.
    """
    (layout, theta, data, optimizer, work), (scheme, below) = unpack_scheme(packed)
    plan, n_samples, n_steps = scheme.plan, block.n_samples, below.stem.n_steps
    begin, end = span(n_samples // n_steps, chunk, task.n_chunks)
    first, last = begin * n_steps, end * n_steps
    n_signs = 2 if plan.is_central else 1
    drawn = line(scheme.drawn, chunk * scheme.drawn.shape[1], theta.size)
    nudged = line(below.theta, chunk * theta.size, theta.size)
    inner = pack(((layout, nudged, data, optimizer, below.work), below.stem))
    base = view(below.base, 0, n_samples, layout.sizes[1])
    for n in range(first, last):
        clear(base[n])
    hand_masks(layout, below, n_samples, first, last, work)
    copy(theta, nudged)
    call(below.units[0], inner, block, task, step, chunk)
    take_first(layout, below, n_samples, first, last, base, base)
    index = 0
    while index < plan.q:
        count = min(PERTURBATIONS // n_signs, plan.q - index)
        for b in range(count):
            draw_whole(scheme, step, index + b, chunk, drawn)
            for sign in range(n_signs):
                if work.stop[0] != 0:
                    return
                nudge = task.eps if sign == 0 else -task.eps
                for k in range(theta.size):
                    nudged[k] = np.float64(theta[k]) + nudge * np.float64(drawn[k])
                call(below.units[0], inner, block, task, step, chunk)
                moved = moved_values(layout, scheme, chunk, 0, sign, 1, n_samples)
                take_first(layout, below, n_samples, first, last, base, moved)
            carry_up(
                layout, theta, scheme, 1, n_signs, b * n_signs, count * n_signs, task.eps, n_samples, first, last,
                chunk, work,
            )  # fmt: skip
        sum_samples(packed, layout, scheme, task.loss, index, 1, count, n_signs, n_samples, first, last, chunk, work)
        index += count


@kernel(returns_view=True)
def readings_of(scheme, chunk):
    """Return a chunk's readings."""
    n_changes = scheme.changes.shape[1]
    return line(scheme.readings, chunk * (n_changes + 1), n_changes + (1 if has_base(scheme.plan) else 0))


@kernel(inline=True)
def add_readings(scheme, block, chunk, work):
    """Add a block's changes to those of the batch's mean loss; each chunk has its own copy."""
    n_changes, base = scheme.changes.shape[1], 1 if has_base(scheme.plan) else 0
    readings = readings_of(scheme, chunk)
    if block.opens:
        clear(readings)
        scheme.base[chunk] = 0.0
    for n in range(block.n_samples):
        scheme.base[chunk] += work.measured[LOSS, n] / block.batch_size
        changes = line(scheme.changes, n * n_changes, n_changes)
        for k in range(n_changes):
            readings[base + k] += changes[k] / block.batch_size


@unit
def run_move(packed, block, task, step, chunk):
    """Weigh the directions, put this chunk's entries of the estimate together, and take the step."""
    (_, theta, _, _, work), (scheme, _) = unpack_scheme(packed)
    plan = scheme.plan
    add_readings(scheme, block, chunk, work)
    if not block.closes:
        return
    readings = readings_of(scheme, chunk)
    if scheme.reading.noise > 0.0 or scheme.reading.levels > 0.0:
        base, first = scheme.base[chunk], (step - 1) * readings.size
        for k in range(readings.size):
            readings[k] = read_change(scheme.reading, first + k, base, readings[k])
    times = 1.0 / plan.q if plan.kind != Kind.COORDINATE else theta.size / plan.q
    for index in range(plan.q):
        scheme.weights[chunk, index] = times * weigh(plan, task.eps, readings, index)
    combine(scheme, block, step, chunk, task.n_chunks, work.gradient, theta)


UNITS = {"READ": run_read, "MOVE": run_move}
STEM_UNITS = {"READ": run_read_stem, "MOVE": run_move}
REPLACES = False
