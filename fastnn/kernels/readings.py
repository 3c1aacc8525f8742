"""What happens to a loss on its way to a reading."""

import math

from fastnn._compiler.jit import kernel
from fastnn.kernels.counter import draw_normals
from fastnn.kernels.estimators import NOISE


@kernel
def read_loss(reading, query, value):
    """Return what a query of that number reads."""
    if reading.noise > 0.0:
        value += reading.noise * draw_normals(reading.key, NOISE, query, 0, 0)[0]
    if reading.levels > 0.0:
        share = (min(max(value, reading.low), reading.high) - reading.low) / (reading.high - reading.low)
        value = reading.low + round(share * reading.levels) / reading.levels * (reading.high - reading.low)
    return value


@kernel
def read_change(reading, number, base, change):
    """Return by how much the reading of that number, the mean of its queries, is above a base.

    Without levels to round to, the mean of the queries' noise is drawn as one number, and the base is of no account.
    """
    if reading.levels == 0.0:
        return change + reading.noise / math.sqrt(reading.repeats) * draw_normals(reading.key, NOISE, number, 0, 0)[0]
    total = 0.0
    for repeat in range(reading.repeats):
        total += read_loss(reading, number * reading.repeats + repeat, base + change)
    return total / reading.repeats - base
