"""What a step costs on a local Dask cluster of workers with a thread each, and how much faster two of them are."""

import statistics
import time
import warnings

import fastnn

from .common import make_network, make_samples


def start(n_workers):
    try:
        from distributed import Client
    except ImportError:
        raise NotImplementedError from None
    warnings.filterwarnings("ignore", "a step takes")
    return Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


def make_trainer(sizes):
    network = make_network(sizes, "categorical_cross_entropy")
    options = {"loss": "categorical_cross_entropy", "optimizer": fastnn.SGD(0.0), "batch_size": None}
    return fastnn.Trainer(network, block_size=128, **options)


class Overhead:
    """Ten steps of four blocks with next to nothing to compute."""

    params = ([1, 2],)
    param_names = ("n_workers",)
    timeout = 120

    def setup(self, n_workers):
        self.client = start(n_workers)
        self.trainer = make_trainer("64-32-10")
        self.samples = make_samples(self.trainer.network, 512)
        self.time_ten_steps(n_workers)  # compile

    def teardown(self, n_workers):
        self.client.close()

    def time_ten_steps(self, n_workers):
        self.trainer.fit(*self.samples, 10, client=self.client)


class Scaling:
    """A step of eight blocks, of more than 100 ms on one worker."""

    timeout = 300

    def setup(self):
        self.clients = start(1), start(2)
        self.trainer = make_trainer("784-200-100-10")
        self.samples = make_samples(self.trainer.network, 1024)
        for client in self.clients:
            self.trainer.fit(*self.samples, 4, client=client)  # compile

    def teardown(self):
        for client in self.clients:
            client.close()

    def track_one_over_two_workers(self):
        ratios = []
        for _ in range(5):
            times = []
            for client in self.clients:
                started = time.perf_counter()
                self.trainer.fit(*self.samples, 5, client=client)
                times.append(time.perf_counter() - started)
            ratios.append(times[0] / times[1])
        return statistics.median(ratios)

    track_one_over_two_workers.unit = "times"
