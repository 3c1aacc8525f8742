"""What a step costs on a local Dask cluster of workers with a thread each, and how much faster two of them are."""

import statistics
import time
import warnings

import numpy as np

import fastnn
from fastnn.callbacks import Callback

from .common import make_network, make_samples


def start(n_workers):
    try:
        from distributed import Client
    except ImportError:
        raise NotImplementedError from None
    warnings.filterwarnings("ignore", "a step takes")
    return Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", direct_to_workers=True)


def make_trainer(network, block_size):
    options = {"loss": "categorical_cross_entropy", "optimizer": fastnn.SGD(0.0), "batch_size": None}
    return fastnn.Trainer(network, block_size=block_size, **options)


def make_lenet():
    layers = [
        *(fastnn.Conv2D(6, 5, "relu", padding="same"), fastnn.MaxPool2D(2), fastnn.Conv2D(16, 5, "relu")),
        *(fastnn.MaxPool2D(2), fastnn.Dense(120, "relu"), fastnn.Dense(84, "relu"), fastnn.Dense(10, "softmax")),
    ]
    return fastnn.Network((28, 28, 1), layers, seed=0, dtype="float32")


class Clock(Callback):
    """Times of steps, but for the first two."""

    def on_fit_begin(self, trainer, n_steps):
        self.times = [time.perf_counter()]

    def on_steps(self, trainer):
        self.times.append(time.perf_counter())

    def median(self):
        return statistics.median(np.diff(self.times)[2:])


def measure_steps(trainer, X, y, epochs, client=None):
    """Return the median of the seconds of steps, an epoch each."""
    clock = Clock()
    trainer.fit(X, y, epochs, client=client, callbacks=[clock])
    return clock.median()


class Overhead:
    """Ten steps of four blocks with next to nothing to compute."""

    params = ([1, 2],)
    param_names = ("n_workers",)
    timeout = 120

    def setup(self, n_workers):
        self.client = start(n_workers)
        self.trainer = make_trainer(make_network("64-32-10", "categorical_cross_entropy"), 128)
        self.samples = make_samples(self.trainer.network, 512)
        self.time_ten_steps(n_workers)  # compile

    def teardown(self, n_workers):
        self.client.close()

    def time_ten_steps(self, n_workers):
        self.trainer.fit(*self.samples, 10, client=self.client)


class Scaling:
    """A step of two blocks of a LeNet's, of few weights and more than 100 ms on one worker."""

    timeout = 300

    def setup(self):
        self.clients = start(1), start(2)
        self.trainer = make_trainer(make_lenet(), 16)
        rng = np.random.default_rng(0)
        self.samples = rng.random((32, 28, 28, 1)).astype("float32"), rng.integers(0, 10, 32)
        for client in self.clients:
            self.trainer.fit(*self.samples, 4, client=client)  # compile

    def teardown(self):
        for client in self.clients:
            client.close()

    def track_one_over_two_workers(self):
        ratios = []
        for _ in range(9):
            times = [measure_steps(self.trainer, *self.samples, 6, client) for client in self.clients]
            ratios.append(times[0] / times[1])
        return statistics.median(ratios)

    track_one_over_two_workers.unit = "times"
