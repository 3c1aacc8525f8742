"""Seeded problems, and the plain NumPy loop to compare with."""

import statistics
import time

import numpy as np

import fastnn

METHODS = {
    "perturbation": fastnn.Perturbation(1e-4),
    "direct": fastnn.Perturbation(1e-4, evaluate="direct"),
    "backprop": fastnn.Backprop(),
}


def make_network(sizes, loss="squared_error", dtype="float64"):
    """Return a sigmoid network; sizes as in "784-100-10"."""
    output = "softmax" if loss == "categorical_cross_entropy" else "identity"
    return fastnn.mlp(*map(int, sizes.split("-")), output=output, seed=0, dtype=dtype)


def make_samples(network, n_samples, seed=0):
    """Return noisy copies of one prototype a class, as one-hot rows; four in five features are zero, as in an image."""
    rng = np.random.default_rng(seed)
    n_classes = network.layers[-1].n_units
    prototypes = rng.random((n_classes, network.n_inputs))
    labels = rng.integers(0, n_classes, n_samples)
    X = prototypes[labels] + rng.normal(scale=0.2, size=(n_samples, network.n_inputs))
    X *= rng.random(network.n_inputs) < 0.2
    return X.astype(network.dtype), np.eye(n_classes, dtype=network.dtype)[labels]


def numpy_step(weights, x, y):
    """Return the forward differences of every weight of a one-hidden-layer sigmoid network, the plain way."""
    from fastnn._cli.demo import numpy_differences  # here, so that commits before it keep their other benchmarks

    def loss():
        hidden = 1 / (1 + np.exp(-(x @ weights[0] + weights[1])))
        return np.square(hidden @ weights[2] + weights[3] - y).sum() / len(x)

    return numpy_differences(weights, loss)


def paired_ratio(slow, fast, repeats=7):
    """Return the median of slow's time over fast's, run in turns."""
    ratios = []
    for _ in range(repeats):
        times = []
        for call in (slow, fast):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)
