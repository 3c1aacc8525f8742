"""Compiling in two processes at once: another one begins at the other end of the list, and leaves code in the cache.

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
from collections.abc import Sequence
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
ahead.work(sys.stdin.buffer, sys.stdout)
"""


def can_help() -> bool:
    """Return whether there is a second core, a Python to start, and a place for what it makes."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    has_python = bool(sys.executable) and not getattr(sys, "frozen", False)
    return n_cores > 1 and has_python and jit.has_cache()


class Other:
    """The other process, and how far it is: it begins with the last of the jobs, which count from 0."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )
        self._begun = self._ended = len(jobs)
        self._moved = threading.Condition()
        settings = {
            name: getattr(numba.config, name) for name in (*jit.SETTINGS, "CACHE_DIR") if hasattr(numba.config, name)
        }
        names = [(one.py_func.__module__, one.py_func.__name__, signature) for one, signature in jobs]
        assert self.process.stdin
        with contextlib.suppress(OSError):  # it may be gone
            for what in (sys.path, (settings, names)):
                self.process.stdin.write(pickle.dumps(what))
            self.process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Note what it says."""
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                begun, ended = map(int, line.split())
                with self._moved:
                    self._begun, self._ended = begun, ended
                    self._moved.notify()
        self.process.wait()
        with self._moved:
            self._begun = self._ended = 0  # nobody is waited for any more
            self._moved.notify()

    def wait(self, k: int) -> None:
        """Wait until it is not at this job."""
        with self._moved:
            self._moved.wait_for(lambda: not self._begun <= k < self._ended)

    def leave(self) -> None:
        """Have it end with the job that it is at."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()


def compile_all(jobs: Sequence[Job]) -> None:
    """Compile what neither this process nor the cache has, in two processes if there are enough."""
    missing = [(dispatcher, signature) for dispatcher, signature in jobs if not jit.is_kept(dispatcher, signature)]
    other = Other(missing) if len(missing) >= FEWEST and can_help() else None
    try:
        for k, (dispatcher, signature) in enumerate(missing):
            if other:
                other.wait(k)
            dispatcher.compile(signature)  # or loaded, if the other has compiled it
    finally:
        if other:
            other.leave()


def work(source: Any, out: Any) -> None:  # pragma: no cover (in a process of its own, untraced)
    """Compile from the last job to the first, and say which one is begun, and which one was ended last."""
    settings, names = pickle.load(source)
    for name, value in settings.items():
        setattr(numba.config, name, value)
    left = threading.Event()

    def watch() -> None:
        source.read()  # until the pipe is closed
        left.set()

    threading.Thread(target=watch, daemon=True).start()
    for k in reversed(range(len(names))):
        if left.is_set():
            return
        module, name, signature = names[k]
        print(k, k + 1, file=out, flush=True)
        found = getattr(importlib.import_module(module), name)
        getattr(found, "dispatcher", found).compile(signature)
        print(k, k, file=out, flush=True)
