"""The forward gradient of the weights: the exact one, seen along random directions only."""

from fastnn._compiler.jit import kernel, line, unit, unpack_scheme
from fastnn.kernels.directions import Kind
from fastnn.kernels.schemes.scheme import combine, draw_whole, move_weights


@kernel(fastmath={"reassoc", "contract"})
def dot(a, b):
    """Return the product of two vectors, in which order is the compiler's choice; one for all numbers of threads."""
    total = 0.0
    for k in range(a.size):
        total += float(a[k]) * float(b[k])
    return total


@unit
def run_read(packed, block, task, step, chunk):
    """Find the slopes along this chunk's directions."""
    (_, _, _, _, work), (scheme, _) = unpack_scheme(packed)
    if not block.closes:
        return
    plan, size = scheme.plan, work.gradient.size
    times = 1.0 / plan.q if plan.kind != Kind.COORDINATE else size / plan.q
    drawn = line(scheme.drawn, chunk * scheme.drawn.shape[1], size)
    for index in range(chunk, plan.q, task.n_chunks):
        draw_whole(scheme, step, index, chunk, drawn)
        slope = times * dot(work.gradient, drawn)
        for other in range(task.n_chunks):
            scheme.weights[other, index] = slope


@unit
def run_move(packed, block, task, step, chunk):
    """Put this chunk's entries of the estimate together, and take the step."""
    (_, theta, _, _, work), (scheme, _) = unpack_scheme(packed)
    if not block.closes:
        return
    combine(scheme, step, chunk, task.n_chunks, work.gradient)
    move_weights(scheme, step, chunk, task.n_chunks, work.gradient, theta)


UNITS = {"READ": run_read, "MOVE": run_move}
STEM_UNITS = UNITS
REPLACES = False
MOVES = True
