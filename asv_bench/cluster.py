"""Measure steps on a local Dask cluster, fit a model to them, and print the tables of docs/howto/cluster.md.

    python asv_bench/cluster.py

Takes three minutes on a machine of two cores that has nothing else to do; what it had is printed, too. Speed-ups are of
steps of some 200 ms on two workers of one thread each and on one, in turns, and beside them is what the machine has to
give: two processes that compute the same blocks, and send nothing. Overheads are of steps with next to nothing to
compute. Workers beyond two are extrapolated.
"""

import os

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # at home as in a worker

import sys
import time
import warnings

import numpy as np
from benchmarks.cluster import make_lenet, make_trainer, measure_steps, start

import fastnn

WIDTHS = 30, 30_000, 300_000  # of y = relu(x w) v: 3 parameters each, and one
N_BLOCKS = 2, 8
WORKERS = 1, 2, 8, 64, 1000


def measure_overheads():
    """Return rows (workers, blocks, parameters, seconds of a step at home, seconds on the cluster)."""
    rows = []
    for n_workers in (1, 2):
        with start(n_workers) as client:
            for width in WIDTHS:
                for n_blocks in N_BLOCKS:
                    network = fastnn.mlp(1, width, 1, hidden="relu", seed=0)
                    options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.0), "batch_size": None}
                    trainer = fastnn.Trainer(network, block_size=1, **options)
                    X, y = np.ones((n_blocks, 1)), np.ones(n_blocks)
                    here, there = measure_steps(trainer, X, y, 12), measure_steps(trainer, X, y, 22, client)
                    rows.append((n_workers, n_blocks, network.n_parameters, here, there))
                    cells = n_workers, n_blocks, f"{network.n_parameters:,}", f"{1e3 * here:.1f}", f"{1e3 * there:.0f}"
                    print("|", " | ".join(map(str, cells)), "|", flush=True)
    return rows


def fit_model(rows):
    """Return seconds a step, a worker, a block, a number that is sent to a worker, and one that a block sends back."""
    from scipy.optimize import nnls

    workers, n_blocks, size, here, there = np.array(rows).T
    terms, beyond = list_terms(workers, n_blocks, size) / there, 1 - here / workers / there  # for relative errors
    found, _ = nnls(terms.T, beyond)
    return found, np.abs(found @ terms - beyond)


def list_terms(workers, n_blocks, size):
    return np.array([np.ones_like(size, float), workers, n_blocks, size * workers, size * n_blocks], float)


def make_dense():
    return fastnn.mlp(784, 512, 256, 10, output="softmax", seed=0)


def make_lstm():
    return fastnn.Network((28, 28), [fastnn.LSTM(16), fastnn.Dense(10, "softmax")], seed=0)


# A network, the samples of a batch that is extrapolated, and how many of them are measured for that.
NETWORKS = {
    "784-512-256-10": (make_dense, 16384, 256),
    "LeNet-5, float32": (make_lenet, 1024, 32),
    "LSTM of 16 units over 28 steps": (make_lstm, 1024, 4),
}
STEP = 0.2  # seconds on one thread, of steps whose speed-up is measured


def measure_computing():
    """Return, of each network, its parameters and the seconds that a sample takes on one thread at home."""
    found = {}
    for name, (make, _, n_samples) in NETWORKS.items():
        network = make()
        seconds = measure_steps(make_trainer(network, n_samples), *make_samples(network, n_samples), 8) / n_samples
        found[name] = network.n_parameters, seconds
        print(f"{name}: {network.n_parameters:,} weights, {1e3 * seconds:.2f} ms a sample", flush=True)
    return found


def make_samples(network, n_samples):
    rng = np.random.default_rng(0)
    return rng.random((n_samples, *network.input_shape)).astype(network.dtype), rng.integers(0, 10, n_samples)


def compute(network, X, y, steps):
    """Return the seconds that a step takes one process, as a worker has it, and the seconds of its processor."""
    trainer = make_trainer(network, len(X))
    trainer.fit(X, y)
    started, used = time.perf_counter(), time.thread_time()
    trainer.fit(X, y, steps)
    return (time.perf_counter() - started) / steps, (time.thread_time() - used) / steps


def measure_scaling(computing, rounds=9, steps=5):
    """Print how many times as fast two workers are as one, and what two processes are that send nothing."""
    with start(1) as one, start(2) as two:
        for name, (make, *_) in NETWORKS.items():
            network, half = make(), max(1, round(STEP / 2 / computing[name][1]))
            X, y = make_samples(network, 2 * half)
            trainer = make_trainer(network, half)
            found = []
            for _ in range(rounds):
                times = [measure_steps(trainer, X, y, steps, client) for client in (one, two)]
                alone = one.submit(compute, network, X, y, steps, pure=False).result()
                workers = two.nthreads()
                halves = [
                    two.submit(compute, network, X[:half], y[:half], steps, workers=w, pure=False) for w in workers
                ]
                beside = two.gather(halves)
                slowest = max(seconds for seconds, _ in beside)
                cores = sum(used for _, used in beside) / slowest
                found.append((*times, times[0] / times[1], alone[0] / slowest, cores))
            first, second, ratio, most, cores = np.median(found, axis=0)
            cells = f"{1e3 * first:.0f}", f"{1e3 * second:.0f}", f"{ratio:.2f}", f"{most:.2f}", f"{ratio / most:.0%}"
            size = f"{network.n_parameters:,}"
            print("|", " | ".join((f"{name}, {2 * half} samples", size, *cells, f"{cores:.1f}")), "|", flush=True)


def extrapolate(model, computing):
    """Print seconds a step by the model, a block a worker, and the ratio to one worker."""
    for name, (size, each) in computing.items():
        n_samples = NETWORKS[name][1]
        seconds = n_samples * each
        steps = [seconds / n + list_terms(np.array(n), np.array(n), np.array(size)) @ model for n in WORKERS]
        cells = [f"{step:.2g} ({steps[0] / step:.2g})" for step in steps]
        print(f"| {name}, {n_samples:,} samples, {seconds:.1f} s at home | {size:,} |", " | ".join(cells), "|")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    computing = measure_computing()
    print("\nnetwork, weights, ms on one worker, on two, ratio, ratio of processes, share of that, cores", flush=True)
    measure_scaling(computing)
    print("\nworkers, blocks, weights, ms at home, ms on the cluster", flush=True)
    model, errors = fit_model(measure_overheads())
    print(
        "a step {:.1f} ms, a worker {:.1f} ms, a block {:.1f} ms, "
        "a number to a worker {:.0f} ns, a number from a block {:.0f} ns".format(*model * [1e3, 1e3, 1e3, 1e9, 1e9])
    )
    print(f"off by {100 * np.median(errors):.0f} % (median), {100 * errors.max():.0f} % (most)\n", flush=True)
    extrapolate(model, computing)
    print(f"load {os.getloadavg()[0]:.1f}")
