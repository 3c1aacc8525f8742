"""Measure steps on a local Dask cluster, fit a model to them, and print the tables of docs/howto/cluster.md.

    python asv_bench/cluster.py

Overheads are of steps with next to nothing to compute; the speed-up is of a step of more than 100 ms on two workers of
one thread each and on one, in turns. Workers beyond two are extrapolated.
"""

import os
import statistics
import sys
import time
import warnings

import numpy as np

import fastnn
from fastnn.callbacks import Callback

WIDTHS = 30, 30_000, 300_000  # of y = relu(x w) v: 3 parameters each, and one
N_BLOCKS = 2, 8
WORKERS = 1, 2, 8, 64, 1000


class Clock(Callback):
    """Times of steps, but for the first two."""

    def on_fit_begin(self, trainer, n_steps):
        self.times = [time.perf_counter()]

    def on_steps(self, trainer):
        self.times.append(time.perf_counter())

    def median(self):
        return statistics.median(np.diff(self.times)[2:])


def time_steps(trainer, X, y, epochs, client=None):
    clock = Clock()
    trainer.fit(X, y, epochs, client=client, callbacks=[clock])
    return clock.median()


def start(n_workers):
    from distributed import Client

    return Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", direct_to_workers=True)


def measure_overheads():
    """Return rows (workers, blocks, parameters, seconds that a step takes beyond its computing)."""
    rows = []
    for n_workers in (1, 2):
        with start(n_workers) as client:
            for width in WIDTHS:
                for n_blocks in N_BLOCKS:
                    network = fastnn.mlp(1, width, 1, hidden="relu", seed=0)
                    options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.0), "batch_size": None}
                    trainer = fastnn.Trainer(network, block_size=1, **options)
                    X, y = np.ones((n_blocks, 1)), np.ones(n_blocks)
                    here, there = time_steps(trainer, X, y, 12), time_steps(trainer, X, y, 22, client)
                    rows.append((n_workers, n_blocks, network.n_parameters, max(there - here / n_workers, 1e-3)))
                    cells = n_workers, n_blocks, f"{network.n_parameters:,}", f"{1e3 * here:.1f}", f"{1e3 * there:.0f}"
                    print("|", " | ".join(map(str, cells)), "|", flush=True)
    return rows


def fit_model(rows):
    """Return seconds a step, a block, a number that is sent to a worker, and one that a block sends back."""
    from scipy.optimize import nnls

    workers, n_blocks, size, seconds = np.array(rows).T
    terms = list_terms(workers, n_blocks, size).T
    found, _ = nnls(terms / seconds[:, None], np.ones(len(seconds)))  # relative errors
    return found, np.abs(terms @ found / seconds - 1)


def list_terms(workers, n_blocks, size):
    return np.array([np.ones_like(size, float), n_blocks, size * workers, size * n_blocks], float)


def make_lenet():
    layers = [
        *(fastnn.Conv2D(6, 5, "relu", padding="same"), fastnn.MaxPool2D(2), fastnn.Conv2D(16, 5, "relu")),
        *(fastnn.MaxPool2D(2), fastnn.Dense(120, "relu"), fastnn.Dense(84, "relu"), fastnn.Dense(10, "softmax")),
    ]
    return fastnn.Network((28, 28, 1), layers, seed=0, dtype="float32")


# A network, and the samples of its batch.
NETWORKS = {
    "784-200-100-10, 1,024 samples": (lambda: fastnn.mlp(784, 200, 100, 10, output="softmax", seed=0), 1024),
    "LeNet-5, float32, 1,024 samples": (make_lenet, 1024),
    "LSTM of 64 units over 28 steps, 256 samples": (
        lambda: fastnn.Network((28, 28), [fastnn.LSTM(64), fastnn.Dense(10, "softmax")], seed=0),
        256,
    ),
}
N_SAMPLES = 64  # that are measured of it


def measure_computing():
    """Return, of each network, its parameters and the seconds that its batch takes on one thread at home."""
    found = {}
    for name, (make, n_samples) in NETWORKS.items():
        network = make()
        X, y = make_samples(network, N_SAMPLES)
        trainer = make_trainer(network, N_SAMPLES)
        seconds = time_steps(trainer, X, y, 6) * n_samples / N_SAMPLES
        found[name] = network.n_parameters, seconds
        print(f"{name}: {network.n_parameters:,} parameters, {seconds:.2f} s a step on one thread", flush=True)
    return found


def make_samples(network, n_samples):
    rng = np.random.default_rng(0)
    return rng.random((n_samples, *network.input_shape)).astype(network.dtype), rng.integers(0, 10, n_samples)


def make_trainer(network, block_size):
    options = {"loss": "categorical_cross_entropy", "optimizer": fastnn.SGD(0.0), "batch_size": None}
    return fastnn.Trainer(network, block_size=block_size, **options)


def measure_scaling(times=5):
    """Return the median ratio of a step on one worker to that on two, and both steps."""
    make, n_samples = NETWORKS["784-200-100-10, 1,024 samples"]
    network = make()
    X, y = make_samples(network, n_samples)
    trainer = make_trainer(network, n_samples // 4)
    with start(1) as one, start(2) as two:
        rounds = [[time_steps(trainer, X, y, 8, client) for client in (one, two)] for _ in range(times)]
    found = np.array(rounds)
    return np.median(found[:, 0] / found[:, 1]), np.median(found, axis=0)


def extrapolate(model, computing):
    """Print seconds a step by the model, a block a worker, and the ratio to one worker."""
    for name, (size, seconds) in computing.items():
        steps = [seconds / n + list_terms(np.array(n), np.array(n), np.array(size)) @ model for n in WORKERS]
        cells = [f"{step:.2f} ({steps[0] / step:.1f})" for step in steps]
        print(f"| {name} | {size:,} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    ratio, (one, two) = measure_scaling()
    print(f"a step of {1e3 * one:.0f} ms on one worker, {1e3 * two:.0f} on two: {ratio:.2f} times as fast", flush=True)
    model, errors = fit_model(measure_overheads())
    print(
        "a step {:.1f} ms, a block {:.1f} ms, a number to a worker {:.0f} ns, a number from a block {:.0f} ns".format(
            *model * [1e3, 1e3, 1e9, 1e9]
        )
    )
    print(f"off by {100 * np.median(errors):.0f} % (median), {100 * errors.max():.0f} % (most)", flush=True)
    extrapolate(model, measure_computing())
    print(f"load {os.getloadavg()[0]:.1f}")
