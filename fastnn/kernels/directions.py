"""Directions that all weights are nudged along, and what each is weighed by: of networks and of black boxes.

A step has readings: with central differences two a direction, at ``theta + c d`` and ``theta - c d``; with forward
ones first the base, then one a direction; with ranks of forward readings no base.
"""

import math

from fastnn._compiler.jit import kernel
from fastnn.kernels.counter import fill_normals, fill_signs, shuffle
from fastnn.kernels.estimators import COLUMNS, ORDER, Kind, Shaping


@kernel
def has_base(plan):
    """Return whether the first reading is at the weights themselves."""
    return not plan.is_central and plan.shaping != Shaping.RANKS


@kernel
def find_place(plan, step):
    """Return a step's first place in the order of the sweep that it is of, 0 where there is none."""
    return step % (plan.n_rows // plan.q) * plan.q if plan.n_rows > 0 else 0


@kernel
def prepare(plan, step, room):
    """Draw the order of the sweep that a step is of, unless it is there, and return the step's first place in it."""
    if plan.n_rows == 0:
        return 0
    # The negatives of a code's rows are the next sweep, so that second derivatives cancel.
    n_sweeps = 2 if plan.kind == Kind.WALSH and not plan.is_central else 1
    sweep = step // (plan.n_rows // plan.q * n_sweeps)
    if room.held[0] != sweep:
        shuffle(plan.key, ORDER, sweep, 0, room.order.size, room.order)
        if plan.kind == Kind.WALSH:
            fill_signs(plan.key, COLUMNS, sweep, 0, 0, room.columns)
        room.held[0] = sweep
    return find_place(plan, step)


@kernel
def fill_entries(plan, step, index, row, columns, first, out):
    """Write entries `first` and on of a direction, a sphere's not scaled yet; first is a multiple of 128.

    The row of a code or of the coordinates is `row`, and columns the signs of the entries that are written.
    """
    if plan.kind == Kind.RADEMACHER:
        fill_signs(plan.key, plan.stream, step, index, first, out)
    elif plan.kind == Kind.WALSH:
        sign = 1.0
        if not plan.is_central and step // (plan.n_rows // plan.q) % 2 == 1:
            sign = -1.0
        for k in range(out.size):
            bits = row & (first + k)
            for shift in (16, 8, 4, 2, 1):
                bits ^= bits >> shift
            out[k] = sign * columns[k] * (1 - 2 * (bits & 1))
    elif plan.kind == Kind.COORDINATE:
        for k in range(out.size):
            out[k] = 1.0 if first + k == row else 0.0
    else:
        fill_normals(plan.key, plan.stream, step, index, first, out)


@kernel
def find_scale(plan, direction):
    """Return what makes a direction of what `fill_entries` wrote."""
    if plan.kind != Kind.SPHERE:
        return 1.0
    square = 0.0
    for k in range(direction.size):
        square += direction[k] * direction[k]
    return math.sqrt(direction.size / square)


@kernel
def fill_direction(plan, step, place, index, room):
    """Write a direction of a step, unless it is there; `place` is what `prepare` returned. Not for coordinates."""
    direction, held = room.direction, room.held
    if held[1] == plan.stream and held[2] == step and held[3] == index:
        return
    held[1], held[2], held[3] = plan.stream, step, index
    row = room.order[place + index] if plan.kind == Kind.WALSH else 0
    fill_entries(plan, step, index, row, room.columns, 0, direction)
    if plan.kind == Kind.SPHERE:
        scale = find_scale(plan, direction)
        for k in range(direction.size):
            direction[k] *= scale


@kernel
def rank(readings, value):
    """Return a reading's rank among those that are finite, from -1/2 to 1/2; equal ones share theirs."""
    below, equal, n_good = 0, 0, 0
    for other in readings:
        n_good += math.isfinite(other)
        below += other < value
        equal += other == value
    return (below + 0.5 * (equal - 1)) / (n_good - 1) - 0.5 if n_good > 1 else 0.0


@kernel
def weigh(plan, nudge, readings, index):
    """Return what a direction is weighed by, nan if one of its readings failed."""
    if plan.is_central:
        above, below, width = readings[2 * index], readings[2 * index + 1], 2.0 * nudge
    elif plan.shaping == Shaping.RANKS:
        above, below, width = readings[index], 0.0, nudge
    else:
        above, below, width = readings[index + 1], readings[0], nudge
    change = above - below
    if plan.shaping == Shaping.NONE or not math.isfinite(change):
        return change / width
    if plan.shaping == Shaping.SIGN:
        return 1.0 if change > 0.0 else -1.0 if change < 0.0 else 0.0
    return rank(readings, above) - (rank(readings, below) if plan.is_central else 0.0)
