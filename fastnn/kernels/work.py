"""What kernels are handed besides the network: the samples, the task and a workspace."""

from enum import IntEnum
from typing import NamedTuple

from numpy import ndarray

from fastnn._compiler.jit import kernel, line, view
from fastnn.kernels.layout import level_values, weights_start

# Perturbations carried together: 64 columns of float64 keep a level of 500 units in 256 kB of cache.
PERTURBATIONS = 64
STRIP = 8  # rows, those of the product's largest tile
# Rows of Work.values. With d a perturbation of z, the batch's mean loss changes by
# delta d + second d**2 / eps + third d**3 / eps**2; grad_a is its slope with a; DIRECT is how large an
# input of this unit must be to be measured directly, inf if none is. TAYLOR are an activation's second and third
# coefficients, CURVATURE those times grad_a, or, of the outputs, the loss's own. SCRATCH is anybody's. Where units are
# dropped there is one more row, the last, see `dropout.masks`.
KINDS = 13
Z, A, SLOPE, DELTA, DIRECT, GRAD_A, SECOND, THIRD, TAYLOR2, TAYLOR3, CURVATURE2, CURVATURE3, SCRATCH = range(KINDS)
COEFFICIENTS = DELTA, SECOND, THIRD
# Rows of Work.checks: the size of a sample's differences in a layer, the bound of what their
# series leaves out, how far its perturbations move z at most, and how large an input must be to be measured
# directly in every unit.
CHECKS = 4
SIZE, BOUND, LARGEST_MOVE, REACH = range(CHECKS)
WIDE = 256  # inputs that are taken in two parts
# Rows of Work.measured: a sample's loss, its correct predictions, how much it counts, what its higher
# coefficients are proportional to (see `losses.residual_scale`), and its largest input in each part of them.
MEASURED = 6
LOSS, CORRECT, WEIGHT, RESIDUAL_SCALE, LARGEST_INPUT = range(MEASURED - 1)  # of two parts at most: `count_parts`
# Rows of Work.listed: inputs that move a unit, those that are large enough, and of the perturbations that are
# carried together the inputs and the units.
LISTED, PICKED, GATHERED, UNITS = range(4)
# Rows of Work.norms.
LARGEST, SUM = range(2)
# Of PERTURBATIONS columns and the widest level's rows: two pairs for coefficients, one for a row of means, and from
# PACKED on a pair for weights.
PACKED = 5
N_TAYLOR = PACKED + 2


class Method(IntEnum):
    """How a gradient is found."""

    NONE = 0  # the loss alone
    BACKPROP = 1
    DIRECT = 2
    SERIES = 3


class Data(NamedTuple):
    """Samples and the order in which to visit them."""

    x: ndarray  # (n, n_inputs), the network's dtype
    y: ndarray  # (n, n_outputs), the network's dtype; one more column if samples are weighted, then if each is counted
    order: ndarray  # (n_epochs or 1, n) int64, row numbers; with sequences those of y, each sample's steps in a row


class Task(NamedTuple):
    """What is measured, and how. Codes and numbers only."""

    loss: int  # Loss, or -1 to measure none
    method: int  # Method
    central: bool  # central differences, else forward
    eps: float
    n_terms: int  # of the series; three when those leave out too much
    tolerance: float  # of what a series leaves out, relative to the layer's differences
    enough: float  # the same, of two terms, above which there are three
    strict: bool  # refuse a sample whose series leaves out more, else measure it directly
    together: bool  # all entries of an array perturbed at once; directly only
    n_chunks: int  # threads to share the work; 1 is the serial path


class Block(NamedTuple):
    """Which samples are at hand, and how they count. Numbers only."""

    row: int  # of Data.order
    start: int  # in that row
    n_samples: int
    batch_size: int  # samples of the whole batch, over which the mean is taken
    opens: bool  # the first block of its batch
    closes: bool  # the last


class Work(NamedTuple):
    """Workspace for one block of samples, in the network's dtype where no other is said."""

    y: ndarray  # (block, n_outputs)
    values: ndarray  # (n_kinds, block * n_units), see Z and on
    ones: ndarray  # (1, block), a bias's inputs
    measured: ndarray  # (MEASURED, block) float64, see LOSS and on
    gradient: ndarray  # (n_parameters,)
    transposed: ndarray  # (3 or 1, n_parameters) each W transposed, its squares and cubes; empty for the loss alone
    norms: ndarray  # (2, n_units) float64, of each unit's incoming weights, absolute: the largest, the sum
    checks: ndarray  # (CHECKS, n_layers, block) float64
    taylor: ndarray  # (n_chunks, n) of PERTURBATIONS columns, see `taylor_scratch`; empty unless by series, and deep
    scratch: ndarray  # (n_chunks, n) float64, see `total_scratch` and on, and a count last; only that unless perturbing
    listed: ndarray  # (n_chunks, 4, widest + PERTURBATIONS) int64, see LISTED and on
    stop: ndarray  # (1,) int64, not 0 as soon as nobody wants this step any more
    carry: ndarray  # (1,) the address of `direct.run_carry`, where a step has use for it


@kernel(returns_view=True)
def values(layout, work, kind, level, n_samples):
    """Return one kind of a level's values, (n_samples, n_units)."""
    return level_values(layout, work.values, kind, level, n_samples)


@kernel
def count_parts(layout):
    """Return into how many parts the inputs are cut: two where there are many, else one.

    With two, a core reads those rows of the first weights that it moves in the descent,
    from its own cache, where with one it waits for what the other has just written: 194 us
    instead of 256 a step of 784-100-10, batch 32, float64; 105 instead of 124 in float32.
    """
    return 2 if layout.sizes[0] >= WIDE else 1


@kernel(returns_view=True)
def stretch(layout, work, kind, level, n_samples, first, last):
    """Return one kind of a level's values for samples first to last as a vector.

    Loops over it pay their start once: 32 samples of 10 units in 0.1 us instead of 2.
    """
    n_units = layout.sizes[level]
    start = kind * work.values.shape[1] + layout.starts[0, level] * n_samples + first * n_units
    return line(work.values, start, (last - first) * n_units)


@kernel(returns_view=True)
def transposed_weights(layout, work, layer, power):
    """Return layer's W transposed, (n_out, n_in); power 1 for its squares, 2 for its cubes."""
    n_in = layout.sizes[layer]
    n_out = layout.sizes[layer + 1]
    start = power * work.transposed.shape[1] + weights_start(layout, layer)
    return view(work.transposed, start, n_out, n_in)


@kernel(returns_view=True)
def unit_norms(layout, work, which, level):
    """Return one kind of norm of the weights into each unit of a level, (n_units,)."""
    return line(work.norms, which * work.norms.shape[1] + layout.starts[0, level], layout.sizes[level])


@kernel
def is_weighted(data, work):
    """Return if samples count differently."""
    return data.y.shape[1] > work.y.shape[1]


@kernel
def share(block, work, n):
    """Return what sample n's loss is multiplied by in the batch's mean."""
    return work.measured[WEIGHT, n] / block.batch_size


@kernel(returns_view=True)
def taylor_scratch(work, chunk, which, n_rows, n_perturbations):
    """Return one of this chunk's N_TAYLOR, (n_rows, n_perturbations)."""
    each = work.taylor.shape[1] // N_TAYLOR
    return view(work.taylor, (chunk * N_TAYLOR + which) * each, n_rows, n_perturbations)


@kernel(returns_view=True)
def total_scratch(work, chunk, n_perturbations):
    """Return this chunk's sums, (n_perturbations,)."""
    return line(work.scratch, chunk * work.scratch.shape[1], n_perturbations)


@kernel(returns_view=True)
def row_scratch(work, chunk, n_perturbations):
    """Return this chunk's scratch for a row of perturbations, (n_perturbations,)."""
    return line(work.scratch, chunk * work.scratch.shape[1] + PERTURBATIONS, n_perturbations)


@kernel(returns_view=True)
def change_scratch(work, chunk, which, n_units, n_perturbations):
    """Return one of this chunk's two arrays of changes, (n_units, n_perturbations)."""
    each = (work.scratch.shape[1] - 2 * PERTURBATIONS) // 2
    return view(
        work.scratch, chunk * work.scratch.shape[1] + 2 * PERTURBATIONS + which * each, n_units, n_perturbations
    )


def scratch_size(widest: int) -> int:
    """Return (to Python) how much scratch a chunk needs when the widest level above the inputs has that many units."""
    return 2 * PERTURBATIONS + 2 * widest * PERTURBATIONS + 1


@kernel
def count_direct(layout, layer, n_perturbations, chunk, work):
    """Count what perturbations of a layer's weights cost that are measured directly, in ns, at the end of the scratch.

    About one, and one more for each unit that is moved.
    """
    moved = 1
    for level in range(layer + 2, layout.sizes.size):
        moved += layout.sizes[level]
    work.scratch[chunk, work.scratch.shape[1] - 1] += n_perturbations * moved


@kernel
def sum_direct(work):
    """Return what `count_direct` has counted, all chunks together."""
    total = 0.0
    for chunk in range(work.scratch.shape[0]):
        total += work.scratch[chunk, work.scratch.shape[1] - 1]
    return total


def taylor_size(widest: int) -> int:
    """Return (to Python) the size of a chunk's arrays of coefficients."""
    return N_TAYLOR * widest * PERTURBATIONS


@kernel
def span(n, chunk, n_chunks):
    """Return the first and last of n rows that are this chunk's, cut at multiples of the product's eight."""
    tiles = (n + 7) // 8
    first = tiles * chunk // n_chunks * 8
    last = tiles * (chunk + 1) // n_chunks * 8
    return min(first, n), min(last, n)
