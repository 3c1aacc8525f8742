"""Black boxes read by workers of joblib, Dask, MPI and Ray, started here: the same bits, also when one is killed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn

# What each needs besides itself, and what starts a program with it.
ENGINES = {
    "joblib": ("joblib", []),
    "dask": ("distributed", []),
    "mpi": ("mpi4py", ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures"]),
    "ray": ("ray", []),
}
OPTIONS = {"gradient": fastnn.RandomDirections(4), "optimizer": fastnn.SGD(0.05), "queries": 80}

# A loss that workers can import: it notes each call, and the first one that finds the file `armed` ends its process.
MEASURED = """
import os, signal
from pathlib import Path

HERE = Path(__file__).parent

def loss(weights):
    with open(HERE / "log", "a") as file:
        print(os.getpid(), file=file)
    try:
        (HERE / "armed").unlink()
    except FileNotFoundError:
        return float(((weights - 0.5) ** 2).sum())
    os.kill(os.getpid(), signal.SIGKILL)

def answer(query):
    return query.index, loss(query.weights)
"""

PROGRAM = """
import contextlib, json, sys
import fastnn
from measured import HERE, answer, loss

@contextlib.contextmanager
def start_joblib():
    from joblib import Parallel, delayed
    def unordered(f, x):
        return Parallel(2, return_as="generator_unordered")(delayed(f)(query) for query in x)
    yield lambda f, x: Parallel(2)(delayed(f)(query) for query in x), unordered

@contextlib.contextmanager
def start_dask():
    from dask.distributed import Client, as_completed
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        def unordered(f, x):
            return (future.result() for future in as_completed(client.map(f, x)))
        yield lambda f, x: client.gather(client.map(f, x)), unordered

@contextlib.contextmanager
def start_mpi():
    from mpi4py.futures import MPIPoolExecutor
    with MPIPoolExecutor() as executor:
        yield executor.map, lambda f, x: executor.map(f, x, unordered=True)

@contextlib.contextmanager
def start_ray():
    import ray
    from ray.util.multiprocessing import Pool
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    pool = Pool(2)
    yield pool.map, pool.imap_unordered
    ray.shutdown()

def make():
    options = {"gradient": fastnn.RandomDirections(4), "optimizer": fastnn.SGD(0.05), "queries": 80}
    return fastnn.Minimizer([1.0, -2.0, 0.25, 3.0], **options)

def report(**values):
    print(json.dumps(values), flush=True)

if __name__ == "__main__":
    start, path = globals()[f"start_{sys.argv[1]}"], HERE / "search"
    with start() as (workers, unordered):
        if len(sys.argv) > 2:  # to be killed, and to go on
            minimizer = fastnn.Minimizer.resume(path) if path.exists() else make()
            minimizer.run(loss, workers=workers, callbacks=[fastnn.callbacks.Checkpoint(path, seconds=0)])
            report(weights=minimizer.weights.tolist())
        else:
            for _ in range(2):  # the second asks for what the first asked for: it is read anew
                minimizer = make()
                minimizer.run(loss, workers=workers)
                report(weights=minimizer.weights.tolist(), queries=minimizer.n_queries)
            minimizer = make()
            while asked := minimizer.ask():
                for index, value in unordered(answer, asked):
                    minimizer.tell(index, value)
            report(weights=minimizer.weights.tolist(), queries=minimizer.n_queries)
"""


@pytest.fixture(params=ENGINES)
def run(request, tmp_path):
    """Return a function that runs the program on an engine, and the folder that it works in."""
    package, command = ENGINES[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    (tmp_path / "measured.py").write_text(MEASURED)
    (tmp_path / "program.py").write_text(PROGRAM)
    beside = Path(sys.executable).parent / "mpiexec"  # of a package that brings it along
    command = [str(beside) if name == "mpiexec" and beside.exists() else name for name in command] or [sys.executable]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    root = Path(fastnn.__file__).parents[1]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    # Ray's settings: no statistics are sent, and no token is laid into the home folder.
    environment = {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

    def start(*arguments):
        return subprocess.run(
            [*command, str(tmp_path / "program.py"), request.param, *arguments],
            env=os.environ | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start, tmp_path, request.param


def whole():
    result = fastnn.minimize(lambda w: float(np.square(w - 0.5).sum()), [1.0, -2.0, 0.25, 3.0], **OPTIONS)
    return result.weights.tolist()


def read_reports(process):
    """Return what a program reported; what the engines print is no matter."""
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]


def test_the_same_bits_and_every_query_is_read(run, report):
    """In the order asked, for equal arguments anew, and told in the order of the answers."""
    start, folder, name = run
    process = start()
    assert process.returncode == 0, process.stderr
    assert read_reports(process) == [{"weights": whole(), "queries": 80}] * 3
    calls = (folder / "log").read_text().split()
    assert len(calls) == 240
    report(f"{name}: 240 queries on {len(set(calls))} processes, the same bits")
    assert len(set(calls)) > 1


def test_a_worker_that_is_killed(run, report):
    """The engine tries again, or the run ends and goes on from its file; the bits are those of an undisturbed one."""
    start, folder, name = run
    (folder / "armed").touch()
    process, starts = start("killed"), 1
    if process.returncode:
        process, starts = start("killed"), 2
    assert process.returncode == 0, process.stderr
    assert read_reports(process) == [{"weights": whole()}]
    calls = (folder / "log").read_text().split()
    assert not (folder / "armed").exists()
    report(f"{name}: a worker killed, {starts} starts, {len(calls)} readings of 80 queries")
    assert 81 <= len(calls) <= 80 + 8 + 1
