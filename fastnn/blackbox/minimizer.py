"""A search to be asked and told, saved and gone on with, or run on a loss."""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from fastnn._compiler.jit import is_compiled
from fastnn._support import files, validate
from fastnn._support.interrupt import Interrupt
from fastnn._support.validate import Array
from fastnn.blackbox.directions import ESTIMATORS, MAX_SEED, RandomDirections
from fastnn.blackbox.inputs import flatten, flatten_bounds
from fastnn.blackbox.reading import Query, Reader, Weights, as_number, fail
from fastnn.blackbox.result import FailedQueries, Minimum
from fastnn.blackbox.search import STEP, Search, Settings
from fastnn.blackbox.spall import Spall
from fastnn.callbacks import Callback
from fastnn.hardware import Devices, Readout, check_devices
from fastnn.kernels.measured import LEVEL
from fastnn.training.gradients import Perturbation
from fastnn.training.hooks import (
    Hooks,
    States,
    ask_callbacks,
    check_callbacks,
    make_progress,
    pack_states,
    unpack_states,
)
from fastnn.training.optimizers import OPTIMIZERS as OTHERS
from fastnn.training.optimizers import Optimizer

if TYPE_CHECKING:
    from fastnn.training.history import History
    from fastnn.training.trainer import Trainer

OPTIMIZERS = (Spall, *OTHERS)
# Seconds between two looks of callbacks within a step, and of a run of compiled steps.
CALL_SECONDS = 0.1
# Bytes of points that are drawn at once: those that are read one by one stay in the cache, and what
# takes them all gets as many as there is room for.
CACHED, TOGETHER = 2**18, 2**26

Read = Callable[[float, Interrupt], None]


class Minimizer:
    """The search of `minimize`, to be asked for queries and told what was read.

    Parameters
    ----------
    weights, gradient, optimizer, queries, bounds, measure_every, blocking, average, readout, devices, seed
        See `minimize`. With ``queries=None`` it never ends by itself.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind described.

    Examples
    --------
    >>> import fastnn
    >>> minimizer = fastnn.Minimizer([1.0, -2.0], queries=500)
    >>> while asked := minimizer.ask():
    ...     for query in asked:
    ...         minimizer.tell(query.index, query.weights @ query.weights)
    >>> bool((abs(minimizer.result().weights) < 0.1).all())
    True
    """

    def __init__(
        self,
        weights: ArrayLike | Sequence[ArrayLike],
        *,
        gradient: RandomDirections | Perturbation = RandomDirections(),  # noqa: B008 (frozen)
        optimizer: Spall | Optimizer = Spall(),  # noqa: B008 (frozen)
        queries: int | None = 10_000,
        bounds: tuple[object, object] | None = None,
        measure_every: int | None = None,
        blocking: float | Literal["auto"] | None = None,
        average: float = 0.0,
        readout: Readout | None = None,
        devices: Devices | None = None,
        seed: int = 0,
    ) -> None:
        validate.instance("gradient", gradient, ESTIMATORS)
        validate.instance("optimizer", optimizer, OPTIMIZERS)
        if queries is not None:
            queries = validate.integer("queries", queries, low=1)
        if measure_every is not None:
            measure_every = validate.integer("measure_every", measure_every, low=1)
        if isinstance(blocking, str):
            validate.choice("blocking", blocking, ["auto"])
        elif blocking is not None:
            blocking = validate.number("blocking", blocking, low=0.0)
        if blocking is not None and measure_every is not None:
            raise ValueError("blocking reads the loss after every step already: give measure_every or blocking")
        average = validate.number("average", average, low=0.0, high=1.0)
        if average and queries is None:
            raise ValueError("average is a share of the steps, whose number only queries tell: give queries")
        if not isinstance(readout, Readout | None):
            raise TypeError(f"readout must be a fastnn.hardware.Readout, got {validate.show(readout)}")
        seed = validate.integer("seed", seed, low=0, high=MAX_SEED)
        theta, form = flatten(weights)
        read = readout or Readout()
        settings = Settings(gradient, optimizer, queries, measure_every, blocking, average, read, devices, seed)
        name, nudge = settings.nudge
        check_devices(devices, nudge, name)
        if devices and bounds is not None:
            raise ValueError("devices have bounds of their own, low and high: leave out bounds")
        self._search = Search(theta, form, flatten_bounds(bounds, form, theta), settings)
        self._n_asked = 0
        self._before, self._began = 0.0, math.nan  # seconds of former runs, and when this one began
        self._pace = 1  # steps that compiled code is given at once
        self._is_stopping = False
        self._hooks: Hooks | None = None
        self._states: States = {}

    @property
    def done(self) -> bool:
        """Whether the queries allow no further step."""
        return self._search.is_done

    @property
    def n_steps(self) -> int:
        """Steps taken so far."""
        return self._search.n_steps

    @property
    def n_queries(self) -> int:
        """Queries answered so far."""
        return self._search.n_done + self._search.n_told

    @property
    def weights(self) -> Weights:
        """A copy of the weights as they are now, shaped like the start; of devices, what acts."""
        return self._search.form.shape(self._search.acting.copy())

    def result(self) -> Minimum:
        """Return what was found so far."""
        return self._result("queries" if self.done else "unfinished")

    def _result(self, stopped: str) -> Minimum:
        now = 0.0 if math.isnan(self._began) else time.monotonic() - self._began
        return self._search.result(self._before + now, stopped)

    def ask(self) -> list[Query]:
        """Return the queries that can be answered now and were not given yet.

        Returns
        -------
        list of Query
            A step's, or those of the calibration. Empty while answers are still to come, and when it is `done`.
            After `resume`, those without an answer are given again.
        """
        search = self._search
        missing = [] if self.done else [k for k in range(self._n_asked, search.answers.size) if not search.told[k]]
        self._n_asked = search.answers.size
        return [Query(search.n_done + k, search.form.shape(search.draw(k, k + 1)[0])) for k in missing]

    def tell(self, index: int, loss: float) -> None:
        """Take the answer to a query, in any order.

        Parameters
        ----------
        index : int
            The query's.
        loss : float
            The loss at its weights; nan if it failed.

        Raises
        ------
        TypeError
            If the loss is not one real number.
        ValueError
            If that query was not asked, or is told already; if the loss changed by no more than rounding
            in the calibration.
        FloatingPointError
            With the last answer of a step, if more than half of them failed, as `minimize` has it: one with an
            attribute ``result``, the `Minimum` before that step.
        """
        search = self._search
        k = validate.integer("index", index, low=0) - search.n_done
        if not 0 <= k < self._n_asked or search.told[k]:
            raise ValueError(f"query {index} was not asked, or is told already")
        search.answers[k] = as_number(loss)
        search.note(k, k + 1)
        self._end_round()

    def _end_round(self) -> None:
        if self._search.is_full:
            self._n_asked = 0
            self._search.end_round()

    def stop(self) -> None:
        """End the running `run` where it is: for callbacks."""
        self._is_stopping = True

    def run(
        self,
        loss: Callable[..., Any],
        *,
        seconds: float | None = None,
        batched: bool = False,
        workers: Callable[..., Iterable[float]] | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool | None = None,
    ) -> Minimum:
        """Ask and tell until the queries or the seconds are used up, a callback stops it, or Ctrl-C comes.

        A second call goes on where the first one ended, be it in the middle of a step.

        Parameters
        ----------
        loss, seconds, batched, workers, callbacks, progress
            See `minimize`.

        Returns
        -------
        Minimum
        """
        if not callable(loss):
            raise TypeError(f"loss must be a function of the weights, got {validate.show(loss)}")
        seconds = math.inf if seconds is None else validate.number("seconds", seconds, low=0.0, open_low=True)
        if validate.flag("batched", batched) and workers is not None:
            raise ValueError("batched hands all points to one call, and workers hand them out: give one of them")
        if workers is not None and not callable(workers):
            raise TypeError(
                "workers must be a function like map, such as the map of a concurrent.futures.Executor, "
                f"got {validate.show(workers)}"
            )
        if self._search.settings.devices:
            self._search.settings.devices._warn_of_nudge(*self._search.settings.nudge)
        checked = check_callbacks(callbacks)
        for k, callback in enumerate(checked):
            kind = type(callback)
            if kind.on_epoch_end is not Callback.on_epoch_end and kind.on_steps is Callback.on_steps:
                raise TypeError(f"callbacks[{k}] looks at epochs, and here are only steps, got {kind.__name__}")
        if self._search.max_steps is None and seconds == math.inf and not checked:
            raise ValueError("nothing ends this: give queries, seconds, or a callback that stops it")
        called = make_progress(progress) + checked
        ask_callbacks(cast("Trainer", self), called, ())
        with Interrupt() as interrupt:
            return self._run(self._make_read(loss, batched, workers), called, seconds, interrupt)

    def _run(self, read: Read, callbacks: list[Callback], seconds: float, interrupt: Interrupt) -> Minimum:
        hooks = self._hooks = Hooks(cast("Trainer", self), callbacks, interrupt, self._states)
        self._began, self._is_stopping, self._n_asked = time.monotonic(), False, 0
        deadline, result = self._began + seconds, None
        try:
            try:
                hooks.begin(0 if self._search.max_steps is None else self._search.max_steps - self.n_steps)
                stopped = self._loop(read, hooks if callbacks else None, deadline, interrupt)
            except KeyboardInterrupt as error:
                interrupt.note(error)
            result = self._result("interrupted" if interrupt.is_pressed() else stopped)
        except FailedQueries as error:
            error.result = self._result("failed")
            raise
        finally:
            self._before, self._began = self._before + time.monotonic() - self._began, math.nan
            try:
                hooks.end(cast("History", result))
            finally:
                self._states, self._hooks = hooks.states(), None
        return result

    def _loop(self, read: Read, hooks: Hooks | None, deadline: float, interrupt: Interrupt) -> str:
        """Read and go on until something ends it, and return what."""
        while not self._search.is_done:
            now = time.monotonic()
            if self._is_stopping or now >= deadline:
                return "callback" if self._is_stopping else "seconds"
            read(deadline if hooks is None else min(deadline, now + CALL_SECONDS), interrupt)
            if self._search.is_full:
                self._search.end_round()
            if hooks is not None:
                hooks.tell({})
            if interrupt.error is not None:
                break
        return "queries"

    # Who reads

    def _make_read(self, loss: Callable[..., Any], batched: bool, workers: Callable[..., Any] | None) -> Read:
        """Return what reads answers that are missing: some until a time, or all; or takes steps by itself."""
        search, reader = self._search, Reader(loss)
        if batched:

            def answer(first: int, points: Array) -> Sequence[float]:
                return reader.read_batch(search.form.shape(points, (len(points),)), len(points))

            return lambda _, interrupt: self._read_together(answer, interrupt)
        if workers is not None:

            def answer(first: int, points: Array) -> Sequence[float]:
                named = enumerate(points, search.n_done + first)
                queries = [Query(index, search.form.shape(point)) for index, point in named]
                told = workers(reader, queries)
                if not isinstance(told, Iterable):
                    raise TypeError(f"workers must return numbers, as map does, got {validate.show(told)}")
                answers = list(told)
                if len(answers) != len(queries):
                    raise ValueError(f"workers returned {len(answers)} numbers for {len(queries)} queries")
                return [as_number(value) for value in answers]

            return lambda _, interrupt: self._read_together(answer, interrupt)
        is_vector = not search.form.is_list and len(search.form.shapes[0]) == 1
        if not (is_compiled(loss) and is_vector):
            shape = None if is_vector else search.form.shape
            return lambda until, interrupt: self._read_in_turn(loss, shape, until, interrupt)

        def read_compiled(until: float, interrupt: Interrupt) -> None:
            if search.kind == STEP and search.settings.blocking is None and not search.n_told:
                started = time.monotonic()
                search.run_compiled(loss, self._pace)
                if time.monotonic() - started < CALL_SECONDS / 2:
                    self._pace *= 2
            else:  # it takes copies, as what may be written to is another type to the compiler
                self._read_in_turn(loss, np.copy, until, interrupt)

        return read_compiled

    def _read_together(self, answer: Callable[[int, Array], Sequence[float]], interrupt: Interrupt) -> None:
        """Have as many queries answered at once as there is room for."""
        first, last = self._search.find_missing(TOGETHER)
        points = self._search.draw(first, last)
        with interrupt.leave_at(1):
            answers = answer(first, points)
        for value in answers:
            self._search.reason = getattr(value, "reason", self._search.reason)
        self._search.answers[first:last] = answers
        self._search.note(first, last)

    def _read_in_turn(
        self, loss: Callable[[Any], Any], shape: Callable[[Array], Any] | None, until: float, interrupt: Interrupt
    ) -> None:
        """Have one query answered after another."""
        search = self._search
        first, last = search.find_missing(CACHED)
        points, answers, k = search.draw(first, last), search.answers, first
        try:
            with interrupt.leave_at(1):
                for point in points:
                    try:
                        value = loss(point if shape is None else shape(point))
                    except Exception as error:
                        value = fail(error)
                        search.reason = value.reason
                    answers[k] = value if type(value) is float else as_number(value)
                    k += 1
                    if until < math.inf and time.monotonic() >= until:
                        break
        finally:  # where Ctrl-C cannot come between
            search.note(first, k)

    # Files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that `resume` needs to go on bit for bit, with the answers of the step that is under way.

        The file is whole or not there, like that of `Network.save`. The loss is not in it.

        Parameters
        ----------
        path : str or path-like
            Replaced if it is there.

        Raises
        ------
        ImportError
            Without safetensors (the extra ``save``).
        OSError
            If the file cannot be written; one that was there stays as it was.
        """
        search = self._search
        settings = search.settings._asdict()
        described, kept = pack_states(self._hooks.states() if self._hooks else self._states)
        description = {
            **settings,
            "gradient": [type(search.settings.gradient).__name__, asdict(search.settings.gradient)],
            "optimizer": [type(search.settings.optimizer).__name__, asdict(search.settings.optimizer)],
            "readout": asdict(search.settings.readout),
            "devices": asdict(search.settings.devices) if search.settings.devices else None,
            "shapes": search.form.shapes,
            "is_list": search.form.is_list,
            "rounds": [search.kind, *search.todo],
            "reason": search.reason,
            "callbacks": described,
        }
        seconds = self._result("").seconds
        arrays = {
            "theta": search.theta,
            "before": search.room.before,
            "mean": search.mean,
            "moments": search.update.moments,
            "bounds": search.bounds,
            "gains": search.gains[:LEVEL],
            "numbers": np.array([search.allowed, search.loss, seconds]),
            "counts": np.array([search.n_steps, search.n_done, search.n_failed]),
            "history": search.history[: search.n_steps],
            "answers": search.answers,
            "told": search.told,
            **({"settings": search.board.settings, "acting": search.board.acting} if search.settings.devices else {}),
            **kept,
        }
        files.write(path, "minimizer", description, arrays, Minimizer.resume)

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> Self:
        """Return the minimizer that `save` wrote, to go on with by `run`, or by `ask` and `tell`.

        Parameters
        ----------
        path : str or path-like
            It is data, and checked in full, like that of `fastnn.load`.

        Raises
        ------
        ImportError
            Without safetensors (the extra ``save``).
        OSError
            If there is nothing to read.
        ValueError
            If the file is damaged, not a minimizer's, or of a newer format.

        Examples
        --------
        >>> import fastnn, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "search.safetensors")
        >>> minimizer = fastnn.Minimizer([1.0, -2.0], queries=500)
        >>> checkpoint = fastnn.callbacks.Checkpoint(path, seconds=60)
        >>> result = minimizer.run(lambda w: w @ w, callbacks=[checkpoint])
        >>> fastnn.Minimizer.resume(path).n_queries
        499
        """
        _, description, arrays = files.read(path, "minimizer")
        with files.restoring(path, "minimizer"):
            states = unpack_states(description.pop("callbacks"), arrays)
            shapes, is_list = description.pop("shapes"), description.pop("is_list")
            rounds, reason = description.pop("rounds"), description.pop("reason")
            parts, start = [], 0
            theta, bounds = arrays["theta"], arrays["bounds"]
            sizes = [math.prod(shape) for shape in shapes]
            if theta.ndim != 1 or sum(sizes) != theta.size or bounds.shape not in ((0, theta.size), (2, theta.size)):
                raise ValueError("its weights and bounds do not fit together")
            for size, shape in zip(sizes, shapes, strict=True):
                parts.append((slice(start, start + size), shape))
                start += size

            def unflatten(flat: Array) -> Any:
                arrays = [flat[place].reshape(shape) for place, shape in parts]
                return arrays if is_list else arrays[0]

            description |= {
                "gradient": files.rebuild(ESTIMATORS, description["gradient"]),
                "optimizer": files.rebuild(OPTIMIZERS, description["optimizer"]),
                "readout": Readout(**description["readout"]),
                # Not in the first files of this version.
                "devices": Devices(**found) if (found := description.get("devices")) else None,
                "bounds": (unflatten(bounds[0]), unflatten(bounds[1])) if len(bounds) else None,
            }
            try:
                minimizer = cls(unflatten(theta), **description)
                minimizer._search.restore(rounds, reason, arrays)
            except MemoryError as error:
                raise ValueError(f"its rounds are no search's: {error}") from None
            minimizer._before = validate.number("seconds", float(arrays["numbers"][2]), low=0.0)
            minimizer._states = states
            return minimizer
