"""A search's state: which readings are wanted, and what is made of them. Who reads them is no matter here.

Readings come in rounds. A round ends before the next one begins, since where that reads depends on it: those of
the calibration, then steps, and after some of them a look at the weights that they led to.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastnn._compiler.jit import NumbaError, bind
from fastnn._engine.devices import write
from fastnn._support.cached import cached_property
from fastnn._support.validate import Array
from fastnn.blackbox import compiled
from fastnn.blackbox.directions import RandomDirections, make_calibration, make_plan
from fastnn.blackbox.inputs import make_board
from fastnn.blackbox.reading import Form
from fastnn.blackbox.result import COLUMNS, FailedQueries, Minimum, find_loss
from fastnn.blackbox.spall import Spall
from fastnn.hardware import Devices, Readout
from fastnn.kernels.devices import SET
from fastnn.kernels.measured import ALPHA, GAMMA, LEVEL, MAX_LOST, N_GAINS, ROUNDING, SHIFT, A, C, Ended, Room
from fastnn.training.gradients import Perturbation
from fastnn.training.optimizers import Optimizer
from fastnn.training.schemes import make_reading

# Rounds: readings at the start for their deviation; pairs for the slope; one at the start; a step; one after it.
ROUNDS = NOISE, SLOPE, BASE, STEP, LOOK = "noise", "slope", "base", "step", "look"
# Readings that `blocking="auto"` finds the deviation of, without Spall's `calibrate`.
N_READINGS = 25
# Spall's A where nothing says how many steps there will be.
DEFAULT_SHIFT = 100.0
# Rows that a history has room for at first.
N_ROWS = 1024
# No step has this number, and a file's counts go so far.
NEVER, MAX_COUNT = 2**62, 2**53


class Settings(NamedTuple):
    """What a search is told."""

    gradient: RandomDirections | Perturbation
    optimizer: Spall | Optimizer
    queries: int | None
    measure_every: int | None
    blocking: float | str | None
    average: float
    readout: Readout
    devices: Devices | None
    seed: int

    @property
    def nudge(self) -> tuple[str, float]:
        """The nudge that is given, and by what name; 0 if the calibration finds it."""
        if isinstance(self.optimizer, Spall):
            return "c", self.optimizer.c or 0.0
        return "eps", self.gradient.eps


class Search:
    """The state of a search.

    Parameters
    ----------
    theta : ndarray, shape (n_weights,)
        Moved in place.
    form : Form
    bounds : ndarray, shape (2, n_weights) or (0, n_weights)
    settings : Settings
    """

    def __init__(self, theta: Array, form: Form, bounds: Array, settings: Settings) -> None:
        self.theta, self.form, self.bounds, self.settings = theta, form, bounds, settings
        gradient, optimizer, size = settings.gradient, settings.optimizer, theta.size
        self.plan = make_plan(gradient, size, settings.seed)
        self.reading = make_reading(settings.readout, settings.seed)
        self.board = make_board(settings.devices, theta, settings.seed)
        self.n_steps = self.n_done = self.n_failed = 0  # n_done: queries of rounds that have ended
        self.n_lost = 0  # steps in a row, the last ones, that moved nothing as readings failed
        self.write()
        self.update = optimizer.make_update(theta)
        vectors = np.ones(size), np.zeros(size), np.zeros(size), np.zeros(gradient.queries(size))
        self.room = Room(np.arange(self.plan.n_rows or size), np.full(4, -1), *vectors, theta.copy())
        self.todo = self._list_calibration()
        self._check_queries()
        self.first_averaged = NEVER
        if settings.average and self.max_steps is not None:
            self.first_averaged = self.max_steps - max(1, round(settings.average * self.max_steps))
        self.mean = np.zeros(size)
        self.gains = np.zeros(N_GAINS)
        self.allowed = settings.blocking if isinstance(settings.blocking, float) else math.nan
        self._set_gains()
        self.history = np.zeros((min(self.max_steps or N_ROWS, N_ROWS), len(COLUMNS)))
        self.loss = math.nan  # at the weights themselves, where blocking reads it
        self.reason = ""  # of the last failure
        self.kind = ""
        self.begin_round()

    # What is known before anything is read

    def _list_calibration(self) -> list[str]:
        """Return the rounds before the first step."""
        optimizer, blocking = self.settings.optimizer, self.settings.blocking
        rounds = [NOISE] if blocking == "auto" or (isinstance(optimizer, Spall) and optimizer.c is None) else []
        rounds += [SLOPE] if isinstance(optimizer, Spall) and optimizer.a is None else []
        return rounds + ([BASE] if blocking is not None and NOISE not in rounds else [])

    def _count(self, kind: str) -> int:
        """Return how many readings a round has."""
        optimizer = self.settings.optimizer
        n = optimizer.calibrate if isinstance(optimizer, Spall) else N_READINGS
        return {NOISE: n, SLOPE: 2 * n, STEP: self.room.readings.size}.get(kind, 1)

    @property
    def _n_before(self) -> int:
        """Queries before the next step."""
        return sum(map(self._count, self.todo)) * self.settings.readout.repeats

    @cached_property
    def _n_step(self) -> int:
        """Queries of a step, with the look at where it led that blocking takes."""
        return (self._count(STEP) + (self.settings.blocking is not None)) * self.settings.readout.repeats

    @property
    def max_steps(self) -> int | None:
        """How many whole steps there will be, if the queries say; those of rounds that failed are lost to it."""
        queries, measure_every = self.settings.queries, self.settings.measure_every
        if queries is None:
            return None
        left = max(queries - self.n_done - self._n_before, 0)
        if measure_every is None:
            return self.n_steps + left // self._n_step
        # In blocks of steps and a look; the last look may be left out.
        n_begun = self.n_steps % measure_every
        left += n_begun * self._n_step
        n_block = measure_every * self._n_step + self.settings.readout.repeats
        return self.n_steps - n_begun + left // n_block * measure_every + left % n_block // self._n_step

    def _check_queries(self) -> None:
        if self.max_steps == 0:
            calibration = f", after the {self._n_before:,} of the calibration" if self._n_before else ""
            raise ValueError(
                f"a step of {self.settings.gradient} on {self.theta.size:,} weights takes {self._n_step:,} "
                f"queries{calibration}, and queries={self.settings.queries:,}"
            )

    def _set_gains(self) -> None:
        gains, eps, optimizer = self.gains, self.settings.gradient.eps, self.settings.optimizer
        gains[ROUNDING] = np.finfo(self.theta.dtype).eps
        gains[LEVEL] = self.settings.devices._grid if self.settings.devices else 0.0
        if not isinstance(optimizer, Spall):
            gains[[A, C]] = optimizer.lr, eps
        else:
            shift = optimizer.A
            if shift is None:
                shift = DEFAULT_SHIFT if self.max_steps is None else self.max_steps / 10
            gains[[SHIFT, ALPHA, GAMMA]] = shift, optimizer.alpha, optimizer.gamma
            gains[[A, C]] = optimizer.a or math.nan, optimizer.c or eps
        if NOISE not in self.todo:
            self._check_nudge()

    def _check_nudge(self) -> None:
        """Make a nudge one that devices have; refuse one that moves no weight, or does not fit within the bounds."""
        if self.gains[LEVEL]:
            self.gains[C] = max(round(self.gains[C] / self.gains[LEVEL]), 1) * self.gains[LEVEL]
        nudge, largest = float(self.gains[C]), float(np.abs(self.theta).max())
        if nudge < self.gains[ROUNDING] * largest:
            raise ValueError(
                f"a nudge of {nudge:g} is below the rounding of a weight of {largest:g} in {self.theta.dtype}; "
                "take a larger eps (or Spall's c), or weights in float64"
            )
        if self.bounds.size and (narrow := self.bounds[1] - self.bounds[0] < 2 * nudge).any():
            k = int(np.argmax(narrow))
            low, high = self.bounds[:, k]
            raise ValueError(
                f"bounds {low:g} and {high:g} of weight {k} are less than two nudges of {nudge:g} apart; take a "
                "smaller eps (or Spall's c), or leave out a weight that is not to move"
            )

    # Rounds

    @property
    def is_done(self) -> bool:
        """Whether the queries allow nothing more."""
        return self.kind != LOOK and (most := self.max_steps) is not None and self.n_steps >= most

    @property
    def is_full(self) -> bool:
        """Whether all answers of the round are there."""
        return self.n_told == self.answers.size

    def begin_round(self) -> None:
        """Begin the next round."""
        kind = self.todo[0] if self.todo else STEP
        if kind != self.kind:
            self.kind = kind
            size = self._count(kind) * self.settings.readout.repeats
            # Zeros that nobody wrote take no memory, however many a hostile file has it believe.
            self.answers, self.told = np.zeros(size), np.zeros(size, bool)
        else:
            self.told[:] = False
        self.n_told = 0

    @cached_property
    def _place_points(self) -> Callable[..., None]:
        points = np.empty((1, self.theta.size), self.theta.dtype)
        arguments = self.plan, 0, self.gains, self.theta, self.bounds, self.board, self.room, 0, points
        bound: Callable[..., None] = bind(compiled.place_points, arguments)
        return bound

    @cached_property
    def _finish_step(self) -> Callable[..., tuple[int, int]]:
        bound: Callable[..., tuple[int, int]] = bind(compiled.finish_step, self._step_arguments())
        return bound

    def _step_arguments(self) -> tuple[Any, ...]:
        return (
            self.plan, self.n_steps, self.gains, self.update, self.reading, self.n_done, self.answers, self.bounds,
            self.board, self.room, self.theta, self.history,
        )  # fmt: skip

    def draw(self, first: int, last: int) -> Array:
        """Return where some queries of the round are taken, a row each, read-only."""
        repeats = self.settings.readout.repeats
        begin, end = first // repeats, (last - 1) // repeats + 1
        points = np.empty((end - begin, self.theta.size), self.theta.dtype)
        around = self.gains, self.theta, self.bounds, self.board, self.room
        if self.kind == STEP:
            self._place_points(self.plan, self.n_steps, *around, begin, points)
        elif self.kind == SLOPE:
            plan = make_calibration(self._count(SLOPE) // 2, self.settings.gradient, self.settings.seed)
            self._place_points(plan, 0, *around, begin, points)
        else:
            points[:] = self.acting
        if repeats > 1:
            points = points[np.arange(first, last) // repeats - begin]
        if self.settings.devices and self.settings.devices.read_noise:
            compiled.read_points(self.board, self.n_done + first, points)
        points.flags.writeable = False
        return points

    def find_missing(self, n_bytes: int) -> tuple[int, int]:
        """Return the first and, less one, the last of a run of queries without answers, whose points take so much."""
        first, last = 0, self.told.size
        if self.n_told:
            first = int(self.told.argmin())
            last = first + int(np.append(self.told[first:], True).argmax())
        return first, min(last, first + max(1, n_bytes // self.theta.nbytes))

    def note(self, first: int, last: int) -> None:
        """Take a run of queries for answered."""
        self.told[first:last] = True
        self.n_told += last - first

    def end_round(self) -> None:
        """Make of the answers what they are for, and begin the next round."""
        if self.kind == STEP:
            failed, ended = self._finish_step(*self._step_arguments())
            self._close_round(failed)
            self.n_steps += ended not in (Ended.FAILED, Ended.DIVERGED)
            self.n_lost = self.n_lost + 1 if ended == Ended.LOST else 0
            self._go_on(failed, ended)
            return
        readings = np.zeros(self._count(self.kind))
        failed = compiled.settle(self.reading, self.n_done, self.answers, readings)
        self._close_round(failed)
        if self.kind == LOOK:
            self._take_look(float(readings[0]))
        elif 2 * failed > self.answers.size:
            self._give_up(f"{failed} of {self.answers.size} queries")
        elif self.kind == SLOPE:
            self._take_slope(readings)
        else:
            self._take_start(readings)
        del self.todo[0]
        self.begin_round()

    def run_compiled(self, loss: Callable[[Array], float], n_steps: int) -> None:
        """Take steps in one call, up to the next look, on a loss that is compiled: at the beginning of a round."""
        measure_every = self.settings.measure_every
        if self.max_steps is not None:
            n_steps = min(n_steps, self.max_steps - self.n_steps)
        if measure_every is not None:
            n_steps = min(n_steps, measure_every - self.n_steps % measure_every)
        self._grow(n_steps)
        failed, ended = 0, int(Ended.WELL)
        reached = np.array([self.n_steps, 0, self.n_lost])
        try:
            failed, ended = compiled.run_steps(
                loss, self.plan, self.n_steps, self.n_steps + n_steps, self.gains, self.update, self.reading,
                self.n_done, self.answers, self.bounds, self.board, self.room, self.theta, self.history, self.mean,
                self.first_averaged, reached,
            )  # fmt: skip
        except NumbaError as error:
            raise TypeError(
                f"the loss does not compile to a real number for a vector of {self.theta.dtype}: {error}"
            ) from None
        finally:
            self.n_done += (int(reached[0]) - self.n_steps) * self.answers.size
            self.n_failed += int(reached[1])
            self.n_steps, self.n_lost = int(reached[0]), int(reached[2])
        if ended in (Ended.FAILED, Ended.DIVERGED):
            self._close_round(failed)
        self._go_on(failed, ended, is_folded=True)

    def _close_round(self, failed: int) -> None:
        """Count a round's queries. If nothing comes of them, it is had again."""
        self.n_done += self.answers.size
        self.n_failed += failed
        self.begin_round()

    def _go_on(self, failed: int, ended: int, is_folded: bool = False) -> None:
        """Go on from a step that was taken, or that could not be taken."""
        if ended == Ended.FAILED:
            self._give_up(f"{failed} of {self.answers.size} queries")
        if ended == Ended.DIVERGED:
            self._end(f"a weight is not finite after step {self.n_steps + 1}; take smaller steps")
        _, _, queries, measure_every, blocking, _, readout, *_ = self.settings
        is_due = measure_every is not None and self.n_steps % measure_every == 0
        if blocking is not None or (is_due and (queries is None or self.n_done + readout.repeats <= queries)):
            self.todo = [LOOK]
            self.begin_round()
        if blocking is None and not is_folded:
            self._fold()
        self._grow(1)
        if self.n_lost == MAX_LOST:
            self.n_lost = 0
            self._give_up(f"readings of every direction of {MAX_LOST} steps in a row")
        if ended == Ended.FROZEN:
            nudge = self.gains[C] / (self.n_steps + 1) ** self.gains[GAMMA]
            self._end(
                f"after {self.n_steps:,} steps a nudge of {nudge:g} is below the rounding of the largest weight, "
                f"{np.abs(self.theta).max():g} in {self.theta.dtype}, as weights have grown or nudges shrunk; take a "
                "larger eps (or Spall's c), smaller steps, or weights in float64"
            )

    def _fold(self) -> None:
        if self.n_steps > self.first_averaged:
            compiled.fold(self.mean, self.theta, self.n_steps - self.first_averaged)

    def _grow(self, n_steps: int) -> None:
        """Have room for the rows of further steps."""
        missing = self.n_steps + n_steps - len(self.history)
        if missing > 0:  # twice as many, so that rows are copied twice at most
            more = max(missing, len(self.history))
            self.history = np.concatenate([self.history, np.zeros((more, len(COLUMNS)))])

    def _give_up(self, what: str) -> NoReturn:
        reason = f"; the last one said: {self.reason}" if self.reason else ""
        self._end(f"{what} failed, by an exception or a loss that is not finite, after {self.n_steps:,} steps{reason}")

    def _end(self, message: str) -> NoReturn:
        raise FailedQueries(
            f"{message}. The last good weights are in the result of this error", self.result(math.nan, "failed")
        )

    def _take_start(self, readings: Array) -> None:
        """Learn the loss at the start and, of several readings, their deviation."""
        good = readings[np.isfinite(readings)]
        self.loss = float(good.mean())
        if self.kind == BASE:
            return
        deviation = float(good.std(ddof=1)) if good.size > 1 else 0.0
        if self.settings.blocking == "auto":
            self.allowed = 2 * deviation
        optimizer = self.settings.optimizer
        if isinstance(optimizer, Spall) and optimizer.c is None:
            self.gains[C] = max(deviation, self.settings.gradient.eps)
        self._check_nudge()

    def _take_slope(self, readings: Array) -> None:
        """Learn by what rate a weight's first step has the length that is wanted."""
        changes = np.abs(readings[::2] - readings[1::2])
        changes = changes[np.isfinite(changes)]
        nudge, optimizer = float(self.gains[C]), self.settings.optimizer
        # At a minimum the two readings of a pair differ as losses are rounded, and nudged weights: by up to a spacing
        # between the two, each time the slope there, which is up to 4 times the rise over the nudge where the loss
        # goes by the fourth power. Without a reading at the start, the rise is not known.
        good = readings[np.isfinite(readings)]
        rise = float(np.nan_to_num(np.abs(good - self.loss).max()))
        off = float(self.gains[ROUNDING]) * (float(np.abs(self.theta).max()) + nudge)
        if not (changes > 4 * (np.spacing(np.abs(good).max()) + rise * off / nudge)).any():
            raise ValueError(
                f"the loss did not change by more than rounding in {len(readings) // 2} pairs of readings, nudges of "
                f"{nudge:g} on either side of the start, which may be a minimum; take a larger c, or give a"
            )
        first_step = getattr(optimizer, "first_step", None)
        if first_step is None:
            first_step = 0.1 * float(np.sqrt(np.mean(np.square(self.theta, dtype=float)))) or 0.1
        slope = float(changes.mean()) / (2 * nudge)
        self.gains[A] = first_step * (self.gains[SHIFT] + 1) ** self.gains[ALPHA] / slope

    def _take_look(self, loss: float) -> None:
        """Learn the loss after a step and, with blocking, take the step back if it is worse by more than allowed."""
        row = self.history[self.n_steps - 1]
        row[[COLUMNS.index("queries"), COLUMNS.index("measured")]] = self.n_done, loss
        if self.settings.blocking is None:
            return
        if loss <= self.loss + self.allowed:
            self.loss = loss
        else:  # also if that reading failed
            self.theta[:] = self.room.before
            self.write()
            row[COLUMNS.index("accepted")] = 0.0
        self._fold()

    # Devices

    @property
    def acting(self) -> Array:
        """What a loss is read at where nothing is nudged: the weights or, of devices, what they make of them."""
        return self.board.acting if self.settings.devices else self.theta

    def write(self) -> None:
        """Write the weights onto the devices, if they are on some, by another's hand than a step's."""
        self._write(self.theta, self.board.settings, self.board.acting)

    def _write(self, wanted: Array, settings: Array, acting: Array) -> None:
        if self.settings.devices:
            write(self.board.numbers, self.board.gains, self.n_steps, SET, wanted, settings, acting)

    def restore(self, rounds: list[str], reason: str, arrays: dict[str, Array]) -> None:
        """Take up the state that a file holds, or raise: kernels check nothing any more."""
        kind, *todo = rounds
        n_rows = len(arrays["history"])
        if self.max_steps is not None and n_rows > self.max_steps:
            raise ValueError("it has more steps than its queries allow")
        if kind not in ROUNDS or not set(todo) <= set(ROUNDS) or kind != (todo or [STEP])[0]:
            raise ValueError("its rounds are none of a search")
        self.todo, self.kind, self.reason = todo, "", str(reason)
        self.begin_round()
        here = {
            "theta": self.theta, "before": self.room.before, "mean": self.mean, "moments": self.update.moments,
            "gains": self.gains[:LEVEL], "answers": self.answers, "told": self.told,
        }  # fmt: skip
        on_devices = {"settings": self.board.settings, "acting": self.board.acting} if self.settings.devices else {}
        here |= on_devices
        wanted = {name: (array.dtype, array.shape) for name, array in here.items()}
        wanted |= {
            "numbers": (np.dtype(float), (3,)),
            "counts": (np.dtype(np.int64), (3,)),
            "history": (np.dtype(float), (n_rows, len(COLUMNS))),
        }
        for name, (dtype, shape) in wanted.items():
            if arrays[name].dtype != dtype or arrays[name].shape != shape:
                raise ValueError(f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}")
        counts = arrays["counts"].tolist()
        if counts[0] != n_rows or not all(0 <= count <= MAX_COUNT for count in counts):
            raise ValueError("its counts are none of a search")
        for name in ("before", "mean", "moments", *on_devices):
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} has NaN or infinity")
        for name, array in here.items():
            array[...] = arrays[name]
        self.n_told = int(np.count_nonzero(self.told))
        self.n_steps, self.n_done, self.n_failed = counts
        self.allowed, self.loss, _ = arrays["numbers"].tolist()
        self.history = arrays["history"].copy()
        self._grow(1)

    def result(self, seconds: float, stopped: str) -> Minimum:
        """Return what was found so far."""
        history = dict(zip(COLUMNS, self.history[: self.n_steps].T.copy(), strict=True))
        last, best = self.acting.copy(), self.acting.copy()
        if self.is_done and self.n_steps > self.first_averaged:
            mean = self.mean.astype(best.dtype)
            if self.settings.devices:
                self._write(mean, np.empty_like(mean), best)
            else:
                best = mean
        names = {"a": A, "A": SHIFT, "alpha": ALPHA, "c": C, "gamma": GAMMA}
        settings = {name: float(self.gains[k]) for name, k in names.items()}
        kept = []
        if self.settings.blocking is not None:
            settings["allowed"] = self.allowed
            kept = [self.loss]
        weights, loss, error = self.form.shape(best), *find_loss(history, kept)
        n_queries, failed = self.n_done + self.n_told, self.n_failed
        return Minimum(
            weights, self.form.shape(last), loss, error, n_queries, self.n_steps, seconds, failed, stopped, settings,
            history,
        )  # fmt: skip
