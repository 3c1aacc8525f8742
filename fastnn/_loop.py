"""Epochs as runs of compiled steps."""

import time
from typing import Any, NamedTuple

import numpy as np

from fastnn._validate import Array
from fastnn._workspace import make_work
from fastnn.kernels.layout import Layout
from fastnn.kernels.training import run_steps
from fastnn.kernels.updates import Optimizer, Update
from fastnn.kernels.work import Data, Method, Task

# A compiled call cannot be interrupted: it is kept to this much work, so that
# Ctrl-C and progress stay alive. Calls start with one step and grow.
CALL_SECONDS = 0.1
GROWTH = 16
# Orders are drawn for as many epochs ahead as fit in this many row numbers.
ORDER_LENGTH = 2**18


SERIES_REFUSED = (
    "evaluate='series' is not accurate here: what it leaves out may exceed 1e-8 of the differences; "
    "use evaluate='auto', a smaller eps, or inputs scaled to about 1"
)


class Diverged(Exception):
    """The loss of a step is not finite; the weights are those before the step that made it so."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__(epoch, batch)
        self.epoch = epoch
        self.batch = batch


class Snapshot(NamedTuple):
    """Where a compiled call started, so that it can be run again up to any of its steps."""

    data: Data
    done: int
    first: int
    theta: Array
    moments: Array


class Loop:
    """Training steps on one flat vector of parameters, an epoch or many a call.

    Parameters
    ----------
    layout, theta, task, update
        The network, what is measured, and the optimiser; theta and update.moments
        are written to.
    n_samples, batch_size : int
        An epoch visits n_samples in batches of batch_size, the last one shorter.
    done : int
        Steps taken before.
    """

    def __init__(
        self, layout: Layout, theta: Array, task: Task, update: Update, n_samples: int, batch_size: int, done: int = 0
    ) -> None:
        self.layout = layout
        self.theta = theta
        self.task = task
        self.update = update
        self.batch_size = batch_size
        self.n_batches = -(-n_samples // batch_size)
        self.done = done
        self.work = make_work(layout, min(batch_size, n_samples), Method(task.method), theta.dtype, task.n_chunks)
        self._before: Snapshot | None = None
        self._count = 1

    def run(self, data: Data, epochs: int) -> tuple[Array, Array]:
        """Run whole epochs, one row of data.order after another.

        Returns
        -------
        totals : ndarray, shape (epochs, 2)
            Summed loss and number of right decisions, measured before each step.
        seconds : ndarray, shape (epochs,)

        Raises
        ------
        Diverged
            With the epoch, counted from 0, and the batch.
        """
        totals = np.zeros((epochs, 2))
        seconds = np.zeros(epochs)
        done = self.done
        first, last = 0, epochs * self.n_batches
        while first < last:
            stop = min(first + self._count, last)
            here = Snapshot(data, done, first, self.theta.copy(), self.update.moments.copy())
            started = time.perf_counter()
            reached, held = self._train(here, stop, totals)
            elapsed = time.perf_counter() - started
            if not held:
                self.done = done + reached
                raise ValueError(SERIES_REFUSED)
            if reached < stop:
                self._rewind(here, reached)
                raise Diverged(*divmod(reached, self.n_batches))
            self._before = here
            self.done = done + stop
            touched = slice(first // self.n_batches, (stop - 1) // self.n_batches + 1)
            edges = np.arange(touched.start, touched.stop + 1) * self.n_batches
            seconds[touched] += np.diff(edges.clip(first, stop)) * (elapsed / (stop - first))
            self._count = max(1, int((stop - first) * min(GROWTH, CALL_SECONDS / elapsed)))
            first = stop
        return totals, seconds

    def _train(self, start: Snapshot, stop: int, totals: Array) -> tuple[int, bool]:
        """Take the steps from a snapshot's first to `stop` and return what `run_steps` does."""
        reached, held = run_steps(
            self.layout,
            self.theta,
            start.data,
            self.batch_size,
            start.first,
            stop,
            start.done,
            self.task,
            self.update,
            self.work,
            totals,
        )
        return reached, held

    def _rewind(self, here: Snapshot, reached: int) -> None:
        """Take back the step before `reached`: steps give the same bits when they are run again."""
        if reached > here.first:
            start, stop = here, reached - 1
        elif self._before is not None:
            start = self._before
            stop = self.done - start.done - 1
        else:  # the very first loss is not finite: there is no step to take back
            return
        self.theta[:] = start.theta
        self.update.moments[:] = start.moments
        self._train(start, stop, np.zeros((stop // self.n_batches + 1, 2)))
        self.done = start.done + stop


def draw_orders(n_samples: int, epochs: int, rng: np.random.Generator | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return row numbers in the order to visit them, one row an epoch, or one for all without rng.

    With rng, no more epochs than `ORDER_LENGTH` allows; how many are drawn at a
    time does not change what is drawn.
    """
    order = np.arange(n_samples).reshape(1, -1)
    if rng is None:
        return order
    return rng.permuted(np.repeat(order, min(epochs, max(1, ORDER_LENGTH // n_samples)), axis=0), axis=1)


def measure(layout: Layout, theta: Array, data: Data, task: Task) -> tuple[float, float, Array]:
    """Return the summed loss, the number of right decisions, and the gradient of the mean loss.

    The gradient is flat, and empty when the task's method is NONE.
    """
    work = make_work(layout, len(data.x), Method(task.method), theta.dtype, task.n_chunks)
    totals = np.zeros((1, 2))
    at_rest = Update(int(Optimizer.NONE), np.zeros(4), np.zeros((0, 0), theta.dtype))
    _, held = run_steps(layout, theta, data, len(data.x), 0, 1, 0, task, at_rest, work, totals)
    if not held:
        raise ValueError(SERIES_REFUSED)
    return float(totals[0, 0]), float(totals[0, 1]), work.gradient
