"""Blocks of samples that the workers of a Dask cluster measure. Dask is imported here, and nowhere else."""

import asyncio
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
from distributed.protocol import to_serialize
from distributed.scheduler import KilledWorker

from fastnn._compiler.jit import DIGEST
from fastnn._engine.blocks import Found, Job, Piece, measure_piece, take_rows
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
CLOSED = "the client is closed, by itself if it has lost the scheduler"
ADVICE = (
    "a step takes {:.3g} ms on this cluster, and computes for {:.3g} ms, as long as one thread at home: a cluster "
    "pays where a step has more to compute, such as larger batches, in larger blocks"
)
UNEVEN = "worker {} takes {:.0f} times as long for a sample as the others, and each step waits for it"
MIXED = "workers have processors of several kinds, {}: the last bits depend on which of them measures a block"


Samples = tuple[Array | Mapped, Array | Mapped]
Answer = tuple[Found, float, str]  # what was found, in how many seconds, and by whom
# Of a part, by the workers that have it: its future.
Place = dict[str, Any]


def count_samples(samples: Samples) -> int:
    """Return how many samples a part has."""
    return int(find_rows(samples[0]).shape[0])


def describe() -> str:
    """Return what bits depend on, to be read."""
    return f"fastnn {sys.modules['fastnn'].__version__} ({DIGEST}), numba {numba.__version__}, numpy {np.__version__}"


def serve(worker: Any) -> None:
    """Have a worker answer what a `Cluster` asks, and other workers.

    These are messages, not tasks: with next to nothing to compute, a step of two tasks took 28 ms of the trainer's
    processor, and one of messages takes 6.
    """

    async def fastnn_take(key: str, rows: Array) -> Any:
        """Return rows of a part that is here."""
        if (samples := worker.data.get(key)) is None:
            raise ConnectionError(f"worker {worker.address} has lost samples")
        x, y = map(find_rows, samples)
        return {"found": to_serialize(take_rows(x, y, rows))}

    async def measure(job: Job, theta: Array, done: int, key: str, holder: str, rows: Array, slot: int) -> Answer:
        """Return what is found of a piece, in how many seconds, and who this is."""
        if (samples := worker.data.get(key)) is not None:
            x, y = map(find_rows, samples)
        else:
            x, y = (await worker.rpc(holder).fastnn_take(key=key, rows=to_serialize(rows)))["found"]
            rows = np.arange(len(rows))

        def work() -> Answer:
            started = time.perf_counter()
            # Weights that came over a wire may not be written, for which nothing is compiled.
            found = measure_piece(job, np.array(theta), x, y, rows, slot, done)
            return found, time.perf_counter() - started, worker.address

        return await asyncio.get_running_loop().run_in_executor(worker.executors["default"], work)

    async def fastnn_measure(call: tuple[Job, Array, int, list[tuple[str, str, Array, int]]]) -> Any:
        """Return what is found of pieces, or the error, which would lose its kind on its way through a scheduler."""
        job, theta, done, pieces = call
        try:
            found: Any = await asyncio.gather(*[measure(job, theta, done, *piece) for piece in pieces])
        except Exception as error:
            # One that is closing has closed what it measures with before it answers no more.
            is_there = worker.status.name in ("running", "paused")
            found = error if is_there else ConnectionError(f"worker {worker.address} is closing: {error!r}")
        return {"found": to_serialize(found)}

    worker.handlers |= {"fastnn_take": fastnn_take, "fastnn_measure": fastnn_measure}


def share_out(places: list[Place], threads: dict[str, int]) -> list[str]:
    """Return who measures each piece, of whose samples is said who has them: them if they are free, and else others.

    Every thread has as many pieces, or one less.
    """
    edges = np.cumsum([0, *threads.values()]) * len(places) // sum(threads.values())
    room = {worker: n for worker, n in zip(threads, np.diff(edges).tolist(), strict=True) if n}
    found = [""] * len(places)
    for are_all in (False, True):
        for k in (k for k, worker in enumerate(found) if not worker):
            few = room if are_all else min(room, places[k], key=len)
            if worker := next((worker for worker in few if worker in room and (are_all or worker in places[k])), ""):
                found[k] = worker
                room[worker] -= 1
                if not room[worker]:
                    del room[worker]
    return found


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
        self._job = job._replace(task=job.task._replace(n_chunks=1))  # pieces are shared among threads
        self._network, self._loss, self._samples = network, loss, samples
        self._timed: list[tuple[float, list[Piece], list[Answer]]] = []
        try:
            self._wait()
        except ConnectionError as error:
            raise ConnectionError(f"the cluster has no worker: {error}") from error
        try:
            if len(kinds := set(self._check_workers())) > 1:
                warnings.warn(MIXED.format(", ".join(sorted(kinds))), stacklevel=find_caller())
            self._places, self.sizes = self._lay_out()
        except KilledWorker as error:
            raise RuntimeError(f"samples ended every worker that read them: {error}") from error
        except Exception as error:
            if not self._is_closed():
                raise
            raise ConnectionError(CLOSED) from error

    def _check_workers(self) -> list[str]:
        """Have all workers answer; return what processors they have, or raise unless all have what the trainer has."""

        # Pickled by value: it says what is missing also where nothing of fastnn is.
        def look(dask_worker: Any) -> Any:  # pragma: no cover (called by workers, untraced)
            try:
                from llvmlite.binding import get_host_cpu_name

                from fastnn._compiler.jit import DIGEST
                from fastnn.training.cluster import describe, serve
            except ImportError as error:
                return None, f"{type(error).__name__}: {error}", "", 0
            serve(dask_worker)
            return DIGEST, describe(), get_host_cpu_name(), dask_worker.state.nthreads

        found: dict[str, Any] = self._client.run(look, on_error="return")
        found = {worker: seen for worker, seen in found.items() if not isinstance(seen, OSError)}  # who has just left
        for worker, seen in found.items():
            if isinstance(seen, Exception) or seen[0] != DIGEST:
                what = repr(seen) if isinstance(seen, Exception) else seen[1]
                raise RuntimeError(f"worker {worker} does not have what the trainer has, {describe()}, but: {what}")
        if not found:
            raise ConnectionError("the cluster has no worker")
        self._threads, self._looked = {worker: seen[3] for worker, seen in found.items()}, time.monotonic()
        return [seen[2] for seen in found.values()]

    def _lay_out(self) -> tuple[list[Place], list[int]]:
        """Return who has the parts of the samples, and how many are in each."""
        client, samples = self._client, self._samples
        if isinstance(samples, Data):
            # A copy each: of replicas of one, Dask's active memory manager takes all but one away within two seconds.
            copies = {worker: self._send((samples.x, samples.y), [worker]) for worker in self._threads}
            return [copies], [samples.x.shape[0]]
        are_there = any(map(is_collection, samples))
        pairs = self._list_partitions(*samples) if are_there else list_files(*samples)
        settings = {"network": self._send(self._network), "loss": self._loss, "first": None if are_there else pairs[0]}
        parts = client.map(open_part, range(len(pairs)), *zip(*pairs, strict=True), **settings, pure=False)
        sizes: list[int] = client.gather(client.map(count_samples, parts, pure=False))
        holders = client.who_has(parts)
        return [dict.fromkeys(holders[part.key], part) for part in parts], sizes

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
            except Exception as error:
                if not self._is_lost(error):
                    raise
                self._wait_again(error, POLL * tries)
                reason = error
                continue
            if len(self._timed) <= N_TIMED:
                self._timed.append((time.perf_counter() - started, pieces, answers))
                self._advise()
            return [found for found, _, _ in answers]
        raise ConnectionError(f"workers were lost {MOST_TRIES} times in one step ({reason}); {KEPT}") from reason

    def _measure(self, theta: Array, done: int, pieces: list[Piece], stop: list[int]) -> list[Answer]:
        """Have workers measure pieces, and return their answers in order, unless nobody waits for them any more."""
        if not self._places or time.monotonic() > self._looked + POLL:
            self._look_around(stop)
        places = [self._places[piece.part] for piece in pieces]
        chosen = share_out(places, self._threads)
        shares: dict[str, list[int]] = defaultdict(list)
        for k, worker in enumerate(chosen):
            shares[worker].append(k)
        calls = []
        for worker, share in shares.items():
            listed = []
            for k in share:
                holder = worker if worker in places[k] else next(iter(places[k]))
                listed.append((places[k][holder].key, holder, pieces[k].rows, pieces[k].slot))
            calls.append((worker, (self._job, theta, done, listed)))
        found = self._ask(lambda: self._client.sync(self._call, calls), stop)
        answers: dict[int, Answer] = {}
        for share, answer in zip(shares.values(), found, strict=True):
            if isinstance(answer["found"], Exception):
                raise answer["found"]
            answers.update(zip(share, answer["found"], strict=True))
        return [answers[k] for k in range(len(pieces))]

    async def _call(self, calls: list[tuple[str, Any]]) -> list[Any]:
        """Return what workers answer, in order."""
        client = self._client

        async def call(worker: str, what: Any) -> Any:
            message = {"call": to_serialize(what)}
            if client.direct_to_workers:
                return await client.rpc(worker).fastnn_measure(**message)
            return await client.scheduler.proxy(worker=worker, msg={"op": "fastnn_measure", **message})

        return await asyncio.gather(*[call(*each) for each in calls])

    def _look_around(self, stop: list[int]) -> None:
        """See who is there, and lay out what is lost; who came late is handed rows that others have."""
        self._looked = time.monotonic()
        # Of messages a scheduler knows nothing, and one that has nothing to do for some time may be set to end itself.
        self._beat = self._client.submit(int, pure=False)
        if not self._places or self._ask(self._client.nthreads, stop) != self._threads:
            self._ask(self._check_workers, stop)
        if not self._places:
            try:
                self._places, _ = self._ask(self._lay_out, stop)
            except Exception as error:  # of workers that die meanwhile Dask says many things
                raise ConnectionError(f"nothing could be sent: {error!r}") from error

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
            if lost := self._threads.keys() - self._client.nthreads().keys():
                raise TimeoutError(f"lost: {', '.join(lost)}")
        raise TimeoutError("nobody waits")

    def _wait_again(self, error: Exception, seconds: float) -> None:
        """Wait so long, and until somebody is there, who has nothing of what was laid out; or say that nobody came."""
        self._places = []
        try:
            call_apart(partial(self._wait, seconds))
        except ConnectionError as late:
            raise ConnectionError(f"no worker has answered: {late} ({error!r}); {KEPT}") from error

    def _wait(self, seconds: float = 0.0) -> None:
        """Wait so long, and until a worker is there, or raise ConnectionError that says why none is."""
        started = time.monotonic()
        time.sleep(seconds)
        if self._is_closed():  # its cluster may answer for it
            raise ConnectionError(CLOSED)
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except Exception as error:
            if not self._is_lost(error):
                raise
            why = CLOSED if self._is_closed() else f"none came in {time.monotonic() - started:.2g} s"
            raise ConnectionError(why) from error

    def _is_closed(self) -> bool:
        """Return whether the client was closed, or has closed itself."""
        return self._client.status in ("closing", "closed")

    def _is_lost(self, error: Exception) -> bool:
        """Return whether an error is of a connection that was lost; of one that was closed Dask says many things."""
        return isinstance(error, LOST) or self._is_closed()

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
