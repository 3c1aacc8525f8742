"""Measure steps on a local cluster, fit the model of docs/howto/cluster.md to them, and print its tables.

    python asv_bench/cluster.py

Overheads are of steps with next to nothing to compute; the speed-up is of a step of 100 ms or more on two workers of
one thread each and on one, in turns.
"""

import os
import statistics
import sys
import time
import warnings

import numpy as np

import fastnn
from fastnn.callbacks import Callback

WIDTHS = 30, 3_000, 30_000, 300_000  # of y = relu(x w) v: 3 parameters each, and one
N_BLOCKS = 2, 8
# What a step computes on one thread, in seconds, its parameters, and bytes a number.
NETWORKS = {
    "784-100-10, perturbation, batch 4,096": (0.0193 * 4096 / 4096, 79_510, 8),
}
CLUSTERS = 1, 2, 8, 64, 1000


class Clock(Callback):
    """Times of steps, without the first ones."""

    def on_fit_begin(self, trainer, n_steps):
        self.times = [time.perf_counter()]

    def on_steps(self, trainer):
        self.times.append(time.perf_counter())

    def median(self):
        return statistics.median(np.diff(self.times)[2:])


def time_steps(trainer, X, y, epochs, client):
    clock = Clock()
    trainer.fit(X, y, epochs, client=client, callbacks=[clock])
    return clock.median()


def start(n_workers):
    from distributed import Client

    return Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


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
                    here = time_steps(trainer, X, y, 12, None)
                    there = time_steps(trainer, X, y, 25, client)
                    rows.append((n_workers, n_blocks, network.n_parameters, there - here / n_workers))
                    print(f"{n_workers} workers, {n_blocks} blocks, {network.n_parameters:,} parameters: "
                          f"{1e3 * there:.1f} ms a step, {1e3 * here:.2f} at home", flush=True)  # fmt: skip
    return rows


def fit_model(rows):
    """Return seconds a step, a block, a number that is sent to a worker, and one that a block sends back."""
    table = np.array(rows)
    workers, n_blocks, size, seconds = table.T
    terms = np.stack([np.ones(len(table)), n_blocks, size * workers, size * n_blocks], axis=1)
    weights = 1 / seconds  # relative errors
    from scipy.optimize import nnls

    found, _ = nnls(terms * weights[:, None], seconds * weights)
    error = np.abs(terms @ found / seconds - 1)
    return found, error


def measure_scaling(times=5):
    """Return the median ratio of a step on one worker to that on two, and both steps."""
    rng = np.random.default_rng(0)
    network = fastnn.mlp(784, 200, 100, 10, output="softmax", seed=0)
    X, y = rng.random((1024, 784)), rng.integers(0, 10, 1024)
    options = {"loss": "categorical_cross_entropy", "gradient": fastnn.Perturbation(), "batch_size": None}
    trainer = fastnn.Trainer(network, block_size=128, **options)
    with start(1) as one, start(2) as two:
        rounds = [[time_steps(trainer, X, y, 8, client) for client in (one, two)] for _ in range(times)]
    found = np.array(rounds)
    return np.median(found[:, 0] / found[:, 1]), np.median(found, axis=0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    ratio, (one, two) = measure_scaling()
    print(f"a step of {1e3 * one:.0f} ms on one worker, {1e3 * two:.0f} on two: {ratio:.2f} times as fast")
    found, error = fit_model(measure_overheads())
    print("ms a step, ms a block, ns a number to a worker, ns a number from a block:",
          *(f"{scale * value:.2f}" for scale, value in zip((1e3, 1e3, 1e9, 1e9), found, strict=True)))  # fmt: skip
    print(f"off by {100 * np.median(error):.0f} % (median), {100 * error.max():.0f} % (most)")
