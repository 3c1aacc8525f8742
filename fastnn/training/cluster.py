"""Blocks of samples that the workers of a Dask cluster measure. Dask is imported here, and nowhere else."""

import statistics
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import distributed
import numba
import numpy as np
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.scheduler import KilledWorker

from fastnn._compiler.jit import DIGEST
from fastnn._engine.blocks import Found, Job, Piece, measure_piece
from fastnn._support import validate
from fastnn._support.interrupt import call_apart
from fastnn._support.validate import Array, find_caller
from fastnn.kernels.losses import Loss
from fastnn.kernels.work import Data
from fastnn.model.network import Network
from fastnn.training.parts import Mapped, find_rows, is_collection, list_files, open_part

# Seconds for which all workers, or the scheduler, may be gone.
PATIENCE = 30.0
# Seconds after which it is looked whether anybody is there.
POLL = 1.0
# A step is begun so many times, when what was laid out is lost on the way.
MOST_TRIES = 10
# Steps that are timed, after a first one, which compiles.
N_TIMED = 5
# A worker that takes so many times as long as the others is named, where a step takes longer than this.
SLOW, LONG = 10.0, 0.1

# What a lost connection, or a worker that was lost with what was laid out there, ends in.
LOST = (FutureCancelledError, FuturesCancelledError, TimeoutError, OSError)

KEPT = "the network keeps the weights of the last whole step, and `fit` goes on from there, also without a client"
ADVICE = (
    "a step takes {:.3g} ms on this cluster, and computes for {:.3g} ms, as long as one thread at home: a cluster "
    "pays where a step has more to compute, such as larger batches, in larger blocks"
)
UNEVEN = "worker {} takes {:.0f} times as long for a sample as the others, and each step waits for it"
MIXED = "workers have processors of several kinds, {}: the last bits depend on which of them measures a block"


Samples = tuple[Array | Mapped, Array | Mapped]
Answer = tuple[Found, float, str]  # what was found, in how many seconds, and by whom


def run_piece(
    samples: Samples, rows: Array, slot: int, job: Job, theta: Array, done: int, digest: str | None
) -> Answer:
    """Return what a worker finds of a piece, how many seconds it took, and who it is."""
    worker = str(distributed.get_worker().address)
    if digest != DIGEST:  # of one that came later than `Cluster` looked
        raise RuntimeError(f"worker {worker} does not have what the trainer has, but: {describe()}")
    started = time.perf_counter()
    x, y = map(find_rows, samples)
    found = measure_piece(job, np.array(theta), x, y, rows, slot, done)  # of weights as they came none may be written
    return found, time.perf_counter() - started, worker


def count_samples(samples: Samples) -> int:
    """Return how many samples a part has."""
    return int(find_rows(samples[0]).shape[0])


def describe() -> str:
    """Return what bits depend on, to be read."""
    return f"fastnn {sys.modules['fastnn'].__version__} ({DIGEST}), numba {numba.__version__}, numpy {np.__version__}"


class Cluster:
    """The workers of a client, and the samples as they have them.

    Parameters
    ----------
    client : distributed.Client
    job : Job
    network : Network
    loss : Loss
    samples : Data or (X, y)
        Of Data every worker is sent a copy; Dask collections stay where they are, and files are mapped by who needs
        them.
    """

    def __init__(self, client: Any, job: Job, network: Network, loss: Loss, samples: "Data | tuple[Any, Any]") -> None:
        if not isinstance(client, distributed.Client) or client.asynchronous:
            raise TypeError(f"client must be a dask.distributed.Client that waits, got {validate.show(client)}")
        self._client = client
        self._job = job._replace(task=job.task._replace(n_chunks=1))  # Dask counts the threads
        self._network, self._loss, self._samples = network, loss, samples
        self._timed: list[tuple[float, list[Piece], list[Answer]]] = []
        self._workers = self._check_workers()
        self._parts: list[Any] = self._lay_out()
        sizes: list[int] = client.gather(client.map(count_samples, self._parts, pure=False))
        self.sizes = sizes[:1] if isinstance(samples, Data) else sizes

    def _check_workers(self) -> set[str]:
        """Return who is there, or raise unless somebody is, and all have what the trainer has."""

        # Pickled by value: it says what is missing also where nothing of fastnn is.
        def look() -> Any:  # pragma: no cover (called by workers, untraced)
            try:
                from llvmlite.binding import get_host_cpu_name

                from fastnn._compiler.jit import DIGEST
                from fastnn.training.cluster import describe
            except ImportError as error:
                return None, f"{type(error).__name__}: {error}", ""
            return DIGEST, describe(), get_host_cpu_name()

        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except LOST as error:
            raise ConnectionError(f"the cluster has no worker: none came in {PATIENCE:g} s") from error
        found: dict[str, Any] = self._client.run(look, on_error="return")
        for worker, seen in found.items():
            if isinstance(seen, Exception) or seen[0] != DIGEST:
                what = repr(seen) if isinstance(seen, Exception) else seen[1]
                raise RuntimeError(f"worker {worker} does not have what the trainer has, {describe()}, but: {what}")
        if len(kinds := {seen[2] for seen in found.values()}) > 1:
            warnings.warn(MIXED.format(", ".join(sorted(kinds))), stacklevel=find_caller())
        return set(found)

    def _lay_out(self) -> list[Any]:
        """Return futures of the parts."""
        samples = self._samples
        if isinstance(samples, Data):
            # A copy each: of replicas of one, Dask's active memory manager takes all but one away within two seconds.
            return [self._send((samples.x, samples.y), [worker]) for worker in self._client.nthreads()]
        pairs = self._list_partitions(*samples) if any(map(is_collection, samples)) else list_files(*samples)
        named = range(len(pairs)), *zip(*pairs, strict=True)
        found: list[Any] = self._client.map(
            open_part, *named, network=self._send(self._network), loss=self._loss, pure=False
        )
        return found

    def _list_partitions(self, X: Any, y: Any) -> list[tuple[Any, Any]]:
        """Return pairs of futures of two collections' partitions, each of whole samples."""
        if not is_collection(X) or not is_collection(y):
            raise TypeError("X and y must both be Dask collections, or neither")
        delayed = []
        for collection in (X, y):
            if hasattr(collection, "rechunk"):  # an array, which may be cut across its columns
                collection = collection.rechunk(dict.fromkeys(range(1, collection.ndim), -1))
            delayed.append(np.ravel(collection.to_delayed()).tolist())
        if len(delayed[0]) != len(delayed[1]):
            raise ValueError(
                f"X has {len(delayed[0])} partitions, and y {len(delayed[1])}: each of X needs its own of y"
            )
        return list(zip(*map(self._client.compute, delayed), strict=True))

    def measure(self, theta: Array, done: int, pieces: list[Piece]) -> list[Found]:
        """See `blocks.Measure`; what is lost with a worker is laid out anew, and the step begun again."""
        for tries in range(MOST_TRIES):
            started, stop = time.perf_counter(), [0]
            try:
                answers = call_apart(partial(self._measure, theta.copy(), done, pieces, stop), stop)
            except LOST as error:
                self._wait_for_workers(error, POLL * tries)
                reason = error
                continue
            except KilledWorker as error:
                raise RuntimeError(f"a block of samples ended every worker that measured it: {error}") from error
            if len(self._timed) <= N_TIMED:
                self._timed.append((time.perf_counter() - started, pieces, answers))
                self._advise()
            return [found for found, _, _ in answers]
        raise ConnectionError(f"workers were lost {MOST_TRIES} times in one step ({reason}); {KEPT}") from reason

    def _measure(self, theta: Array, done: int, pieces: list[Piece], stop: list[int]) -> list[Answer]:
        """Have workers measure pieces, and return their answers in order, unless nobody waits for them any more."""
        client, parts = self._client, self._parts
        try:
            self._parts, weights = self._ask(lambda: (parts or self._lay_out(), self._send(theta)), stop)
        except Exception as error:  # of workers that die meanwhile Dask says many things: that it cannot delete data
            raise ConnectionError(f"nothing could be sent: {error!r}") from error
        n_copies = len(self._parts) if isinstance(self._samples, Data) else 0
        places = [slot % n_copies if n_copies else part for part, _, slot in pieces]
        columns = [self._parts[k] for k in places], [piece.rows for piece in pieces], [piece.slot for piece in pieces]
        settings = {"job": self._job, "theta": weights, "done": done, "digest": DIGEST}
        futures = client.map(run_piece, *columns, **settings, pure=False)
        while not stop[0]:
            try:
                distributed.wait(futures, POLL)
                break
            except TimeoutError:
                if not client.nthreads():
                    raise
        answers: list[Answer] = self._ask(lambda: client.gather(futures), stop)
        return answers

    def _send(self, value: Any, workers: list[str] | None = None) -> Any:
        """Return a future of what one worker, or one of these, is sent, from whom others have it.

        A broadcast, which waits for all of them, was seen to wait for ever when one was killed.
        """
        return self._client.scatter([value], workers, hash=False, timeout=POLL)[0]

    def _ask(self, call: Callable[[], Any], stop: list[int]) -> Any:
        """Return call(), or raise when a worker is lost, for whose answer it may wait for ever, or nobody waits."""
        answer: Future[Any] = Future()

        def work() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        while not stop[0]:
            if wait([answer], POLL).done:
                return answer.result()
            before, self._workers = self._workers, set(self._client.nthreads())
            if lost := before - self._workers:
                raise TimeoutError(f"lost: {', '.join(lost)}")
        return [], []

    def _wait_for_workers(self, error: BaseException, seconds: float) -> None:
        """Wait so long, and until somebody is there, who has nothing of what was laid out; or say that nobody came."""
        self._parts = []

        def wait_for_them() -> None:
            time.sleep(seconds)
            self._client.wait_for_workers(1, timeout=PATIENCE)

        try:
            call_apart(wait_for_them)
        except LOST:
            raise ConnectionError(f"no worker has answered for {PATIENCE:g} s ({error}); {KEPT}") from error

    def _advise(self) -> None:
        """Warn, when enough steps were timed, if they are too quick for a cluster, or one worker is too slow."""
        if len(self._timed) <= N_TIMED:
            return
        timed = self._timed[1:]
        wall = statistics.median(seconds for seconds, _, _ in timed)
        own = statistics.median(sum(seconds for _, seconds, _ in answers) for _, _, answers in timed)
        if own < wall:
            warnings.warn(ADVICE.format(1e3 * wall, 1e3 * own), stacklevel=find_caller())
        each = defaultdict(list)
        for _, pieces, answers in timed:
            for piece, (_, seconds, worker) in zip(pieces, answers, strict=True):
                each[worker].append(seconds / len(piece.rows))
        paces = sorted((statistics.median(found), worker) for worker, found in each.items())
        slowest, worker = paces.pop()
        if paces and wall > LONG and slowest > SLOW * (usual := statistics.median(pace for pace, _ in paces)):
            warnings.warn(UNEVEN.format(worker, slowest / usual), stacklevel=find_caller())
