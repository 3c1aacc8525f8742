"""Who may use threads: one compiled call at a time, and none in a process forked after they were used.

OpenMP ends a forked process that enters it, and numba's workqueue ends a process that
two of its threads enter. Whoever may not use threads computes on his own: the bits are
the same.
"""

import contextlib
import os
import threading
from collections.abc import Iterator

import numba

_turn = threading.Lock()
_is_forked = False


@contextlib.contextmanager
def take_turn(n_chunks: int) -> Iterator[int]:
    """Give into how many chunks work may be dealt: n_chunks, or 1."""
    turn = _turn
    if n_chunks == 1 or _is_forked or not turn.acquire(blocking=False):
        yield 1
        return
    try:
        yield n_chunks
    finally:
        turn.release()


def _begin_child() -> None:
    """Note whether this process inherits threads that are not there."""
    global _turn, _is_forked
    _turn = threading.Lock()  # nobody here would give the parent's back
    with contextlib.suppress(ValueError):  # no compiled code of anybody's has asked for threads
        numba.threading_layer()  # type: ignore[attr-defined]
        _is_forked = True


if hasattr(os, "register_at_fork"):  # pragma: no branch (not on Windows)
    os.register_at_fork(after_in_child=_begin_child)
