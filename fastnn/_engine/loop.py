"""Epochs as runs of compiled steps."""

import math
import time
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastnn._engine.devices import end_reading, has_devices, read_weights
from fastnn._engine.plan import count_stem, count_steps, find_plan
from fastnn._engine.program import find_program, is_deep
from fastnn._engine.recipe import Recipe, rest
from fastnn._engine.sparse import list_inputs
from fastnn._engine.threads import count_chunks, find_pace, take_turn
from fastnn._engine.workspace import (
    borrow_work,
    hand_over,
    hand_scheme,
    identify,
    make_data,
    make_plain_task,
    make_work,
)
from fastnn._support import validate
from fastnn._support.cached import cached_property
from fastnn._support.interrupt import call_apart, leave_if_pressed
from fastnn._support.validate import Array, find_caller
from fastnn.kernels.layout import Layout
from fastnn.kernels.optimizers import Update
from fastnn.kernels.training import End, Program, run_steps
from fastnn.kernels.work import Data, Method, Task, Work

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


# A fit that has measured this long looks whether most of it goes into direct measurement.
PATIENCE = 1.0
# An eps whose perturbations need no direct measurement, for comparison.
TINY = 1e-12

SLOW = (
    "a step takes {:.0f} times as long as it would if every difference came from its series: with inputs up to {:.3g}, "
    "nudges of eps={:g} are too large for most, and those are measured directly. Scale the inputs to about 1, or take "
    "a smaller eps"
)
SERIES_REFUSED = (
    "evaluate='series' is not accurate here: what it leaves out may exceed 1e-8 of the differences (1e-6 in float32); "
    "use evaluate='auto', a smaller eps, or inputs scaled to about 1"
)


class Diverged(Exception):
    """The loss of a step is not finite, or what a step made; the weights are those before the step that made it so."""

    def __init__(self, epoch: int, batch: int, what: str) -> None:
        super().__init__(epoch, batch, what)
        self.epoch = epoch
        self.batch = batch
        self.what = what  # with its verb


class Snapshot(NamedTuple):
    """Where a compiled call started, so that it can be run again up to any of its steps."""

    data: Data
    done: int
    first: int
    theta: Array
    update: Update  # with moments of its own


class Loop:
    """Training steps on one flat vector of parameters, an epoch or many a call.

    Parameters
    ----------
    layout, theta, task, update
        The network, what is measured, and the optimiser; theta and update.moments
        are written to. Another update, of other rates with the same moments, counts from the next call on.
    n_samples, batch_size : int
        An epoch visits n_samples in batches of batch_size, the last one shorter.
    done : int
        Steps taken before.
    recipe : Recipe or None
        How the gradient is estimated, where the task's method alone does not say.
    previous : Loop or None
        Which took the steps before, on other samples; it takes back the last of them if the first loss here says so.
    """

    def __init__(
        self,
        layout: Layout,
        theta: Array,
        task: Task,
        update: Update,
        n_samples: int,
        batch_size: int,
        done: int = 0,
        recipe: Recipe | None = None,
        previous: "Loop | None" = None,
    ) -> None:
        self.layout = layout
        self.theta = theta
        self.task = task
        self.recipe = recipe
        self.update = update
        self.batch_size = batch_size
        self.n_batches = -(-n_samples // batch_size)
        self.done = self._begun = done
        self.n_samples = n_samples
        self._before: Snapshot | None = None
        self._previous = previous
        self._elapsed = 0.0
        self._is_watched = task.method == Method.SERIES
        passes = count_passes(recipe)
        self._count = max(1, int(CALL_SECONDS * LONG_PRODUCT / (theta.size * batch_size * passes)))
        at_most = bound_seconds(layout, Method(task.method), batch_size * passes)
        if find_plan(layout):  # whose weights each work many times a sample
            self._count = max(1, int(CALL_SECONDS / at_most))
        # Also when steps are quick: any of them may have its perturbations measured directly.
        self._may_be_long = at_most > LONG_SECONDS
        self._is_long = self._may_be_long

    @cached_property
    def work(self) -> Work:
        """The workspace of all steps."""
        task, block = self.task, min(self.batch_size, self.n_samples)
        return make_work(self.layout, block, Method(task.method), self.theta.dtype, task.n_chunks, self.recipe)

    def draw_orders(self, epochs: int, rng: np.random.Generator | None) -> Array:
        """See `draw_orders`."""
        return draw_orders(self.n_samples, epochs, rng)

    def run(self, data: Data, first: int, totals: Array, seconds: Array) -> Iterator[int]:
        """Run epochs, one row of data.order after another, and yield where each compiled call ends.

        Parameters
        ----------
        data : Data
        first : int
            The step to begin at, steps counting through all epochs.
        totals : ndarray, shape (epochs, 2)
            Summed loss and number of correct predictions, measured before each step, are
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
            update = self.update._replace(moments=self.update.moments.copy())
            here = Snapshot(data, done, first, self.theta.copy(), update)
            started = time.perf_counter()
            try:
                reached, end = self._train(here, stop, totals)
                elapsed = time.perf_counter() - started
                if what := self._find_broken():
                    raise Diverged(*divmod(self._rewind_broken(here, reached), self.n_batches), what)
                if end == End.REFUSED:
                    raise ValueError(SERIES_REFUSED)
                if end == End.DIVERGED:
                    self._rewind(here, reached)
                    raise Diverged(*divmod(reached, self.n_batches), "the loss is")
                stop = reached
                touched = slice(first // self.n_batches, (stop - 1) // self.n_batches + 1)
                edges = np.arange(touched.start, touched.stop + 1) * self.n_batches
                edges[0], edges[-1] = first, stop
                seconds[touched] += (edges[1:] - edges[:-1]) * (elapsed / (stop - first))
                self._is_long = self._may_be_long or elapsed / (stop - first) > LONG_SECONDS
                self._count = max(1, int((stop - first) * min(GROWTH, CALL_SECONDS / elapsed)))
                self.done = done + stop
                self._elapsed += elapsed
                if self._is_watched and self._before and self._elapsed >= PATIENCE:  # the first call compiled
                    self._is_watched = False
                    self._warn_of_direct(here, stop, elapsed / (stop - first))
                self._before, self._previous = here, None
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
            if has_devices(update):
                read_weights(update, start.done + start.first + 1, theta)
            steps = self.batch_size, start.first, stop, start.done, totals
            ended = take_steps(*arguments, *steps, recipe=self.recipe)
            if has_devices(update):
                end_reading(update, theta)
            return ended

        moments = self.update.moments
        if not self._is_long:
            return train(self.theta, start.update._replace(moments=moments))
        theta, update = self.theta.copy(), start.update._replace(moments=moments.copy())
        reached, end = call_apart(lambda: train(theta, update), self.work.stop)
        self.theta[:] = theta
        moments[:] = update.moments
        return reached, end

    def _warn_of_direct(self, here: Snapshot, stop: int, seconds: float) -> None:
        """Warn if direct measurement was most of the work so far, with how much longer a step takes for it."""
        n_samples = (self.done - self._begun) * self.batch_size
        if self.work.scratch[:, -1].sum() <= n_samples * series_cost(self.layout):
            return
        task = self.task._replace(eps=TINY)
        totals = np.zeros((-(-stop // self.n_batches), 2))
        n_times = 5
        started = time.perf_counter()
        for _ in range(n_times):
            leave_if_pressed()
            arguments = self.layout, self.theta, here.data, task, rest(self.theta), self.work, self.batch_size
            take_steps(*arguments, stop - 1, stop, 0, totals, may_leave=True, recipe=self.recipe)
        factor = n_times * seconds / (time.perf_counter() - started)
        message = SLOW.format(factor, abs(here.data.x).max(), self.task.eps)
        warnings.warn(message, stacklevel=find_caller())

    def _find_broken(self) -> str:
        """Return what is not finite, the weights or the optimiser's moments, or nothing."""
        if not validate.is_finite(self.theta):
            return "a weight is"
        return "" if validate.is_finite(self.update.moments) else "the optimiser's state is"

    def _rewind_broken(self, here: Snapshot, reached: int) -> int:
        """Take back the step that broke what is not finite at `reached`, and all behind it; return which that was."""

        def is_broken(stop: int) -> bool:
            self._replay(here, stop)
            return bool(self._find_broken())

        # What is not finite stays so.
        step = here.first + bisect_left(range(here.first + 1, reached), True, key=is_broken)
        self._replay(here, step)
        return step

    def _rewind(self, here: Snapshot, reached: int) -> None:
        """Take back the step before `reached`."""
        if reached > here.first:
            self._replay(here, reached - 1)
        elif (last := self._previous or self)._before is not None:
            last._replay(last._before, last.done - last._before.done - 1)
            self.done = last.done
        # Else the very first loss is not finite: there is no step to take back.

    def _replay(self, start: Snapshot, stop: int) -> None:
        """Run a compiled call again, at the rates it had, up to a step: it gives the same bits again."""
        leave_if_pressed()
        self._restore(start)
        totals, reached = np.zeros((stop // self.n_batches + 1, 2)), start.first
        while reached < stop:
            reached, _ = self._train(start._replace(first=reached), stop, totals)
        self.done = start.done + stop

    def _restore(self, here: Snapshot) -> None:
        """Put parameters and moments back to where a compiled call started."""
        self.theta[:] = here.theta
        self.update.moments[:] = here.update.moments
        self.done = here.done + here.first


def series_cost(layout: Layout) -> float:
    """Return what the series of all weights costs a sample, in ns: about six products at 20 GFLOP/s."""
    return 0.6 * count_steps(layout) * sum(int(n_in * n_out) for n_in, n_out in pairwise(layout.sizes))


def bound_seconds(layout: Layout, method: Method, n_samples: int) -> float:
    """Return about how long so many samples may take at most, on one thread, all perturbations measured directly."""
    sizes: list[int] = layout.sizes.tolist()
    products = [n_in * n_out for n_in, n_out in pairwise(sizes)]
    n_products = sum(products) * (1 if method == Method.NONE else 3)
    n_values = sum(sizes)
    if method in (Method.DIRECT, Method.SERIES):
        products_above, units_above = 0, 0  # past the next level
        for layer in reversed(range(len(products))):
            n_products += products[layer] * products_above
            n_values += products[layer] * (1 + units_above)
            products_above += sum(products[layer + 1 : layer + 2])
            units_above += sizes[layer + 1]
    below, n_steps = count_stem(layout, method), count_steps(layout)
    # A multiply and add took up to 0.2 ns, a value with its activation up to 5, a sample 50.
    return n_samples * (0.2e-9 * (n_steps * n_products + below[0]) + 5e-9 * (n_steps * n_values + below[1]) + 50e-9)


def draw_orders(n_samples: int, epochs: int, rng: np.random.Generator | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return row numbers in the order to visit them, one row an epoch, or one for all without rng.

    With rng, no more epochs than `ORDER_LENGTH` allows; how many are drawn at a
    time does not change what is drawn.
    """
    order = np.arange(n_samples).reshape(1, -1)
    if rng is None:
        return order
    return rng.permuted(np.repeat(order, min(epochs, max(1, ORDER_LENGTH // n_samples)), axis=0), axis=1)


def measure(
    layout: Layout,
    theta: Array,
    data: Data,
    task: Task,
    recipe: Recipe | None = None,
    batch_size: int = 0,
    batch: int = 0,
    done: int = 0,
) -> tuple[float, float, Array]:
    """Return the summed loss, the number of correct predictions, and the gradient of the mean loss.

    That is of all samples; or, with a batch size, of such a batch of the order, when so many steps were done before.
    The gradient is flat, and empty when the task's method is NONE. A loss that is not finite is inf, and
    the others are nothing then.
    """
    totals, batch_size = np.zeros((1, 2)), batch_size or data.x.shape[0]
    with borrow_work(layout, batch_size, Method(task.method), theta.dtype, task.n_chunks, recipe) as work:
        arguments = layout, theta, data, task, rest(theta), work, batch_size, batch, batch + 1, done - batch, totals
        _, end = take_steps(*arguments, may_leave=True, recipe=recipe)
        gradient = work.gradient.copy()
    if end == End.REFUSED:
        raise ValueError(SERIES_REFUSED)
    if end == End.DIVERGED:
        return math.inf, math.nan, gradient
    return float(totals[0, 0]), float(totals[0, 1]), gradient


def forward(layout: Layout, theta: Array, x: Array) -> Iterator[tuple[slice, Work]]:
    """Run samples forward, a block at a time; yield which samples they are, and their values."""
    n_chunks = count_chunks(layout, Method.NONE, x.shape[0])
    task = make_plain_task(-1, Method.NONE, n_chunks)
    with borrow_work(layout, x.shape[0], Method.NONE, theta.dtype, n_chunks) as work:
        n_steps = count_steps(layout)
        block = work.measured.shape[1] // n_steps
        for start in range(0, x.shape[0], block):
            part = validate.dense(x[start : start + block])
            data = make_data(part, np.empty((n_steps * len(part), 0), theta.dtype))
            totals = np.zeros((1, 2))
            take_steps(layout, theta, data, task, rest(theta), work, len(part), 0, 1, 0, totals, may_leave=True)
            yield slice(start, start + len(part)), work


def count_passes(recipe: Recipe | None) -> int:
    """Return how many times the work of a plain step an estimate is about, at most."""
    if recipe is None:
        return 1
    return max(1 + recipe.n_changes, recipe.plan.q)


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
    recipe: Recipe | None = None,
) -> tuple[int, End]:
    """Call `run_steps` with the program that it needs, compiled; return how far it went, and why no further.

    Of sequences whose every step is a sample of the dense layers, batch_size counts whole ones.

    It need not go to the last step: when more was measured directly than expected, the caller may want to know.
    With `may_leave`, Ctrl-C does not wait for what may take long: nothing that was written is wanted then.
    """
    if is_deep(layout, task):
        # The second term knows a deep network's curvature, also where it is none of a central difference.
        task = task._replace(n_terms=max(task.n_terms, 2))
    has_direct, n_rows, is_clipped = False, batch_size * count_steps(layout), update.clip_norm < math.inf
    data, listed = list_inputs(layout, data, work)

    def run() -> tuple[int, End]:
        nonlocal first
        with take_turn(task.n_chunks) as n_chunks:
            dense, space, stem = hand_over(layout, work)
            rests = recipe is not None and recipe.moves and not (has_devices(update) or is_clipped)
            own = rest(theta) if rests else update
            scheme = hand_scheme(work, update, recipe)

            def list_arguments(program: Program, stop: int = first, plan: Task = task) -> tuple[Any, ...]:
                handed = own, stem, scheme, listed, space, totals
                return program, dense, theta, data, n_rows, first, stop, done, plan, *handed

            packed = (dense, theta, data, own, space), stem, scheme, listed
            needs = layout, task, has_direct, has_devices(update), is_clipped, recipe
            program = find_program(*needs, packed, run_steps, list_arguments)
            pace = None
            if n_chunks > 1:
                kind = *identify(layout), task.method, recipe, theta.dtype
                pace = find_pace(*kind, batch_size.bit_length(), n_chunks)
                pace.begin((last - first) * batch_size, time.perf_counter())
            while first < last:
                shares, stop = False, last
                if pace:
                    shares, n_samples = pace.plan()
                    stop = min(last, first + max(1, n_samples // batch_size))
                started = time.perf_counter()
                plan = task._replace(n_chunks=n_chunks if shares else 1)
                reached, end = run_steps(*list_arguments(program, stop, plan))
                if pace and reached > first:
                    pace.note((reached - first) * batch_size, started, time.perf_counter())
                first = reached
                if end != End.DONE:
                    return first, End.DONE if end == End.LATE else End(end)
            return first, End.DONE

    while True:
        method = Method.BACKPROP if not has_direct and task.method == Method.SERIES else Method(task.method)
        n_samples = (last - first) * batch_size * count_passes(recipe)
        is_long = may_leave and bound_seconds(layout, method, n_samples) > LONG_SECONDS
        # The turn is that of the thread that works, which may go on when nobody waits any more.
        first, end = call_apart(run, work.stop) if is_long else run()
        if end != End.NEEDS_DIRECT:
            return first, end
        has_direct = True
