"""Ctrl-C between two steps instead of inside one."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """While entered, Ctrl-C sets `requested`, to be looked at where everything is whole.

    Code that may be left anywhere, such as a compilation, sets `at_once`: there, and
    the second time anywhere, Ctrl-C raises KeyboardInterrupt as ever. Only the main
    thread is told of signals, and a handler that somebody else has put up stays up.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = True
        self._is_installed = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._is_installed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_installed:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def call(self, function: Callable[[], Any]) -> Any:
        """Return function(), which takes long; on Ctrl-C raise at once, and leave it to end when it will.

        Compiled code does not hear of signals, so it runs in a thread of its own, and
        must write only what is given up with it.
        """
        if not self._is_installed:
            return function()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.extend((function(), None))
            except BaseException as error:
                outcome.extend((None, error))

        thread = threading.Thread(target=work, daemon=True)
        before, self.at_once = self.at_once, True
        thread.start()
        while thread.is_alive():
            thread.join(0.1)  # Windows tells of signals in between only
        self.at_once = before
        result, error = outcome
        if error is not None:
            raise error
        return result

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.at_once:
            raise KeyboardInterrupt
        self.requested = self.at_once = True
