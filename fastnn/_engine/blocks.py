"""Steps whose batch is cut into blocks of samples: each is measured by itself, here or elsewhere, and then all move."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastnn._compiler.jit import entry_point
from fastnn._engine.loop import ORDER_LENGTH, Loop, Snapshot, draw_orders, measure
from fastnn._engine.plan import count_steps
from fastnn._engine.recipe import Recipe, find_edges
from fastnn._engine.workspace import has_dropout, make_data, parameter_shapes
from fastnn._support.validate import Array
from fastnn.kernels import optimizers
from fastnn.kernels.layout import Layout
from fastnn.kernels.optimizers import Update
from fastnn.kernels.training import End
from fastnn.kernels.work import Data, Task

# Of a block: the summed loss, the number of correct predictions, and the gradient of its mean loss, flat.
Found = tuple[float, float, Array]


@entry_point
def move(optimizer, step, edges, are_biases, gradient, theta):
    """See `fastnn.kernels.optimizers.move`; all parameters."""
    optimizers.move(optimizer, step, edges, are_biases, 0, gradient.size, gradient, theta)


class Job(NamedTuple):
    """What is measured of blocks."""

    layout: Layout
    task: Task
    recipe: Recipe | None
    block_size: int


class Piece(NamedTuple):
    """A block of a batch, or what of it is in one part of the samples."""

    part: int
    rows: Array  # in that part
    slot: int  # its number in the batch


# Of weights, the steps that were taken before, and pieces of a batch: what each of these is measured to be.
Measure = Callable[[Array, int, list[Piece]], Iterable[Found]]


def take_rows(x: Array, y: Array, rows: Array) -> tuple[Array, Array]:
    """Return copies of some rows of samples, and of all that y has of them."""
    n_steps = len(y) // x.shape[0]
    return x[rows], y.reshape(x.shape[0], n_steps, -1)[rows].reshape(len(rows) * n_steps, -1)


def measure_piece(job: Job, theta: Array, x: Array, y: Array, rows: Array, slot: int, done: int) -> Found:
    """Return what is found of some rows of samples, of which y may have a row for each step.

    A sample's noise, and what is dropped, is drawn by its place in the batch: so the rows stand where their slot
    begins, behind room that nobody looks at. They are copied, since what came over a wire may not be aligned, for which
    nothing is compiled.
    """
    n_rows = len(rows)
    batch = slot if has_dropout(job.layout) or (job.recipe and job.recipe.of_units) else 0
    order = np.zeros((1, batch * job.block_size + n_rows), np.int64)
    order[0, -n_rows:] = np.arange(n_rows)
    data = make_data(*take_rows(x, y, rows), order)
    return measure(job.layout, theta, data, job.task, job.recipe, job.block_size, batch, done)


class Here:
    """Parts of samples that are at hand, measured one after another.

    Parameters
    ----------
    job : Job
    parts : sequence of (x, y)
    """

    def __init__(self, job: Job, parts: Sequence[tuple[Array, Array]]) -> None:
        self._job, self._parts = job, parts
        self.sizes = [x.shape[0] for x, _ in parts]

    def measure(self, theta: Array, done: int, pieces: list[Piece]) -> list[Found]:
        """See `Measure`."""
        return [measure_piece(self._job, theta, *self._parts[part], rows, slot, done) for part, rows, slot in pieces]


class BlockLoop(Loop):
    """A loop each of whose steps is made of blocks, and ends a run.

    Parameters
    ----------
    sizes : list of int
        Samples in each part; no block is of two.
    measure : Measure
    job : Job
    theta, update, batch_size, done, previous
        As for `Loop`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        measure: Measure,
        job: Job,
        theta: Array,
        update: Update,
        batch_size: int,
        done: int,
        previous: Loop | None = None,
    ) -> None:
        super().__init__(job.layout, theta, job.task, update, sum(sizes), batch_size, done, job.recipe, previous)
        self._is_watched = False
        self._sizes, self._measure, self._block_size = sizes, measure, job.block_size
        self._sums = np.empty((2, theta.size))  # kept: new memory took longer than what is computed in it
        self._edges, self._are_biases = find_edges(parameter_shapes(job.layout))

    def draw_orders(self, epochs: int, rng: np.random.Generator | None) -> Array:
        """Return orders as `loop.draw_orders` does, but that whole blocks are of one part."""
        if rng is None or len(self._sizes) == 1:
            return draw_orders(self.n_samples, epochs, rng)
        n_epochs = min(epochs, max(1, ORDER_LENGTH // self.n_samples))
        return np.array([draw_order(self._sizes, self._block_size, rng) for _ in range(n_epochs)])

    def _train(self, start: Snapshot, stop: int, totals: Array) -> tuple[int, End]:
        """Take one step: nothing is written before all blocks are there."""
        step, order, n_steps = start.first, start.data.order, count_steps(self.layout)
        epoch, batch = divmod(step, self.n_batches)
        first, last = batch * self.batch_size, min((batch + 1) * self.batch_size, self.n_samples)
        rows = order[epoch % len(order), first * n_steps : last * n_steps : n_steps] // n_steps
        pieces = cut(rows, self._block_size, self._sizes)
        loss, correct, (gradient, share) = 0.0, 0.0, self._sums
        gradient[:] = 0.0
        for piece, found in zip(pieces, self._measure(self.theta, start.done + step, pieces), strict=True):
            loss += found[0]
            correct += found[1]
            gradient += np.multiply(found[2], len(piece.rows) / len(rows), out=share, dtype=np.float64)
        if not math.isfinite(loss):
            return step, End.DIVERGED
        update = start.update._replace(moments=self.update.moments, clip_norm=math.inf)
        with np.errstate(over="ignore"):
            norm = math.sqrt(np.square(gradient, out=share).sum())
        if norm > start.update.clip_norm:
            gradient *= start.update.clip_norm / norm if norm < math.inf else math.nan
        slope = gradient.astype(self.theta.dtype, copy=False)
        move(update, start.done + step + 1, self._edges, self._are_biases, slope, self.theta)
        totals[epoch] += loss, correct
        return step + 1, End.DONE


def draw_order(sizes: Sequence[int], block_size: int, rng: np.random.Generator) -> Array:
    """Return the rows of all parts: shuffled in each, then whole blocks of all, and at the end what is left of each."""
    blocks, left = [], []
    for begin, end in pairwise(np.cumsum([0, *sizes])):
        rows = rng.permutation(np.arange(begin, end))
        n_whole = len(rows) // block_size * block_size
        blocks.append(rows[:n_whole].reshape(-1, block_size))
        left.append(rows[n_whole:])
    return np.concatenate([rng.permutation(np.concatenate(blocks)).ravel(), *left])


def cut(rows: Array, block_size: int, sizes: Sequence[int]) -> list[Piece]:
    """Return the blocks of a batch, each cut where the next row is of another part."""
    ends = np.cumsum(sizes)
    parts = np.searchsorted(ends, rows, side="right")
    edges = {*range(0, len(rows), block_size), len(rows), *(np.flatnonzero(np.diff(parts)) + 1).tolist()}
    pieces: list[Piece] = []
    for begin, end in pairwise(sorted(edges)):
        part = int(parts[begin])
        pieces.append(Piece(part, rows[begin:end] - (ends[part] - sizes[part]), len(pieces)))
    return pieces


def make_stand_in(n_samples: int, n_steps: int) -> Data:
    """Return what stands for samples that are in parts: their number, in no room."""
    return make_data(np.broadcast_to(0.0, (n_samples, 1)), np.broadcast_to(0.0, (n_samples * n_steps, 1)))
