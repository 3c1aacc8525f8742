"""The forward gradient of the units: each sample's exact delta, seen along random directions only."""

from fastnn._compiler.jit import line, unit, unpack_scheme
from fastnn.kernels.schemes.scheme import draw_units
from fastnn.kernels.vectors import clear, copy
from fastnn.kernels.work import DELTA, span, values


@unit
def run_back(packed, block, task, step, chunk):
    """Replace delta of this chunk's samples, of all levels together, by the mean of its projections."""
    (layout, _, _, _, work), (scheme, _) = unpack_scheme(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    n_inputs, n_units, q = layout.sizes[0], scheme.drawn.shape[1], scheme.plan.q
    drawn = line(scheme.drawn, chunk * n_units, n_units)
    found = line(scheme.moved, chunk * scheme.moved.shape[1], n_units)
    for n in range(first, last):
        clear(found)
        for index in range(q):
            draw_units(scheme, step, (block.start + n) * q + index, drawn)
            slope = 0.0
            for level in range(1, layout.sizes.size):
                delta = values(layout, work, DELTA, level, block.n_samples)[n]
                noise = line(drawn, layout.starts[0, level] - n_inputs, delta.size)
                for k in range(delta.size):
                    slope += delta[k] * noise[k]
            for k in range(n_units):
                found[k] += slope / q * drawn[k]
        for level in range(1, layout.sizes.size):
            delta = values(layout, work, DELTA, level, block.n_samples)[n]
            copy(line(found, layout.starts[0, level] - n_inputs, delta.size), delta)


UNITS = {"BACK": run_back}
STEM_UNITS = None
REPLACES = False
