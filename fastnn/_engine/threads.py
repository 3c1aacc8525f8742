"""How many threads share the work: what measuring says, one compiled call at a time, none after a fork.

OpenMP ends a forked process that enters it, and numba's workqueue ends a process that
two of its threads enter. Whoever may not use threads computes on his own: the bits are
the same.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np

from fastnn._engine.plan import count_stem, count_steps
from fastnn.kernels.layout import Layout
from fastnn.kernels.work import Method

# How long threads of OpenMP wait awake for the next part of a step, before they sleep. By
# default those of GNU turn 300,000 times, for milliseconds, and those of LLVM and Intel wait
# 200 ms, meanwhile keeping off the core the thread that is waited for. Less than a part of a step takes, and threads
# sleep in each: 784-128-64-10 in float64 takes 0.78 ms with 10,000 turns, 0.45 with 30,000 and with 100,000.
WAITS = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
# A step of less than about 100 us runs on one thread: its three parallel regions
# cost 3 to 10 us under OpenMP and 270 us under numba's workqueue.
SERIAL_BELOW = 1e5  # ns
# Seconds: what a look takes at least, and a run at most. A look shorter than the time slices of
# the system tells little; a run cannot be ended, and may take twenty times as long as expected.
LOOK = 0.004
RUN = 0.02
# Seconds that a rate is of: virtual cores stand still for 10 to 25 ms now and then, which tells nothing.
MEMORY = 0.1
SHARE = 1 / 32  # of the time, for looks
GAIN = 0.95  # what sharing may take of the time of working alone: with less to gain, it is not worth two cores
# Threads that slept take 10 to 25 ms to wake up on virtual cores, and one time in five as long again in the next step.
WAKE = 0.05  # seconds that this may take beyond working alone: what is longer is the steps themselves
WAKING = 2  # steps
PAUSE = 0.001  # seconds: calls that follow each other sooner are one piece of work, whose threads wake once

_turns: list[object] = []  # the turn is that of the first one
_is_forked = False


class Pace:
    """Whether threads that share a kind of work are faster than one alone, measured while it is done.

    On a machine that does something else, each waits for one that the system does not run,
    and that is known by trying only. So now and then some steps go the other way: a look,
    of a single step at first, then of more while it is short. Looks, and what was lost by
    believing one, take no more than `SHARE` of the time; only where sharing has become slower
    than working alone was, that is looked at at once.

    Threads fall asleep while one works alone, and between calls. What waking them takes tells nothing of the steps
    that follow: it is kept apart, and work is shared once it would have earned that. A call may be too short, and so
    may be the first of a long fit: only what comes tells which it is.
    """

    def __init__(self) -> None:
        self.shares = False
        self._looks = False
        self._recent = {True: np.zeros(2), False: np.zeros(2)}  # samples and seconds of each way
        self._since = np.zeros(2)  # the same, since this way is gone
        self._credit = LOOK  # seconds that looks may take
        self._count = 1
        self._awake = 0  # shared runs since the threads slept
        self._waking = np.zeros(2)  # samples and seconds of those that woke them, until another follows
        self._wake = 0.0  # seconds that it took more than others
        self._earned = 0.0  # seconds that sharing would have saved since the last pause
        self._is_short = False  # whether this call, with those before it, is
        self._ended = -np.inf  # when the last run did

    def begin(self, n_samples: int, now: float) -> None:
        """Take account of a call that begins, with so many samples."""
        if now - self._ended > PAUSE:
            if self._waking[0]:  # all that there was: waking is part of such calls
                self._take(*self._end_waking())
            self._awake, self._earned = 0, 0.0
        self._is_short = False
        if self.shares and not self._looks and not self._awake and self._rate(True) < np.inf:
            self._earned += n_samples * (self._rate(False) - self._rate(True))
            self._is_short = self._earned < self._wake

    def plan(self) -> tuple[bool, int]:
        """Return whether the next run is shared, and how many samples it may have; a step it has."""
        return self._way, 1 if self._way and self._awake < WAKING else self._count

    def note(self, n_samples: int, began: float, ended: float) -> None:
        """Take account of a run that was planned."""
        seconds, self._ended = ended - began, ended
        if self._is_short:
            self._add(n_samples, seconds)
            self._forget()
            self._wake -= SHARE * seconds  # so that it is tried again
            return
        self._awake = self._awake + 1 if self._way else 0
        waking = np.add(self._waking, (n_samples, seconds))
        if 0 < self._awake <= WAKING and waking[1] - waking[0] * self._rate(False) < WAKE:
            self._waking[:] = waking
            return
        if self._waking[0]:
            n_before, took = self._end_waking()
            self._wake = max(0.0, took - n_before * seconds / n_samples)
            self._credit -= self._wake
        self._take(n_samples, seconds)

    def _end_waking(self) -> tuple[int, float]:
        """Return of how many samples the runs were that woke the threads, and their seconds."""
        n_samples, seconds = self._waking.tolist()
        self._waking[:] = 0.0
        return int(n_samples), seconds

    def _take(self, n_samples: int, seconds: float) -> None:
        """Take account of a run that tells how fast this way is."""
        way = self._way
        is_first = not self._recent[False][0]
        self._add(n_samples, seconds)
        recent, rate = self._recent[way], self._rate(way)
        if self._looks:
            if recent[1] >= LOOK:
                self._end_look(way, rate)
            return
        if is_first and seconds > LOOK:  # its parts outlast the system's time slices: nothing to fear
            self.shares, self._credit, self._count = True, 0.0, 1
            return
        self._since += n_samples, seconds
        self._forget()
        needed = seconds if seconds > 2 * RUN else LOOK  # a single step may take longer
        self._credit = min(self._credit + SHARE * seconds, needed)
        if recent[1] >= LOOK and (self._credit >= needed or (way and rate > self._rate(False))):
            self._looks, self._count = True, 1
            self._recent[not way][:] = 0.0

    @property
    def _way(self) -> bool:
        """Whether runs are shared at present."""
        return self.shares != self._looks and not self._is_short

    def _add(self, n_samples: int, seconds: float) -> None:
        """Add a run to what is known of this way, and see how long the next one may be."""
        self._recent[self._way] += n_samples, seconds
        self._count = max(1, min(2 * max(n_samples, self._count), int(RUN / self._rate(self._way))))

    def _forget(self) -> None:
        """Keep of this way what was lately."""
        recent = self._recent[self._way]
        recent *= min(1.0, MEMORY / recent[1])

    def _end_look(self, way: bool, rate: float) -> None:
        """Go on in the faster way."""
        self._looks = False
        self._credit -= self._recent[way][1]
        if rate < GAIN * self._rate(not way):
            samples, seconds = self._since
            self._credit -= max(0.0, seconds - samples * rate)
            self._since[:] = 0.0
            self.shares = way
        else:
            self._count = 1

    def _rate(self, way: bool) -> float:
        """Return the seconds that a sample has taken lately, inf where nothing is known."""
        samples, seconds = self._recent[way]
        return float(seconds / samples) if samples else np.inf


@functools.lru_cache(maxsize=256)
def find_pace(*kind: Any) -> Pace:
    """Return the pace of a kind of work, the same for the same arguments."""
    return Pace()


def count_chunks(layout: Layout, method: Method, n_samples: int) -> int:
    """Return how many threads share a batch of that size: 1 for small work."""
    products = [int(n_in * n_out) for n_in, n_out in zip(layout.sizes, layout.sizes[1:], strict=False)]
    cost = 0.1 * 3 * sum(products)  # ns a sample: three products at 20 GFLOP/s
    if method == Method.SERIES:
        cost *= 2
    if method == Method.DIRECT:
        # A perturbation costs about 1 ns, and 1 ns more for each unit that it moves.
        moved = np.cumsum(layout.sizes[:0:-1])[::-1] - layout.sizes[1:]
        cost += sum(n * (1 + int(units)) for n, units in zip(products, moved, strict=True))
    n_products, n_values = count_stem(layout, method)
    cost = count_steps(layout) * cost + 0.1 * n_products + n_values
    if cost * n_samples < SERIAL_BELOW:
        return 1
    load_layer()
    return numba.get_num_threads()


@functools.cache
def load_layer() -> None:
    """Have numba load its threading layer so that its threads do not wait awake for long.

    The layer's library reads the environment when it is loaded, and then only. So what is
    set here is set for that moment: child processes, and libraries that bring an OpenMP of
    their own, keep what the user wants of them.
    """
    unset = [] if "OMP_WAIT_POLICY" in os.environ else [name for name in WAITS if name not in os.environ]
    try:
        os.environ.update({name: WAITS[name] for name in unset})
        numba.get_num_threads()
    finally:
        for name in unset:
            os.environ.pop(name, None)


@contextlib.contextmanager
def take_turn(n_chunks: int) -> Iterator[int]:
    """Give into how many chunks work may be dealt: n_chunks, or 1."""
    turns, mine = _turns, object()
    try:
        # No lock: Ctrl-C may be raised between its being taken and anybody's knowing that.
        if n_chunks > 1 and not _is_forked:
            turns.append(mine)
            if turns[0] is not mine:
                turns.remove(mine)
        yield n_chunks if mine in turns else 1
    finally:
        if mine in turns:
            turns.remove(mine)


def _begin_child() -> None:
    """Note whether this process inherits threads that are not there."""
    global _turns, _is_forked
    _turns = []  # nobody here would give the parent's back
    with contextlib.suppress(ValueError):  # no compiled code of anybody's has asked for threads
        numba.threading_layer()  # type: ignore[attr-defined]
        _is_forked = True


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_begin_child)
