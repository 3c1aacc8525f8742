import subprocess
import sys

import numba
import numpy as np

import fastnn

from .common import METHODS, make_network, make_samples

PEAK = """
import resource, numpy as np, fastnn

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

trainer = fastnn.Trainer(fastnn.mlp(100, 8, 1, seed=0), gradient=fastnn.Backprop(), batch_size=1000)
trainer.fit(np.zeros((2000, 100)), np.zeros(2000))  # compile
X, y = np.full((200_000, 100), 0.5), np.zeros(200_000)
before = peak()
trainer.fit(X, y, 2)
data = X.nbytes / 2**20
print((data + peak() - before) / data)
"""


class Epoch:
    params = (list(METHODS), ["squared_error", "categorical_cross_entropy"])
    param_names = ("method", "loss")

    def setup(self, method, loss):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network("64-32-10", loss)
        self.X, self.y = make_samples(network, 1024)
        self.trainer = fastnn.Trainer(network, loss=loss, gradient=METHODS[method])
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, method, loss):
        self.trainer.fit(self.X, self.y)


class LongEpoch:
    """One epoch over 6,000 images' worth of samples, a tenth of MNIST, in float32."""

    params = (["perturbation", "backprop"],)
    param_names = ("method",)

    def setup(self, method):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network("784-100-10", "categorical_cross_entropy", "float32")
        self.X, self.y = make_samples(network, 6000)
        self.trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", gradient=METHODS[method])
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, method):
        self.trainer.fit(self.X, self.y)


class EveryEpoch:
    """The slowest of 30 epochs, over the median one: no epoch should stand out."""

    params = (["sigmoid", "relu"], ["squared_error", "categorical_cross_entropy"])
    param_names = ("hidden", "loss")

    def track_worst_epoch(self, hidden, loss):
        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        output = "softmax" if loss == "categorical_cross_entropy" else "identity"
        network = fastnn.mlp(784, 100, 10, hidden=hidden, output=output, seed=0)
        X, y = make_samples(network, 6000)
        trainer = fastnn.Trainer(network, loss=loss, optimizer=fastnn.SGD(0.01))
        trainer.fit(X, y)  # compile
        seconds = trainer.fit(X, y, epochs=30).seconds
        return float(seconds.max() / np.median(seconds))

    track_worst_epoch.unit = "times the median"


class SparseEpoch:
    """An epoch over 2,000 samples of 5,000 inputs, one in a hundred of which is not zero: as rows, and written out."""

    params = (["sparse", "dense"], ["perturbation", "backprop"])
    param_names = ("samples", "method")

    def setup(self, samples, method):
        from scipy.sparse import random_array

        numba.set_num_threads(1)  # on more, other load on the machine sets the time; see gradients.Threads
        network = make_network("5000-100-10", "categorical_cross_entropy")
        X = random_array((2000, 5000), density=0.01, format="csr", rng=np.random.default_rng(0))
        self.X, self.y = X if samples == "sparse" else X.toarray(), np.arange(2000) % 10
        self.trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", gradient=METHODS[method])
        self.trainer.fit(self.X, self.y)  # compile

    def time_epoch(self, samples, method):
        self.trainer.fit(self.X, self.y)


class Memory:
    """What `fit` takes at most, beside 153 MB of samples that it is given."""

    timeout = 600

    def track_peak_memory(self):
        return float(subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout)

    track_peak_memory.unit = "times the samples"


class Learning:
    """Accuracy on held-out samples after a few epochs."""

    params = (list(METHODS),)
    param_names = ("method",)

    def track_test_accuracy(self, method):
        network = make_network("64-32-10", "categorical_cross_entropy")
        X, y = make_samples(network, 1024)
        trainer = fastnn.Trainer(
            network, loss="categorical_cross_entropy", gradient=METHODS[method], optimizer=fastnn.SGD(0.3)
        )
        trainer.fit(X[:768], y[:768], epochs=10)
        return trainer.evaluate(X[768:], y[768:]).accuracy

    track_test_accuracy.unit = "share of samples"
