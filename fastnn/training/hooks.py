"""What a fit does with its callbacks: it checks and calls them, and keeps their states."""

import contextlib
import importlib.util
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._compiler import jit
from fastnn._support import validate
from fastnn._support.interrupt import Interrupt
from fastnn._support.validate import Array
from fastnn.callbacks import Callback, Checkpoint
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.training.trainer import Trainer

# Seconds after which a run deserves a progress bar that nobody asked for.
LONG = 2.0
COMPILING = "fastnn compiles its code for such a run: up to some 20 seconds, once; it is kept for the next ones"

# By name: whose state it is, None if it comes from a file, and the state.
States = dict[str, tuple[Callback | None, Mapping[str, Any]]]


class Hooks:
    """The callbacks of one fit, in their order.

    Parameters
    ----------
    trainer : Trainer
    callbacks : list of Callback
    interrupt : Interrupt
        The first Ctrl-C of all waits for a callback; one that comes later, while it runs, leaves it.
    states : States
        Of a run that did not come to its end: each is given back to its owner, or, if it
        comes from a file, to the callback of its name.
    """

    def __init__(self, trainer: "Trainer", callbacks: list[Callback], interrupt: Interrupt, states: States) -> None:
        self._trainer = trainer
        self._interrupt = interrupt
        self._callbacks = callbacks
        self._left = states
        self._begun: dict[str, Callback] = {}

    def begin(self, n_steps: int) -> None:
        """Have all prepare, or go on where they were."""
        counts: Counter[str] = Counter()
        with self._leave():
            for callback in self._callbacks:
                kind = type(callback).__name__
                name = f"{kind}.{counts[kind]}"
                counts[kind] += 1
                callback.on_fit_begin(self._trainer, n_steps)
                owner, state = self._left.get(name, (None, {}))
                if state and owner in (None, callback):
                    callback.restore(self._trainer, state)
                self._begun[name] = callback
        self._left = {}

    def tell(self, metrics: Mapping[str, float]) -> None:
        """Tell all of some steps, and first, if it is not empty, of the epoch that they ended."""
        with self._leave():
            for callback in self._callbacks:
                if metrics:
                    callback.on_epoch_end(self._trainer, metrics)
                callback.on_steps(self._trainer)

    def end(self, history: History | None) -> None:
        """Have all clean up, whatever happens in one of them."""
        if history is not None and not history.interrupted:
            self._begun = {}  # the run came to its end
        with contextlib.ExitStack() as stack:
            for callback in reversed(self._callbacks):
                stack.callback(self._end, callback, history)

    def _end(self, callback: Callback, history: History | None) -> None:
        try:
            with self._leave():
                callback.on_fit_end(self._trainer, history)
        except KeyboardInterrupt as error:
            self._interrupt.note(error)

    def _leave(self) -> contextlib.AbstractContextManager[None]:
        return self._interrupt.leave_at(max(2, self._interrupt.presses + 1))

    def states(self) -> States:
        """Return what those callbacks that have something to keep can go on from."""
        states = {name: (callback, _check_state(callback, callback.state())) for name, callback in self._begun.items()}
        return {**self._left, **{name: kept for name, kept in states.items() if kept[1]}}


def pack_states(states: States) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return states as a file has them: what is no array by callback and name, and the arrays by both."""
    described: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, (_, kept) in states.items():
        described[name] = {key: value for key, value in kept.items() if not isinstance(value, np.ndarray)}
        found = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
        arrays |= {f"callbacks.{name}.{key}": value for key, value in found.items()}
    return described, arrays


def unpack_states(described: Mapping[str, Any], arrays: dict[str, Array]) -> States:
    """Return states that `pack_states` packed, and take their arrays out."""
    states: States = {}
    for name, kept in described.items():
        prefix = f"callbacks.{name}."
        found = {key.removeprefix(prefix): arrays.pop(key) for key in list(arrays) if key.startswith(prefix)}
        states[name] = None, {**kept, **found}
    return states


def _check_state(callback: Callback, state: object) -> dict[str, Any]:
    """Return a callback's state if a file can hold it."""
    where = f"{type(callback).__name__}.state()"
    if not isinstance(state, dict):
        raise TypeError(f"{where} must be a dict, got {validate.show(state)}")
    checked = {}
    for name, value in state.items():
        plain = value.item() if isinstance(value, np.generic) else value
        is_array = isinstance(plain, np.ndarray) and plain.dtype.kind in "biuf"
        if not isinstance(name, str) or not (is_array or isinstance(plain, str | int | float)):
            raise TypeError(f"{where} must hold numbers, texts and arrays by names, got {validate.show({name: value})}")
        checked[name] = plain
    return checked


class _ProgressBar(Callback):
    """A bar of tqdm's, in steps, with the loss of the last epoch."""

    def __init__(self, bar: Callable[..., Any], delay: float) -> None:
        self._make_bar = bar
        self._delay = delay
        self._bar: Any = None
        self._begun = 0

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        self._bar = self._make_bar(total=n_steps or None, unit="step", delay=self._delay, dynamic_ncols=True)
        self._begun = trainer.n_steps

    def on_steps(self, trainer: "Trainer") -> None:
        self._bar.update(trainer.n_steps - self._begun - self._bar.n)

    def on_epoch_end(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        # Drawn by the next update, which knows how often is enough.
        self._bar.set_postfix(epoch=int(metrics["epoch"]), loss=f"{metrics['loss']:.4g}", refresh=False)

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        if self._bar is not None:  # else Ctrl-C came while it was made
            self._bar.close()


class _Compiling(Callback):
    """A line, once, if something is compiled."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say

    def on_fit_begin(self, trainer: "Trainer", n_steps: int) -> None:
        jit.listeners.append(self._tell)

    def _tell(self) -> None:
        jit.listeners.remove(self._tell)
        self._say(COMPILING)

    def on_fit_end(self, trainer: "Trainer", history: History | None) -> None:
        if self._tell in jit.listeners:
            jit.listeners.remove(self._tell)


def make_progress(progress: bool | None) -> list[Callback]:
    """Return what tells of progress, if something is to; None leaves it to who looks, and to the run's length."""
    if progress is None:
        if not _is_watched():
            return []
        has_bar = importlib.util.find_spec("tqdm") is not None
    elif not (has_bar := validate.flag("progress", progress)):
        return []
    if not has_bar:
        return [_Compiling(lambda line: sys.stderr.write(line + "\n"))]
    with validate.optional("progress=True", "progress"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of widgets that a notebook has not: the bar is text, then
        from tqdm.auto import tqdm
    return [_Compiling(lambda line: tqdm.write(line, file=sys.stderr)), _ProgressBar(tqdm, 0.0 if progress else LONG)]


def _is_watched() -> bool:
    """Return whether somebody looks: standard error is a terminal, or this is a notebook; not where tqdm is off."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # Under pythonw there is no standard error.
    return (getattr(sys.stderr, "isatty", bool)() or hasattr(shell, "kernel")) and not os.environ.get("TQDM_DISABLE")


def check_callbacks(callbacks: Iterable[object]) -> list[Callback]:
    """Return the callbacks as a list, if they are some; those that save come last: files have what the others did."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of fastnn.callbacks.Callback, got {callbacks!r}")
    checked = []
    for k, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            hint = "; write it with parentheses" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks[{k}] must be a fastnn.callbacks.Callback, got {callback!r}{hint}")
        checked.append(callback)
    return sorted(checked, key=lambda callback: isinstance(callback, Checkpoint))


def ask_callbacks(trainer: "Trainer", callbacks: Iterable[Callback], names: Sequence[str]) -> None:
    """Have all callbacks say what speaks against a fit that measures what has those names."""
    if trainer._hooks:
        raise RuntimeError("it runs already, and one run has one place: let it end, or stop it with stop()")
    known = list(names)
    for callback in callbacks:
        callback.check(trainer, tuple(known))
        known += callback.adds
