"""Ctrl-C where everything is whole: between two steps, and never inside of compiled code."""

import math
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, Ctrl-C is noted, and raised only where `leave_at` says that it may.

    The handler that was there is called at once, and what it raises is what is noted, be it
    Python's own KeyboardInterrupt or something else. One that returns, such as a debugger's, stays in
    charge, and nothing is noted; unless it has only told an event loop, as under
    `asyncio.run`, which hears of it when whoever runs now is done: then that has to end.

    Only the main thread is told of signals: in others, nothing is ever noted.

    Attributes
    ----------
    error : BaseException or None
        What is to be raised, if Ctrl-C came.
    presses : int
        How often it came.
    can_hear : bool
        Whether it would be noted.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.presses = 0
        self.can_hear = False
        self._patience = math.inf
        self._former: Callable[[int, FrameType | None], Any] = signal.default_int_handler
        self._is_told = False

    def __enter__(self) -> Self:
        former = signal.getsignal(signal.SIGINT)
        # Neither ignored, nor left to the system, nor in other hands than Python's.
        if callable(former) and threading.current_thread() is threading.main_thread():
            outer = getattr(former, "__self__", None)
            self._former, self.can_hear = former, True
            signal.signal(signal.SIGINT, self._hear)
            if isinstance(outer, Interrupt) and outer._patience == math.inf:
                self._is_told = True
                if outer.error is not None:
                    self.error, self.presses = outer.error, outer.presses
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.can_hear:
            signal.signal(signal.SIGINT, self._former)
        if self.error is not None and isinstance(error, Exception):
            raise self.error from error

    def leave_at(self, press: int) -> "Leaving":
        """Let Ctrl-C leave what is done inside at any point: the first press, or a later one, since `__enter__`."""
        return Leaving(self, press)

    def is_pressed(self) -> bool:
        """Return whether Ctrl-C came; raise what a handler of the user's own made of it, if that is something else."""
        if self.error is not None and not isinstance(self.error, KeyboardInterrupt):
            raise self.error
        return self.error is not None

    def note(self, error: BaseException) -> None:
        """Take what was raised, here or by somebody else, for a Ctrl-C."""
        self.error = error.with_traceback(None)  # which would keep all that its frames hold

    def _hear(self, number: int, frame: FrameType | None) -> None:
        try:
            self._former(number, frame)
            if not (self._is_told or _is_loop_waiting()):
                return
            raise KeyboardInterrupt
        except BaseException as error:
            self.presses += 1
            self.note(error)
            if self.presses >= self._patience:
                self._patience = math.inf  # whoever catches it is not disturbed
                raise


class Leaving:
    """While entered, an interrupt raises at once from a press on; a generator would take three times as long."""

    def __init__(self, interrupt: Interrupt, press: int) -> None:
        self._interrupt, self._press = interrupt, press

    def __enter__(self) -> None:
        interrupt = self._interrupt
        try:
            interrupt._patience = self._press
            if interrupt.error is not None and interrupt.presses >= self._press:
                raise interrupt.error
        except BaseException:
            interrupt._patience = math.inf
            raise

    def __exit__(self, *_: object) -> None:
        self._interrupt._patience = math.inf


def call_apart(function: Callable[[], Any], stop: Any = None) -> Any:
    """Return function(), which takes long; on Ctrl-C raise at once, and leave it to end when it will.

    Compiled code and the compiler do not hear of signals, and what an exception in the middle of
    the compiler leaves is not certain: so it runs in a thread of its own. It must write only what is
    given up with it; stop[0] is set to 1 then.
    """
    with Interrupt() as interrupt:
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.extend((function(), None))
            except BaseException as error:
                outcome.extend((None, error))

        thread = threading.Thread(target=work, daemon=True)
        if interrupt.can_hear and _start(thread):
            try:
                with interrupt.leave_at(1):
                    while thread.is_alive():
                        thread.join(0.1)  # Windows tells of signals in between only
            except BaseException:
                if stop is not None:
                    stop[0] = 1
                raise
        else:
            work()
    result, error = outcome
    if interrupt.error is not None:
        raise interrupt.error
    if error is not None:
        raise error
    return result


def leave_if_pressed() -> None:
    """Raise what Ctrl-C has left to be raised, if who called this holds it back and it came."""
    with Interrupt() as interrupt, interrupt.leave_at(1):
        pass


def _start(thread: threading.Thread) -> bool:
    """Start a thread, unless the system gives no more, as when the process ends."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _is_loop_waiting() -> bool:
    """Return whether this is called, however deep, by what an event loop of asyncio's runs."""
    find = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return find is not None and find() is not None
