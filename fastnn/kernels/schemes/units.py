"""A sample's units, all of them in one vector: those of the layers below first, then the dense ones', steps within."""

from fastnn._compiler.jit import kernel, line
from fastnn.kernels.layers.maps import GRADIENT, sample_values
from fastnn.kernels.vectors import copy
from fastnn.kernels.work import DELTA, values

# Columns of Scheme.places, a row a stretch of sums: whose they are, counted among the layers below that have weights,
# where they begin in a sample's values, and how many they are.
LAYER, START, SIZE = range(3)


@kernel(inline=True)
def count_below(scheme):
    """Return how many layers below the dense ones have units."""
    n_places = scheme.places.shape[0]
    return scheme.places[n_places - 1, LAYER] + 1 if n_places > 0 else 0


@kernel(inline=True)
def copy_units(layout, n, n_steps, n_samples, is_written, vector, work):
    """Copy delta of sample n's dense units, the last of all, from a vector, or into it."""
    first = vector.size
    for level in range(layout.sizes.size - 1, 0, -1):
        delta = values(layout, work, DELTA, level, n_samples)
        for t in range(n_steps - 1, -1, -1):
            row = delta[n * n_steps + t]
            first -= row.size
            part = line(vector, first, row.size)
            if is_written:
                copy(part, row)
            else:
                copy(row, part)


@kernel(inline=True)
def copy_below(scheme, stem, n, is_written, vector):
    """Copy the slopes with sample n's sums below the dense layers, the first of all, from a vector, or into it."""
    gradient, first = sample_values(stem, GRADIENT, n), 0
    for k in range(scheme.places.shape[0]):
        size = scheme.places[k, SIZE]
        row, part = line(gradient, scheme.places[k, START], size), line(vector, first, size)
        first += size
        if is_written:
            copy(part, row)
        else:
            copy(row, part)
