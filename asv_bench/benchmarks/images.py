import numba
import numpy as np

import fastnn

from .common import METHODS


class Images:
    """One step of LeNet, 28 x 28, on a batch of 32."""

    params = (["perturbation", "backprop"], ["relu", "tanh"], ["float64", "float32"])
    param_names = ("method", "activation", "dtype")

    def setup(self, method, activation, dtype):
        numba.set_num_threads(1)  # as in gradients.py
        layers = [
            *(fastnn.Conv2D(8, 5, activation), fastnn.MaxPool2D(2)),
            *(fastnn.Conv2D(16, 5, activation), fastnn.MaxPool2D(2)),
            fastnn.Dense(10, "softmax"),
        ]
        self.network = fastnn.Network((28, 28, 1), layers, seed=0, dtype=dtype)
        rng = np.random.default_rng(0)
        self.X, self.y = rng.random((32, 28, 28)).astype(dtype), rng.integers(0, 10, 32)
        self.time_gradient(method, activation, dtype)  # compile

    def time_gradient(self, method, activation, dtype):
        fastnn.gradient(self.network, self.X, self.y, loss="categorical_cross_entropy", method=METHODS[method])
