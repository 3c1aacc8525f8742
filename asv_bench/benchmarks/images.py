import numba
import numpy as np

import fastnn

from .common import METHODS


def lenet(activation):
    return [
        *(fastnn.Conv2D(8, 5, activation), fastnn.MaxPool2D(2)),
        *(fastnn.Conv2D(16, 5, activation), fastnn.MaxPool2D(2)),
        fastnn.Dense(10, "softmax"),
    ]


def five_convolutions():
    pairs = [(fastnn.Conv2D(18, 3, "relu", padding="same"), fastnn.MaxPool2D(2)) for _ in range(5)]
    return [*(layer for pair in pairs for layer in pair), fastnn.Dense(10, "softmax")]


class Gradients:
    """One step of a network over samples of a shape, on a batch of 32."""

    def prepare(self, shape, layers, method, dtype):
        numba.set_num_threads(1)  # as in gradients.py
        self.network = fastnn.Network(shape, layers, seed=0, dtype=dtype)
        rng = np.random.default_rng(0)
        self.X, self.y = rng.random((32, *shape)).astype(dtype), rng.integers(0, 10, 32)
        self.method = METHODS[method]
        self.measure()  # compile

    def measure(self):
        fastnn.gradient(self.network, self.X, self.y, loss="categorical_cross_entropy", method=self.method)


class Images(Gradients):
    """LeNet, 28 x 28."""

    params = (["perturbation", "backprop"], ["relu", "tanh"], ["float64", "float32"])
    param_names = ("method", "activation", "dtype")

    def setup(self, method, activation, dtype):
        self.prepare((28, 28, 1), lenet(activation), method, dtype)

    def time_gradient(self, method, activation, dtype):
        self.measure()


class DeepImages(Gradients):
    """Five convolutions of 18 channels, 32 x 32 x 3, relu."""

    params = (["perturbation", "backprop"], ["float64", "float32"])
    param_names = ("method", "dtype")

    def setup(self, method, dtype):
        self.prepare((32, 32, 3), five_convolutions(), method, dtype)

    def time_gradient(self, method, dtype):
        self.measure()


class Sequences(Gradients):
    """A recurrent layer of 64 units over 28 steps of 28 numbers."""

    params = (["RNN", "GRU", "LSTM"], ["perturbation", "backprop"], ["float64", "float32"])
    param_names = ("layer", "method", "dtype")

    def setup(self, layer, method, dtype):
        if layer != "RNN" and method == "perturbation":
            raise NotImplementedError("seconds a step: measured directly")
        recurrent = fastnn.RNN(64, "tanh") if layer == "RNN" else getattr(fastnn, layer)(64)
        self.prepare((28, 28), [recurrent, fastnn.Dense(10, "softmax")], method, dtype)

    def time_gradient(self, layer, method, dtype):
        self.measure()
