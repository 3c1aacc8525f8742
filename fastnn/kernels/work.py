"""What kernels are handed besides the network: the samples, the task and the room to work in."""

from enum import IntEnum
from typing import NamedTuple

from numpy import ndarray

from fastnn._jit import kernel, view
from fastnn.kernels.layout import level_values

# Nudges carried together: 64 columns of float64 keep a level of 500 units in 256 kB of cache.
NUDGES = 64
ROOMS = 7
# Rows of Work.values.
Z, A, SLOPE, DELTA = range(4)
# Rows of Work.checks: the size of a sample's differences, the bound of what their
# series leaves out, and whether they are measured by the direct kernel instead.
SIZE, BOUND, DIRECT = range(3)


class Method(IntEnum):
    """How a gradient is found."""

    NONE = 0  # the loss alone
    BACKPROP = 1
    DIRECT = 2
    SERIES = 3


class Data(NamedTuple):
    """Samples and the order in which to visit them."""

    x: ndarray  # (n, n_inputs), the network's dtype
    y: ndarray  # (n, n_outputs), the network's dtype
    order: ndarray  # (n_epochs or 1, n) int64, row numbers


class Task(NamedTuple):
    """What is measured, and how. Codes and numbers only."""

    loss: int  # Loss
    method: int  # Method
    central: bool  # central differences, else forward
    eps: float
    tolerance: float  # of what a series leaves out, relative to the layer's differences
    strict: bool  # refuse a sample whose series leaves out more, else measure it directly
    n_chunks: int  # threads to share the work; 1 is the serial path


class Block(NamedTuple):
    """Which samples are at hand, and how they count. Numbers only."""

    row: int  # of Data.order
    start: int  # in that row
    n_samples: int
    batch_size: int  # samples of the whole batch, over which the mean is taken
    opens: bool  # the first block of its batch


class Work(NamedTuple):
    """Room for one block of samples, in float64 for perturbation, else in the network's dtype."""

    y: ndarray  # (block, n_outputs)
    values: ndarray  # (4, block * n_units) z, a, slope, and delta = d loss / d z
    measured: ndarray  # (block, 2) float64, each sample's loss and number of right decisions
    gradient: ndarray  # (n_parameters,)
    transposed: ndarray  # (n_parameters,) float64, each W transposed; empty unless perturbing
    room: ndarray  # (n_chunks, n) float64, see `total_room` and on; empty unless perturbing
    checks: ndarray  # (3, n_layers, block) float64
    series: ndarray  # (2, 3 * block * n_units) float64, powers and coefficients; empty unless by series


@kernel
def values(layout, work, kind, level, n_samples):
    """Return one kind of a level's values, (n_samples, n_units)."""
    return level_values(layout, work.values[kind], level, n_samples)


@kernel
def total_room(work, chunk, n_nudges):
    """Return this chunk's sums, (n_nudges,)."""
    return view(work.room[chunk], 0, 1, n_nudges)[0]


@kernel
def scratch_room(work, chunk, n_nudges):
    """Return this chunk's room for a row of nudges, (n_nudges,)."""
    return view(work.room[chunk], NUDGES, 1, n_nudges)[0]


@kernel
def norm_room(work, chunk, n_layers):
    """Return this chunk's room for two norms of every W, (2, n_layers)."""
    return view(work.room[chunk], 2 * NUDGES, 2, n_layers)


@kernel
def moved_room(work, chunk, which, n_units, n_nudges):
    """Return one of this chunk's rooms for changes, (n_units, n_nudges).

    Rooms 0 and 1 for the direct kernel, 0 to 5 and, of three units, 6 for jets.
    """
    start = 2 * NUDGES + 2 * work.checks.shape[1]
    each = (work.room.shape[1] - start) // ROOMS
    return view(work.room[chunk], start + which * each, n_units, n_nudges)


def room_size(n_layers: int, widest: int) -> int:
    """Return (to Python) how much room a chunk needs when the widest level above the inputs has that many units."""
    return 2 * NUDGES + 2 * n_layers + ROOMS * max(widest, 3) * NUDGES


@kernel
def span(n, chunk, n_chunks):
    """Return the first and last of n rows that are this chunk's, cut at multiples of four for the product's tiles."""
    tiles = (n + 3) // 4
    first = tiles * chunk // n_chunks * 4
    last = tiles * (chunk + 1) // n_chunks * 4
    return min(first, n), min(last, n)
