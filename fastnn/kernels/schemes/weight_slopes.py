"""The forward gradient of the weights: the exact one, seen along random directions only."""

import math

from fastnn._compiler.jit import kernel, line, unit, unpack_scheme
from fastnn.kernels.estimators import Kind
from fastnn.kernels.schemes.scheme import PART, combine, draw, hold, is_held, scale_entries
from fastnn.kernels.vectors import dot


@kernel(inline=True)
def draw_along(scheme, step, index, chunk, gradient):
    """Draw a direction, part by part, keep it where it is held, and return the slope along it."""
    slope, square, size = 0.0, 0.0, gradient.size
    drawn = line(scheme.drawn, chunk * scheme.drawn.shape[1], size)
    for start in range(0, size, PART):
        n = min(PART, size - start)
        part = line(drawn, start, n) if is_held(scheme) else line(scheme.parts, chunk * PART, n)
        draw(scheme, step, index, start, part)
        slope += dot(line(gradient, start, n), part)
        if scheme.plan.kind == Kind.SPHERE:
            square += dot(part, part)
    scale = math.sqrt(size / square) if scheme.plan.kind == Kind.SPHERE else 1.0
    hold(scheme, index, chunk, scale)
    scale_entries(scheme.plan, scale, drawn)
    return scale * slope


@unit
def run_read(packed, block, task, step, chunk):
    """Find the slopes along this chunk's directions."""
    (_, _, _, _, work), (scheme, _) = unpack_scheme(packed)
    if not block.closes:
        return
    plan, size = scheme.plan, work.gradient.size
    times = 1.0 / plan.q if plan.kind != Kind.COORDINATE else size / plan.q
    for index in range(chunk, plan.q, task.n_chunks):
        slope = times * draw_along(scheme, step, index, chunk, work.gradient)
        for other in range(task.n_chunks):
            scheme.weights[other, index] = slope


@unit
def run_move(packed, block, task, step, chunk):
    """Put this chunk's entries of the estimate together, and take the step."""
    (_, theta, _, _, work), (scheme, _) = unpack_scheme(packed)
    if not block.closes:
        return
    combine(scheme, block, step, chunk, task.n_chunks, work.gradient, theta)


UNITS = {"READ": run_read, "MOVE": run_move}
STEM_UNITS = UNITS
REPLACES = False
