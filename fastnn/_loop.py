"""Epochs as runs of compiled steps."""

import math
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn._interrupt import call_apart
from fastnn._threads import take_turn
from fastnn._validate import Array
from fastnn._workspace import make_data, make_plain_task, make_work
from fastnn.kernels.backprop import run_backward
from fastnn.kernels.descent import run_descent
from fastnn.kernels.direct import run_direct
from fastnn.kernels.forward import run_forward, run_inputs
from fastnn.kernels.layout import Layout
from fastnn.kernels.series import is_bent_above, run_deep_expansion, run_expansion
from fastnn.kernels.training import End, Units, run_steps
from fastnn.kernels.updates import Optimizer, Update
from fastnn.kernels.work import Block, Data, Method, Task, Work

# A compiled call cannot be interrupted: it is kept to this much work, so that
# Ctrl-C and progress stay alive. Calls start with what surely is no more, and grow.
CALL_SECONDS = 0.1
GROWTH = 16
# Parameters times samples of a step that surely takes no more than a second.
LONG_PRODUCT = 10**6
# A step that takes longer than this, or may by `bound_seconds`, is not waited for on Ctrl-C.
LONG_SECONDS = 0.2
# Orders are drawn for as many epochs ahead as fit in this many row numbers.
ORDER_LENGTH = 2**18


SERIES_REFUSED = (
    "evaluate='series' is not accurate here: what it leaves out may exceed 1e-8 of the differences (1e-6 in float32); "
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
    rates: Array


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
        self._count = max(1, int(CALL_SECONDS * LONG_PRODUCT / (theta.size * batch_size)))
        # Also when steps are quick: any of them may have its nudges measured directly.
        self._may_be_long = bound_seconds(layout, Method(task.method), batch_size) > LONG_SECONDS
        self._is_long = self._may_be_long

    def run(self, data: Data, first: int, totals: Array, seconds: Array) -> Iterator[int]:
        """Run epochs, one row of data.order after another, and yield where each compiled call ends.

        Parameters
        ----------
        data : Data
        first : int
            The step to begin at, steps counting through all epochs.
        totals : ndarray, shape (epochs, 2)
            Summed loss and number of right decisions, measured before each step, are
            added to it.
        seconds : ndarray, shape (epochs,)
            The epochs' times are added to it.

        Yields
        ------
        int
            The step that comes next. Whatever is raised, parameters and moments are
            those of the last yield, unless it is:

        Raises
        ------
        Diverged
            With the epoch, counted from 0, and the batch.
        """
        done = self.done - first
        last = len(totals) * self.n_batches
        while first < last:
            stop = min(first + self._count, last)
            update = self.update
            here = Snapshot(data, done, first, self.theta.copy(), update.moments.copy(), update.rates.copy())
            started = time.perf_counter()
            try:
                reached, end = self._train(here, stop, totals)
                if end == End.REFUSED:
                    raise ValueError(SERIES_REFUSED)
                elapsed = time.perf_counter() - started
                if reached < stop:
                    self._rewind(here, reached)
                    raise Diverged(*divmod(reached, self.n_batches))
                touched = slice(first // self.n_batches, (stop - 1) // self.n_batches + 1)
                edges = np.arange(touched.start, touched.stop + 1) * self.n_batches
                edges[0], edges[-1] = first, stop
                seconds[touched] += (edges[1:] - edges[:-1]) * (elapsed / (stop - first))
                self._is_long = self._may_be_long or elapsed / (stop - first) > LONG_SECONDS
                self._count = max(1, int((stop - first) * min(GROWTH, CALL_SECONDS / elapsed)))
                self._before = here
                self.done = done + stop
                first = stop
            except Diverged:
                raise
            except BaseException:
                self._restore(here)
                raise
            yield first

    def _train(self, start: Snapshot, stop: int, totals: Array) -> tuple[int, End]:
        """Take the steps from a snapshot's first to `stop` and return what `run_steps` does.

        Ctrl-C does not wait for them if they may take long: they work on copies, which are given up then.
        """

        def train(theta: Array, update: Update) -> tuple[int, End]:
            arguments = self.layout, theta, start.data, self.task, update, self.work
            return take_steps(*arguments, self.batch_size, start.first, stop, start.done, totals)

        if not self._is_long:
            return train(self.theta, self.update)
        theta, update = self.theta.copy(), self.update._replace(moments=self.update.moments.copy())
        reached, end = call_apart(lambda: train(theta, update), self.work.stop)
        self.theta[:] = theta
        self.update.moments[:] = update.moments
        return reached, end

    def _rewind(self, here: Snapshot, reached: int) -> None:
        """Take back the step before `reached`: steps give the same bits when they are run again."""
        if reached > here.first:
            start, stop = here, reached - 1
        elif self._before is not None:
            start = self._before
            stop = self.done - start.done - 1
        else:  # the very first loss is not finite: there is no step to take back
            return
        self._restore(start)
        rates = self.update.rates.copy()
        self.update.rates[:] = start.rates  # a schedule may have changed them since
        try:
            self._train(start, stop, np.zeros((stop // self.n_batches + 1, 2)))
        finally:
            self.update.rates[:] = rates
        self.done = start.done + stop

    def _restore(self, here: Snapshot) -> None:
        """Put parameters and moments back to where a compiled call started."""
        self.theta[:] = here.theta
        self.update.moments[:] = here.moments
        self.done = here.done + here.first


def bound_seconds(layout: Layout, method: Method, n_samples: int) -> float:
    """Return about how long so many samples may take at most, on one thread, all nudges measured directly."""
    sizes = layout.sizes.tolist()
    products = [n_in * n_out for n_in, n_out in pairwise(sizes)]
    n_products = sum(products) * (1 if method == Method.NONE else 3)
    n_values = sum(sizes)
    if method in (Method.DIRECT, Method.SERIES):
        for layer, n_nudges in enumerate(products):
            n_products += n_nudges * sum(products[layer + 2 :])
            n_values += n_nudges * (1 + sum(sizes[layer + 2 :]))
    # A multiply and add took up to 0.2 ns, a value with its activation up to 5, a sample 50.
    return n_samples * (0.2e-9 * n_products + 5e-9 * n_values + 50e-9)


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

    The gradient is flat, and empty when the task's method is NONE. A loss that is not finite is inf, and
    the others are nothing then.
    """
    work = make_work(layout, len(data.x), Method(task.method), theta.dtype, task.n_chunks)
    totals = np.zeros((1, 2))
    _, end = take_steps(layout, theta, data, task, rest(theta), work, len(data.x), 0, 1, 0, totals, may_leave=True)
    if end == End.REFUSED:
        raise ValueError(SERIES_REFUSED)
    if end == End.DIVERGED:
        return math.inf, math.nan, work.gradient
    return float(totals[0, 0]), float(totals[0, 1]), work.gradient


def forward(layout: Layout, theta: Array, x: Array) -> Iterator[tuple[slice, Work]]:
    """Run samples forward, a block at a time; yield which samples they are, and their values."""
    task = make_plain_task(-1, Method.NONE, 1)
    work = make_work(layout, len(x), Method.NONE, theta.dtype, 1)
    block = len(work.measured)
    for start in range(0, len(x), block):
        part = x[start : start + block]
        data = make_data(part, np.empty((len(part), 0), theta.dtype))
        take_steps(layout, theta, data, task, rest(theta), work, block, 0, 1, 0, np.zeros((1, 2)), may_leave=True)
        yield slice(start, start + len(part)), work


def rest(theta: Array) -> Update:
    """Return the optimiser that leaves the parameters as they are."""
    return Update(int(Optimizer.NONE), np.zeros(4), np.zeros((0, 0), theta.dtype))


def take_steps(
    layout: Layout,
    theta: Array,
    data: Data,
    task: Task,
    update: Update,
    work: Work,
    batch_size: int,
    first: int,
    last: int,
    done: int,
    totals: Array,
    may_leave: bool = False,
) -> tuple[int, End]:
    """Call `run_steps` with the units that it needs, compiled; return how far it went, and why no further.

    With `may_leave`, Ctrl-C does not wait for what may take long: nothing that was written is wanted then.
    """
    needs_direct = task.method != Method.DIRECT

    def run() -> tuple[int, int]:
        with take_turn(task.n_chunks) as n_chunks:
            here = task._replace(n_chunks=n_chunks)
            block = Block(0, 0, 1, 1, True, True)
            arguments = (layout, theta, data, update, work), block, here, 1, np.int64(0)

            def call(units: Units, stop: int) -> tuple[int, int]:
                result: tuple[int, int] = run_steps(
                    units, needs_direct, layout, theta, data, batch_size, first, stop, done, here, update, work, totals
                )
                return result

            units = find_units(layout, here, needs_direct, theta.dtype, arguments, lambda units: call(units, first))
            return call(units, last)

    while True:
        method = Method.BACKPROP if needs_direct and task.method == Method.SERIES else Method(task.method)
        is_long = may_leave and bound_seconds(layout, method, (last - first) * batch_size) > LONG_SECONDS
        # The turn is that of the thread that works, which may go on when nobody waits any more.
        first, end = call_apart(run, work.stop) if is_long else run()
        if end != End.NEEDS_DIRECT:
            return first, End(end)
        needs_direct = False


_UNITS: dict[tuple[Any, ...], Units] = {}


def find_units(
    layout: Layout,
    task: Task,
    needs_direct: bool,
    dtype: np.dtype[Any],
    arguments: tuple[Any, ...],
    call: Callable[[Units], object],
) -> Units:
    """Return the units that a task takes, compiled: those that it does not stay uncompiled.

    What calls them is compiled by calling it once. Ctrl-C does not wait for either.
    """
    method = Method(task.method)
    is_deep = getattr(is_bent_above, "py_func", is_bent_above)  # what the kernel was made from
    deep = method == Method.SERIES and is_deep(layout, task.loss, 0)
    key = method, deep, needs_direct, dtype

    def compile_units() -> None:
        inputs, forward = run_inputs.address(arguments), run_forward.address(arguments)
        backward = above = direct = descent = forward  # not called
        if method == Method.BACKPROP:
            backward = run_backward.address(arguments)
        elif method == Method.SERIES:
            backward = run_expansion.address(arguments)
        if deep:
            above = run_deep_expansion.address(arguments)
        if not needs_direct:
            direct = run_direct.address(arguments)
        if method != Method.NONE:
            descent = run_descent.address(arguments)
        units = Units(inputs, forward, backward, above, direct, descent)
        call(units)
        _UNITS[key] = units

    if key not in _UNITS:
        call_apart(compile_units)
    return _UNITS[key]
