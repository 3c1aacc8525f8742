"""The networks that tests run on, and the bounds that results are held to."""

import collections
import os
import signal
import sys
from dataclasses import replace

import hypothesis
import naive
import numba
import numpy as np
import pytest

import fastnn
from fastnn._compiler import ahead

collect_ignore = ["typed.py"]  # for mypy alone


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a script's background job, and all it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:  # every core has a process of pytest's: others would only be in the way
        ahead.FEWEST = sys.maxsize
    if numba.config.DISABLE_JIT:  # NumPy's scalars warn of overflow where machine code goes on with inf
        config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as `exhaustive` what the default run leaves out: most cases of a grid, and what takes long.

    In plain Python nothing is compiled, and nothing is late.
    """
    counts = collections.Counter()
    for item in items:
        late = item.get_closest_marker("late")
        kept = 1
        if item.get_closest_marker("grid"):
            kept = 9
        elif late and not numba.config.DISABLE_JIT:
            kept = late.kwargs.get("kept", 0)
        if kept != 1:
            if not kept or counts[item.function] % kept:
                item.add_marker("exhaustive")
            counts[item.function] += 1


hypothesis.settings.register_profile("fastnn", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("fastnn")

ELEMENTWISE = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "elu", "silu", "hard_sigmoid", "gelu"]
# Every loss, and every output activation with one.
HEADS = [
    *(("squared_error", output) for output in [*ELEMENTWISE, "softmax"]),
    *(("huber", output) for output in ("identity", "sigmoid")),  # as the squared error's
    *(("absolute_error", output) for output in ("identity", "silu")),
    ("poisson", "softplus"),
    ("binary_cross_entropy", "sigmoid"),
    ("categorical_cross_entropy", "softmax"),
]
# Hidden activation and depth: no hidden layer needs no activation.
BODIES = [("identity", 0), *((hidden, depth) for hidden in ELEMENTWISE for depth in (1, 2, 3))]

# Every optimiser's step, with and without weight decay.
OPTIMIZERS = [
    fastnn.SGD(0.1),
    fastnn.SGD(0.1, momentum=0.9),
    fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    fastnn.Adam(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6),
    fastnn.RMSprop(0.01, alpha=0.9, epsilon=1e-6),
    fastnn.AdamW(0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.0),
    fastnn.SGD(0.1, sign=True),
    fastnn.Adagrad(0.1, epsilon=1e-6),
]
OPTIMIZERS += [replace(optimizer, weight_decay=0.3) for optimizer in OPTIMIZERS]


class Case:
    """A random network with random samples, and the same numbers for the naive code."""

    def __init__(self, head, body, dtype="float64", seed=0, n_samples=5):
        self.loss, output = head
        hidden, depth = body
        sizes = [3, *[4, 3, 2][:depth], 3]
        self.network = fastnn.mlp(*sizes, hidden=hidden, output=output, seed=seed, dtype=dtype)
        self.activations = [layer.activation for layer in self.network.layers]
        rng = np.random.default_rng([seed, 1])
        for b in self.network.weights[1::2]:
            b[:] = rng.normal(size=b.shape) / 2
        self.x = rng.normal(size=(n_samples, 3)).astype(dtype)
        self.x[rng.random(self.x.shape) < 0.2] = 0.0
        self.y = rng.normal(size=(n_samples, 3)).astype(dtype)
        if self.loss == "binary_cross_entropy":
            self.y = (self.y > 0).astype(dtype)
            self.y[0] = 0.25
        elif self.loss == "poisson":
            self.y = np.maximum(np.round(2 * self.y), 0).astype(dtype)
            self.y[0] = 0.25
        elif self.loss == "categorical_cross_entropy":
            self.y = naive.one_hot(rng.integers(0, 3, n_samples), 3, dtype)
            self.y[0] = 0.25, 0.25, 0.5

    def truth(self, **options):
        """Return the naive differences and their sizes in extended precision."""
        weights = [w.astype(np.longdouble) for w in self.network.weights]
        x, y = self.x.astype(np.longdouble), self.y.astype(np.longdouble)
        return naive.differences(weights, self.activations, self.loss, x, y, **options)

    def mean_loss(self, sample_weight=None):
        losses = naive.losses(self.network.weights, self.activations, self.loss, self.x, self.y)
        return np.average(losses, weights=sample_weight)

    def gradient(self, method, **options):
        return fastnn.gradient(self.network, self.x, self.y, loss=self.loss, method=method, **options)


@pytest.fixture
def make_case():
    return Case


@pytest.fixture
def chunks(monkeypatch):
    """Return a function that fixes into how many chunks work is dealt, whatever is measured or set."""

    def fix(n_chunks):
        for module in (
            "fastnn._engine.loop",
            "fastnn.training.gradients",
            "fastnn.training.trainer",
            "fastnn.tutorial",
        ):
            monkeypatch.setattr(f"{module}.count_chunks", lambda *_: n_chunks)
        monkeypatch.setattr("fastnn._engine.threads.Pace.plan", lambda self: (True, 10**9))

    return fix


@pytest.fixture
def hide(monkeypatch):
    """Have a package be missing, and what imports it imported anew."""

    def hide(package, *importers):
        for name in [*sys.modules]:
            if name.startswith(importers):
                monkeypatch.delitem(sys.modules, name)
        for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)

    return hide
