"""``python -m fastnn``: train a digit classifier by perturbation, and race the tutorial's loop."""

import sys
import time
from copy import deepcopy
from typing import Any

import numpy as np

import fastnn
from fastnn._validate import Array

EPOCHS = 30
TUTORIAL_EPOCHS = 1000


def main() -> int:
    """Run the demonstration; return the exit code."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        print(
            "fastnn: the handwritten digits come with scikit-learn, which is not installed.\n"
            "        pip install scikit-learn    (or install fastnn with its extra [demo])",
            file=sys.stderr,
        )
        return 1
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.2, random_state=0, stratify=y)
    trainer = train_digits(X_train, X_test, y_train, y_test)
    race_step(trainer.network, X_train[:32], y_train[:32])
    race_tutorial()
    return 0


def train_digits(X_train: Array, X_test: Array, y_train: Array, y_test: Array) -> fastnn.Trainer:
    """Train on the 8x8 digits in front of the user."""
    network = fastnn.mlp(64, 32, 10, hidden="tanh", output="softmax", seed=0)
    print("1. Handwritten digits, learned by nudging every weight\n")
    print(f"{len(X_train):,} images of 8x8 pixels to train on, {len(X_test)} held out")
    print(network)
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.SGD(0.3), batch_size=32)
    print(f"each step measures the loss with each weight nudged: {trainer.gradient}, {trainer.optimizer}")
    print("the first run compiles for some 20 seconds; the result is kept on disk", end="\n\n", flush=True)
    fastnn.gradient(network, X_train[:32], y_train[:32], loss="categorical_cross_entropy")
    print("epoch    loss  accuracy  test accuracy  perturbations  seconds")
    started = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        history = trainer.fit(X_train, y_train, validation_data=(X_test, y_test))
        loss, accuracy, test = (history.to_dict()[name][-1] for name in ("loss", "accuracy", "validation_accuracy"))
        nudges = trainer.n_steps * network.n_parameters
        seconds = time.perf_counter() - started
        print(f"{epoch:5d}  {loss:6.4f}  {accuracy:8.1%}  {test:13.1%}  {nudges:13,}  {seconds:7.2f}", flush=True)
    print(
        f"\ntest accuracy {test:.1%} after {nudges:,} weight perturbations in {seconds:.1f} s: "
        f"{nudges / seconds / 1e6:.1f} million a second, each on a batch of 32"
    )
    return trainer


def race_step(network: fastnn.Network, X: Array, labels: Array) -> float:
    """Measure one batch with a plain NumPy loop and with fastnn; return how many times faster fastnn is."""
    started = time.perf_counter()
    theirs = numpy_differences([w.copy() for w in network.weights], X, labels)
    numpy_seconds = time.perf_counter() - started
    times = []
    for _ in range(21):
        started = time.perf_counter()
        ours = fastnn.gradient(network, X, labels, loss="categorical_cross_entropy")
        times.append(time.perf_counter() - started)
    seconds = float(np.median(times))
    error = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(
        f"one batch, every weight measured: plain NumPy loop {1000 * numpy_seconds:.0f} ms, "
        f"fastnn {1000 * seconds:.2f} ms, {numpy_seconds / seconds:.0f} times faster; "
        f"the numbers agree to {error:.0e}\n"
    )
    return numpy_seconds / seconds


def numpy_differences(weights: list[Array], X: Array, labels: Array, eps: float = 1e-4) -> list[Array]:
    """Return every weight's forward difference, one weight and one whole forward pass after another."""

    def loss() -> float:
        w1, b1, w2, b2 = weights
        z = np.tanh(X @ w1 + b1) @ w2 + b2
        top = z.max(axis=1)
        chosen = z[np.arange(len(X)), labels]
        return float(np.mean(top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - chosen))

    before = loss()
    differences = [np.empty_like(w) for w in weights]
    for w, difference in zip(weights, differences, strict=True):
        for entry in np.ndindex(w.shape):
            saved = w[entry]
            w[entry] = saved + eps
            difference[entry] = (loss() - before) / eps
            w[entry] = saved
    return differences


def race_tutorial() -> float:
    """Fit y = 3x with the tutorial's NumPy loop and with fastnn; return how many times faster fastnn is."""
    print(f"2. The tutorial's y = 3x: 5 points, 2 weights, {TUTORIAL_EPOCHS:,} epochs\n")
    x = np.array([[1], [3], [4], [8], [10]])
    weights = np.array([[[2.269]], [[1.01]]])
    seconds = []
    for name, update in (("NumPy loop", numpy_update_weights), ("fastnn", fastnn.update_weights)):
        update(x, 3 * x, weights, 1)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            w, b = update(x, 3 * x, weights, TUTORIAL_EPOCHS).ravel()
            times.append(time.perf_counter() - started)
        seconds.append(float(np.median(times)))
        print(f"{name:10s}  w = {w:.13f}  b = {b:.13f}  {1000 * seconds[-1]:8.3f} ms")
    ratio = seconds[0] / seconds[1]
    print(f"\nthe same numbers, {ratio:.0f} times faster (medians of 5 runs, here and now)")
    return ratio


def numpy_update_weights(inputs: Array, outputs: Array, weights: Any, epochs: int) -> Any:
    """Do what the tutorial's NumPy functions do for a network without hidden layers."""

    def squared_error(current: Any) -> Array:
        error: Array = np.dot(inputs, current[0]) + current[1] - outputs
        return np.square(error)

    for _ in range(epochs):
        before = squared_error(weights)
        moved = deepcopy(weights)
        for k in range(len(weights)):
            nudged = deepcopy(weights)
            nudged[k] += 0.0001
            fall = np.sum(before - squared_error(nudged)) / (0.0001 * len(inputs))
            moved[k] += fall * 0.01
        weights = moved
    return weights


if __name__ == "__main__":
    sys.exit(main())
