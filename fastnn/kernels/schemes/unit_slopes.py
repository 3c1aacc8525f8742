"""The forward gradient of the units: each sample's exact delta, seen along random directions only."""

from fastnn._compiler.jit import kernel, line, unit, unpack_all, unpack_scheme
from fastnn.kernels.schemes.scheme import draw_units
from fastnn.kernels.schemes.units import copy_below, copy_units
from fastnn.kernels.vectors import clear
from fastnn.kernels.work import span


@kernel(returns_view=True)
def unit_vector(scheme, chunk, which):
    """Return one of a chunk's two vectors of a sample's units."""
    n_units = scheme.drawn.shape[1]
    return line(scheme.moved, (2 * chunk + which) * n_units, n_units)


@kernel(inline=True)
def project(scheme, step, number, chunk):
    """Write the mean of the projections of a chunk's first vector, of sample `number`, into its second."""
    exact, found = unit_vector(scheme, chunk, 0), unit_vector(scheme, chunk, 1)
    q, drawn = scheme.plan.q, line(scheme.drawn, chunk * exact.size, exact.size)
    clear(found)
    for index in range(q):
        draw_units(scheme, step, number * q + index, drawn)
        slope = 0.0
        for k in range(exact.size):
            slope += exact[k] * drawn[k]
        for k in range(found.size):
            found[k] += slope / q * drawn[k]


@unit
def run_back(packed, block, task, step, chunk):
    """Replace delta of this chunk's samples, of all levels together, by the mean of its projections."""
    (layout, _, _, _, work), (scheme, _) = unpack_scheme(packed)
    first, last = span(block.n_samples, chunk, task.n_chunks)
    exact, found = unit_vector(scheme, chunk, 0), unit_vector(scheme, chunk, 1)
    for n in range(first, last):
        copy_units(layout, n, 1, block.n_samples, False, exact, work)
        project(scheme, step, block.start + n, chunk)
        copy_units(layout, n, 1, block.n_samples, True, found, work)


@unit
def run_below(packed, block, task, step, chunk):
    """Replace the slopes of this chunk's samples with all sums, also below, by the mean of their projections."""
    (layout, _, _, _, work), stem, (scheme, _) = unpack_all(packed)
    first, last = span(block.n_samples // stem.n_steps, chunk, task.n_chunks)
    n_steps, n_samples = stem.n_steps, block.n_samples
    exact, found = unit_vector(scheme, chunk, 0), unit_vector(scheme, chunk, 1)
    for n in range(first, last):
        copy_units(layout, n, n_steps, n_samples, False, exact, work)
        copy_below(scheme, stem, n, False, exact)
        project(scheme, step, block.start // n_steps + n, chunk)
        copy_units(layout, n, n_steps, n_samples, True, found, work)
        copy_below(scheme, stem, n, True, found)


UNITS = {"BACK": run_back}
STEM_UNITS = {"BELOW": run_below}
REPLACES = False
