"""Where the numbers of layers with shared weights stand, and what their kernels are handed."""

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from fastnn._compiler.jit import kernel, line, view
from fastnn.kernels.activations import Activation, change_block, derivative_bounds, has_kink, kink_distance, taylor
from fastnn.kernels.work import SLOPE, A, Z

# Columns of Stem.table. A row is a level: what it holds, and, but for the inputs, the layer that writes it.
# Of the layer: its Activation, its kernel or window, the steps between two places of it, where its W starts in theta
# (its b follows) and its norms in Stem.norms, how many weights a filter has, how many filters there are and how many
# rows of biases, how many rows of weights and biases a sample meets, in how many shares its gradient is added, whether
# each of its channels comes of all those below, whether it passes on only some of what is below, whether it is
# recurrent (STRIP samples at a time, and any perturbation of its own moves all its channels), and whether what is below
# are numbers of rows of W.
# Of the level: its size; where its first unit stands in a sample's values and how far apart two rows of it are; the
# zeros above and to the left of it, which the layer above wants, and the whole map that they make; where its units are
# listed.
N_COLUMNS = 26
ACTIVATION, KERNEL_HEIGHT, KERNEL_WIDTH, STRIDE_HEIGHT, STRIDE_WIDTH = range(5)
WEIGHTS, NORMS, N_INPUTS, FILTERS, BIASES, N_MET, SHARES = range(5, 12)
MIXES, SELECTS, RECURRENT, LOOKS_UP = range(12, 16)
HEIGHT, WIDTH, CHANNELS, FIRST, PITCH, TOP, LEFT, MAP, MAP_SIZE, LIST = range(16, N_COLUMNS)
# Rows of Stem.values are those of Work.values: Z, A, SLOPE, and this one, the slope of the batch's mean loss with a,
# or, once `back` has passed, with z.
GRADIENT = 3
# Rows of Stem.reach: how far a perturbation moves z at most, and how far a; the same over some layers' perturbations.
REACH_Z, REACH_A, FARTHEST_Z, FARTHEST_A = range(4)
# Moves of z so small that a fourth term, at most 0.171 of their fourth power (`activations`), is less than the rounding
# of the first: 0.171 * 2**-51 < 2**-53.
SHORT = 2.0**-17
# Of Stem.verdicts: how the differences of a layer's weights are found, see `stem_series` and `stem_down`.
MEASURED, ONE_TERM, TWO_TERMS, DOWN = range(4)
# Perturbations stand in fours: four numbers of float64 fill a register.
LANES = 4
# Kinks of a sample that rows are pulled down for at most; with more of them within reach, all is carried up.
DOUBTS = 32


class Stem(NamedTuple):
    """The layers below the dense ones, and workspace for a block of samples; in the network's dtype or as said."""

    table: ndarray  # (n_layers + 1, N_COLUMNS) int64
    units: ndarray  # (n_layers, n_functions) addresses, see `layers.FUNCTIONS`
    values: ndarray  # (3 or 4, block, n_units), see GRADIENT
    transposed: ndarray  # (n_parameters,) each W as (filters, height, width, channels)
    norms: ndarray  # float64: for each layer, of each channel below and each filter, the sum of the absolute weights
    reach: ndarray  # (n_chunks, 4, n_layers + 1, most channels) float64, see REACH_Z
    listed: ndarray  # (n_chunks, n, 3) int64: row, column and channel of the units that are to be computed
    counts: ndarray  # (n_chunks, n_layers + 1) int64: how many of each level are listed
    behind: ndarray  # (n_chunks, n) float64: how far what is listed is below the largest of its window
    candidates: ndarray  # (n_chunks, n) int64: how many of what each listed window has are listed below it
    moved: ndarray  # (n_chunks, n) float64, see `moved_units`
    verdicts: ndarray  # (n_chunks, n_layers) int64, see MEASURED
    checked: ndarray  # (n_chunks, 4, CHECKED) float64, see `stem_series`
    bent: ndarray  # (n_chunks, n_slots, n) float32, see `stem_series`
    second: ndarray  # (block, n) float32, second coefficients of the topmost layer's weights
    pulled: ndarray  # (n_chunks, n) float64, see `pulled_rows`
    margins: ndarray  # (n_chunks, DOUBTS) float64: how far each row that is pulled down for a kink may move
    n_doubts: ndarray  # (n_chunks,) int64: how many these are, so far
    found: ndarray  # (block, n_parameters) float64: changes by perturbations of weights, see `stem_down`
    noise: ndarray  # (block, n_units), or no rows: what is added to the sums of units, see `add_noise`
    n_together: int  # perturbations that are carried together at most
    n_steps: int  # samples of the dense layers that one of these makes: steps of a sequence, else 1


class Part(NamedTuple):
    """What one call of a layer's kernel is about. Numbers only."""

    layer: int
    sample: int  # of the block
    channel: int  # the only one that is meant, -1 for all
    first: int  # the first perturbation, the share of a gradient, or the first column for kinks
    size: int  # how many perturbations or columns, padded to whole LANES, or samples
    eps: float  # with its sign
    chunk: int


@kernel(returns_view=True)
def sample_values(stem, kind, sample):
    """Return one kind of a sample's values, of all levels."""
    n_units = stem.values.shape[2]
    return line(stem.values, (kind * stem.values.shape[1] + sample) * n_units, n_units)


@kernel(returns_view=True)
def map_rows(stem, kind, sample, start, n_rows, n_columns):
    """Return a part of one kind of a sample's values as a matrix."""
    offset = (kind * stem.values.shape[1] + sample) * stem.values.shape[2]
    return view(stem.values, offset + start, n_rows, n_columns)


@kernel
def add_noise(stem, kind, sample, start, size):
    """Add noise, where there is any, to one kind of some of a sample's values: its sums, before they are activated."""
    if stem.noise.shape[0] > 0:
        out, noise = line(sample_values(stem, kind, sample), start, size), line(stem.noise[sample], start, size)
        for k in range(size):
            out[k] += noise[k]


@kernel
def unit_at(level, y, x, channel):
    """Return where a unit of a level, a row of the table, stands in a sample's values."""
    return level[FIRST] + y * level[PITCH] + x * level[CHANNELS] + channel


@kernel
def corner(below, here, y, x):
    """Return where in a sample's values the inputs of a place of a kernel begin."""
    return below[MAP] + y * here[STRIDE_HEIGHT] * below[PITCH] + x * here[STRIDE_WIDTH] * below[CHANNELS]


@kernel
def meets_same(stem, layer, sample, y, x, other_y, other_x):
    """Return whether a layer's kernel meets the same inputs at two places, in order."""
    below, here = stem.table[layer], stem.table[layer + 1]
    a = sample_values(stem, A, sample)
    place, other = corner(below, here, y, x), corner(below, here, other_y, other_x)
    for ky in range(here[KERNEL_HEIGHT]):
        for i in range(ky * below[PITCH], ky * below[PITCH] + here[KERNEL_WIDTH] * below[CHANNELS]):
            if a[place + i] != a[other + i]:
                return False
    return True


@kernel(returns_view=True)
def moved_units(stem, chunk, layer, n_units, count):
    """Return this chunk's changes of what a layer puts out, (n_units, count); layers take turns with two arrays."""
    each = stem.moved.shape[1] // 2
    return view(stem.moved, chunk * stem.moved.shape[1] + (layer % 2) * each, n_units, count)


@kernel
def moved_channels(level, channel):
    """Return how many channels of a level have moved."""
    return level[CHANNELS] if channel < 0 else 1


@kernel(returns_view=True)
def reach_of(stem, chunk, which, level):
    """Return how far perturbations move each channel of a level at most, (channels,)."""
    _, n_kinds, n_levels, most = stem.reach.shape
    start = ((chunk * n_kinds + which) * n_levels + level) * most
    return line(stem.reach, start, stem.table[level, CHANNELS])


@kernel(returns_view=True)
def pulled_rows(stem, chunk, level, n_columns):
    """Return the slopes of what is pulled down with each unit that is listed, (n_listed, n_columns).

    Columns are the units of the first dense layer, and kinks that a perturbation may cross; the last may be nothing's.
    """
    start = chunk * stem.pulled.shape[1] + stem.table[level, LIST] * n_columns
    return view(stem.pulled, start, stem.counts[chunk, level], n_columns)


@kernel
def doubt(stem, chunk, margin):
    """List a kink, which only moves of its column by more than a margin, up or down, can cross; return its number."""
    number = stem.n_doubts[chunk]
    stem.margins[chunk, number] = margin
    stem.n_doubts[chunk] = number + 1
    return number


@kernel
def is_doubtful(stem, level, sample, chunk, unit, channel):
    """Return if perturbations may take a unit across a kink."""
    code, reach = stem.table[level, ACTIVATION], reach_of(stem, chunk, REACH_Z, level)[channel]
    return has_kink(code) and not kink_distance(code, np.float64(sample_values(stem, Z, sample)[unit])) > reach


@kernel
def is_still(stem, level, sample, chunk, unit, channel):
    """Return if no perturbation moves a unit: a rectifier that stays off."""
    here = stem.table[level]
    if here[ACTIVATION] != Activation.RELU:
        return False
    return sample_values(stem, Z, sample)[unit] < -reach_of(stem, chunk, REACH_Z, level)[channel]


@kernel
def change_unit(stem, level, sample, chunk, unit, channel, row):
    """Replace changes of a unit's z (n_perturbations,) by those of a.

    Off a kink, straight lines are followed in one step, and others, where moves are `SHORT`, by three terms of
    their series.
    """
    code = stem.table[level, ACTIVATION]
    reach = reach_of(stem, chunk, REACH_Z, level)[channel]
    z, a = np.float64(sample_values(stem, Z, sample)[unit]), np.float64(sample_values(stem, A, sample)[unit])
    slope = np.float64(sample_values(stem, SLOPE, sample)[unit])
    is_straight = derivative_bounds(code)[1] == 0.0
    if not (is_straight or reach <= SHORT) or (has_kink(code) and not kink_distance(code, z) > reach):
        change_block(code, z, a, slope, row)
    elif not is_straight:
        second, third = taylor(code, z, a, slope)
        for b in range(row.size):
            row[b] *= slope + row[b] * (second + row[b] * third)
    elif slope != 1.0:
        for b in range(row.size):
            row[b] *= slope


@kernel
def list_unit(stem, level, chunk, count, y, x, channel):
    """List a unit of a level as number `count`."""
    entry = stem.table[level, LIST] + count
    stem.listed[chunk, entry, 0] = y
    stem.listed[chunk, entry, 1] = x
    stem.listed[chunk, entry, 2] = channel


@kernel
def list_all(stem, level, channel, chunk):
    """List all units of a level, or those of a channel, as they stand."""
    here = stem.table[level]
    first, last = (0, here[CHANNELS]) if channel < 0 else (channel, channel + 1)
    count = 0
    for y in range(here[HEIGHT]):
        for x in range(here[WIDTH]):
            for c in range(first, last):
                list_unit(stem, level, chunk, count, y, x, c)
                count += 1
    stem.counts[chunk, level] = count


@kernel
def met_row(stem, layer, sample, k):
    """Return which row of a layer's weights and biases a sample meets as its k-th, -1 for one that it met before."""
    if stem.table[layer + 1, LOOKS_UP] == 0:
        return k
    tokens = sample_values(stem, A, sample)
    first = stem.table[layer, FIRST]
    for earlier in range(k):
        if tokens[first + earlier] == tokens[first + k]:
            return np.int64(-1)
    return np.int64(tokens[first + k])


@kernel
def copy_image(stem, x, sample):
    """Copy a sample (height * width * channels,) into the lowest level."""
    here = stem.table[0]
    a = sample_values(stem, A, sample)
    size = here[WIDTH] * here[CHANNELS]
    for y in range(here[HEIGHT]):
        start = here[FIRST] + y * here[PITCH]
        for i in range(size):
            a[start + i] = x[y * size + i]


class Geometry(NamedTuple):
    """What a layer makes of the level below, or the inputs alone (for Python); a sequence is an image of one row."""

    height: int
    width: int
    channels: int
    activation: int = Activation.IDENTITY
    kernel_size: tuple[int, int] = (1, 1)  # or that of a window
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # zeros above, below, left and right that it wants there
    n_inputs: int = 0  # of a unit: weights of a filter, without its bias
    n_filters: int = 0
    n_biases: int = 0  # of a filter
    shapes: tuple[tuple[int, ...], ...] = ()  # of the arrays that these make
    n_shares: int = 0
    has_z: bool = False  # its units have an activation
    mixes: bool = False
    selects: bool = False
    is_recurrent: bool = False
    looks_up: bool = False
    n_before: int = 0  # numbers that it keeps besides those of its units, before them
    n_moved: int = 0  # rows of changes that it needs room for, where those are more than its units
    sums: tuple[int, int] = (0, 0)  # of a recurrent layer, where its sums z begin, from its first unit on; how many

    @property
    def size(self) -> int:
        """Units of the level."""
        return self.height * self.width * self.channels

    @property
    def n_weights(self) -> int:
        """Weights and biases of the layer."""
        return (self.n_inputs + self.n_biases) * self.n_filters


def slide(length: int, kernel_size: int, stride: int) -> int:
    """Return (to Python) at how many places a kernel fits."""
    return (length - kernel_size) // stride + 1


class Sizes(NamedTuple):
    """How much of everything a stem has (for Python)."""

    n_units: int  # of a sample, with the zeros around them
    n_weights: int  # and biases
    n_norms: int
    n_listed: int
    widest: int  # units that move together


def count_listed(levels: list[Geometry]) -> list[int]:
    """Return (to Python) how many units of each level are listed at most: what is in two windows is listed twice."""
    counts = [levels[-1].size]
    for level, above in zip(levels[-2::-1], levels[:0:-1], strict=True):
        counts.append(counts[-1] * above.kernel_size[0] * above.kernel_size[1] if above.selects else level.size)
    return counts[::-1]


def make_table(levels: list[Geometry]) -> tuple[ndarray, Sizes]:
    """Return (to Python) the table of the inputs, levels[0], and the levels above them, and its sizes."""
    table = np.zeros((len(levels), N_COLUMNS), np.int64)
    n_units = n_weights = n_norms = n_listed = 0
    counts = count_listed(levels)
    for k, (here, level, above, count) in enumerate(zip(table, levels, [*levels[1:], None], counts, strict=True)):
        top, bottom, left, right = above.padding if above else (0, 0, 0, 0)
        here[[ACTIVATION, SHARES]] = level.activation, level.n_shares
        here[[N_INPUTS, FILTERS, BIASES]] = level.n_inputs, level.n_filters, level.n_biases
        here[N_MET] = levels[k - 1].width if level.looks_up else level.n_inputs + level.n_biases
        here[[MIXES, SELECTS]] = level.mixes, level.selects
        here[[RECURRENT, LOOKS_UP]] = level.is_recurrent, level.looks_up
        here[[KERNEL_HEIGHT, KERNEL_WIDTH]], here[[STRIDE_HEIGHT, STRIDE_WIDTH]] = level.kernel_size, level.strides
        here[WEIGHTS], here[NORMS], here[LIST] = n_weights, n_norms, n_listed
        here[[HEIGHT, WIDTH, CHANNELS]] = level.height, level.width, level.channels
        here[[TOP, LEFT, MAP]] = top, left, n_units + level.n_before
        here[PITCH] = (left + level.width + right) * level.channels
        here[MAP_SIZE] = (top + level.height + bottom) * here[PITCH]
        here[FIRST] = here[MAP] + top * here[PITCH] + left * level.channels
        n_units += level.n_before + int(here[MAP_SIZE])
        n_weights += level.n_weights
        n_norms += levels[k - 1].channels * level.n_filters  # which the inputs have none of
        n_listed += count
    return table, Sizes(n_units, n_weights, n_norms, n_listed, max(*counts, *(level.n_moved for level in levels)))
