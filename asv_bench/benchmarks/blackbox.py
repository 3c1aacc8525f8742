"""What `minimize` costs a query beside the loss, which is next to nothing here."""

import numba
import numpy as np

import fastnn

from .common import paired_ratio

STEPS = 500


def loss(weights):
    return float(weights @ weights)


@numba.njit
def compiled_loss(weights):
    total = 0.0
    for weight in weights:
        total += weight * weight
    return total


class Query:
    """A thousand queries of a step's two each."""

    params = ([30, 2410],)
    param_names = ("weights",)

    def setup(self, weights):
        self.start = np.full(weights, 0.1)
        self.time_python_loss(weights)  # compile
        self.time_compiled_loss(weights)

    def time_python_loss(self, weights):
        fastnn.minimize(loss, self.start, optimizer=fastnn.SGD(1e-6), queries=2 * STEPS)

    def time_compiled_loss(self, weights):
        fastnn.minimize(compiled_loss, self.start, optimizer=fastnn.SGD(1e-6), queries=2 * STEPS)

    def track_over_scipy(self, weights):
        """Against differences by scipy's `approx_derivative`, a query."""
        from scipy.optimize._numdiff import approx_derivative

        times = 2 * STEPS // (weights + 1) + 1

        def differences():
            for _ in range(times):
                approx_derivative(loss, self.start, method="2-point")

        ratio = paired_ratio(lambda: self.time_python_loss(weights), differences, 21)
        return ratio * times * (weights + 1) / (2 * STEPS)

    track_over_scipy.unit = "times"
