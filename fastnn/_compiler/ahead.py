"""Compiling in two processes at once: another one is handed jobs from the list's end, and leaves code in the cache.

Two threads of one process would not do: the compiler has a lock. The other process imports fastnn from where this one
did, which takes it a second, and goes when there is nothing left to do, or nobody to do it for.
"""

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numba

from fastnn._compiler import jit

# Of fewer jobs another process does none.
FEWEST = 2
# What numba compiles, and for which types.
Job = tuple[Any, tuple[Any, ...]]
PROGRAM = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from fastnn._compiler import ahead
out, sys.stdout = sys.stdout, sys.stderr  # whatever else prints says nothing of jobs
ahead.work(sys.stdin.buffer, out)
"""


def can_help() -> bool:
    """Return whether there is a second core, a Python to start, and a place for what it makes."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    has_python = bool(sys.executable) and not getattr(sys, "frozen", False)
    return n_cores > 1 and has_python and jit.has_cache()


class Other:
    """The other process, and the jobs, which count from 0: it is handed the last, and this one takes the first.

    A job is one process's. When both could begin the one that they met at, the second to end it wrote the file of it
    again, seconds after the fit.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        self._left = deque(range(len(jobs)))
        self._theirs: list[int] = []
        self._is_busy = False
        self._moved = threading.Condition()
        threading.Thread(target=self._hand_out, args=(jobs,), daemon=True).start()

    def _hand_out(self, jobs: Sequence[Job]) -> None:
        """Hand it a job each time it says that it is free, as long as there are any and it is there."""
        settings = {
            name: getattr(numba.config, name) for name in (*jit.SETTINGS, "CACHE_DIR") if hasattr(numba.config, name)
        }
        names = [(one.py_func.__module__, one.py_func.__name__, signature) for one, signature in jobs]
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin
        assert stdout
        try:
            with contextlib.suppress(OSError, ValueError), stdout as free:  # it may be gone, or left
                for what in (sys.path, (settings, names)):
                    stdin.write(pickle.dumps(what))
                stdin.flush()
                for _ in free:
                    with self._moved:
                        self._is_busy = bool(self._left)
                        self._moved.notify()
                        if not self._is_busy:
                            break
                        self._theirs.append(self._left.pop())
                    stdin.write(b"%d\n" % self._theirs[-1])
                    stdin.flush()
        finally:
            with self._moved:
                self._is_busy = False  # nobody is waited for any more
                self._moved.notify()
            self.leave()
        self.process.wait()

    def share(self) -> Iterator[int]:
        """Yield the jobs that are left, one after another, and, when it has ended them, those that it was handed."""
        while True:
            with self._moved:
                if not self._left:
                    self._moved.wait_for(lambda: not self._is_busy)
                    break
                job = self._left.popleft()
            yield job
        yield from self._theirs

    def leave(self) -> None:
        """Have it end with the job that it is at."""
        assert self.process.stdin
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(b"-1\n")  # where this process was forked meanwhile, the pipe stays open
            self.process.stdin.close()


def compile_all(jobs: Sequence[Job]) -> None:
    """Compile what neither this process nor the cache has, in two processes if there are enough."""
    missing = [(dispatcher, signature) for dispatcher, signature in jobs if not jit.is_kept(dispatcher, signature)]
    other = Other(missing) if len(missing) >= FEWEST and can_help() else None
    try:
        for k in other.share() if other else range(len(missing)):
            dispatcher, signature = missing[k]
            dispatcher.compile(signature)  # or loaded, if the other has compiled it
    finally:
        if other:
            other.leave()


def work(source: Any, out: Any) -> None:  # pragma: no cover (in a process of its own, untraced)
    """Say that this process is free, and compile what it is handed, until that is -1 or the pipe is closed."""
    settings, names = pickle.load(source)
    for name, value in settings.items():
        setattr(numba.config, name, value)
    print(file=out, flush=True)
    for job in map(int, source):
        if job < 0:
            return
        module, name, signature = names[job]
        found = getattr(importlib.import_module(module), name)
        getattr(found, "dispatcher", found).compile(signature)
        print(file=out, flush=True)
