"""The demonstration: train a digit classifier by perturbation, and race the tutorial's loop."""

import gzip
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastnn
from fastnn._support.choices import PaddingName
from fastnn._support.validate import Array, optional
from fastnn.callbacks import Callback, LearningRateSchedule

TUTORIAL_EPOCHS = 1000
# The files as their authors published them, from the mirror that PyTorch uses.
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class Filters(NamedTuple):
    """A network of convolutions, with a pool behind each, and how it is trained."""

    n_filters: tuple[int, ...]
    kernel_size: int
    padding: PaddingName
    dtype: str
    lr: float
    weight_decay: float
    batch_size: int
    n_epochs: int


class Digits(NamedTuple):
    """Images of handwritten digits, a row each, of pixels between 0 and 1, and what to do with them."""

    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    n_hidden: int
    n_epochs: int
    filters: Filters


SMALL = Filters((16,), 5, "same", "float64", lr=0.01, weight_decay=0.1, batch_size=16, n_epochs=20)
LENET = Filters((8, 16), 5, "valid", "float32", lr=0.005, weight_decay=0.0, batch_size=64, n_epochs=10)


def load_digits() -> Digits:
    """Return the 1,797 images of 8x8 pixels that come with scikit-learn."""
    with optional("fastnn demo", "demo"):
        from sklearn import datasets
        from sklearn.model_selection import train_test_split

    X, y = datasets.load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.2, random_state=0, stratify=y)
    return Digits(X_train, y_train, X_test, y_test, n_hidden=32, n_epochs=30, filters=SMALL)


def load_mnist() -> Digits:
    """Return the 70,000 images of 28x28 pixels, downloaded once and checked.

    Raises
    ------
    OSError
        If they are not there and cannot be had.
    """
    with optional("fastnn demo --data mnist", "demo"):
        import pooch

    folder = pooch.os_cache("fastnn")
    arrays = []
    for name, digest in MNIST_FILES.items():
        try:
            arrays.append(read_idx(pooch.retrieve(MNIST_URL + name, f"sha256:{digest}", name, folder)))
        except (OSError, ValueError) as error:  # no network, or not the file that it should be
            raise OSError(
                f"cannot get MNIST's {name} from {MNIST_URL} ({type(error).__name__}). Try again with a network, "
                f"or put the file into {folder}; `fastnn demo` alone needs neither"
            ) from error
    return make_mnist(*arrays)


def make_mnist(X_train: Array, y_train: Array, X_test: Array, y_test: Array) -> Digits:
    """Return images of bytes, and their labels, as MNIST's are trained on."""
    X_train, X_test = (images.reshape(len(images), -1) / 255 for images in (X_train, X_test))
    return Digits(X_train, y_train, X_test, y_test, n_hidden=100, n_epochs=10, filters=LENET)


def read_idx(path: str | Path) -> Array:
    """Return the array of bytes in a gzipped file of the format IDX: two zeros, type, rank, sizes, values."""
    with gzip.open(path) as file:
        content = file.read()
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content, ">u4", rank, 4) if len(content) >= 4 + 4 * rank else np.zeros(0)
    if not rank or len(content) != 4 + 4 * rank + shape.prod():
        raise ValueError(f"{path} is no array of bytes in the format IDX")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


LOADERS = {"digits": load_digits, "mnist": load_mnist}


def demonstrate(data: str, network: str | None) -> None:
    """Print how networks learn digits, and two races; data is a name in `LOADERS`.

    The network is "dense", and the races go with it, or "conv"; None is both where that takes a minute.
    """
    digits = LOADERS[data]()
    if network != "conv":
        print("1. Handwritten digits, learned by nudging every weight\n")
        trainer = train_dense(digits)
        race_step(trainer.network, digits.X_train[:32], digits.y_train[:32])
        race_tutorial()
    if network is None and data == "digits":
        print("\n3. The same digits, by a network of which most weights work all over an image\n")
    if network == "conv" or (network is None and data == "digits"):
        train_filters(digits)


def train_dense(digits: Digits) -> fastnn.Trainer:
    """Train a network with a hidden layer in front of the user."""
    network = fastnn.mlp(digits.X_train.shape[1], digits.n_hidden, 10, hidden="tanh", output="softmax", seed=0)
    trainer = fastnn.Trainer(
        network,
        loss="categorical_cross_entropy",
        gradient=fastnn.Perturbation(eps=1e-4),
        optimizer=fastnn.SGD(0.3),
        batch_size=32,
    )
    watch(trainer, digits, 32, digits.n_epochs)
    return trainer


def train_filters(digits: Digits) -> fastnn.Trainer:
    """Train a network of convolutions in front of the user, its rate falling from epoch to epoch."""
    side = round(digits.X_train.shape[1] ** 0.5)
    filters = digits.filters
    layers: list[Any] = []
    for n_filters in filters.n_filters:
        layers.append(fastnn.Conv2D(n_filters, filters.kernel_size, "relu", padding=filters.padding))
        layers.append(fastnn.MaxPool2D(2))
    layers.append(fastnn.Dense(10, "softmax"))
    trainer = fastnn.Trainer(
        fastnn.Network((side, side, 1), layers, seed=0, dtype=filters.dtype),
        loss="categorical_cross_entropy",
        gradient=fastnn.Perturbation(eps=1e-4),
        optimizer=fastnn.AdamW(filters.lr, weight_decay=filters.weight_decay),
        batch_size=filters.batch_size,
    )
    images = digits._replace(
        X_train=digits.X_train.reshape(-1, side, side, 1), X_test=digits.X_test.reshape(-1, side, side, 1)
    )
    schedule = LearningRateSchedule.cosine(filters.lr, filters.n_epochs)
    watch(trainer, images, filters.batch_size, filters.n_epochs, [schedule])
    return trainer


def watch(
    trainer: fastnn.Trainer, digits: Digits, batch_size: int, n_epochs: int, callbacks: Sequence[Callback] = ()
) -> None:
    """Train, and tell of every epoch."""
    X_train, y_train, X_test, y_test = digits[:4]
    network = trainer.network
    side = round(network.n_inputs**0.5)
    print(f"{len(X_train):,} images of {side}x{side} pixels to train on, {len(X_test):,} held out")
    print(network)
    print(f"each step measures the loss with each weight nudged: {trainer.gradient}, {trainer.optimizer}")
    print(
        "the first run compiles for some 20 seconds, convolutions for longer; the result is kept on disk\n", flush=True
    )
    fastnn.gradient(network, X_train[:32], y_train[:32], loss="categorical_cross_entropy")
    print("epoch    loss  accuracy  test accuracy  perturbations  seconds")
    started = time.perf_counter()
    for epoch in range(1, n_epochs + 1):
        history = trainer.fit(X_train, y_train, validation_data=(X_test, y_test), callbacks=callbacks)
        loss, accuracy, test = (history.to_dict()[name][-1] for name in ("loss", "accuracy", "validation_accuracy"))
        nudges = trainer.n_steps * network.n_parameters
        seconds = time.perf_counter() - started
        print(f"{epoch:5d}  {loss:6.4f}  {accuracy:8.1%}  {test:13.1%}  {nudges:13,}  {seconds:7.2f}", flush=True)
    print(
        f"\ntest accuracy {test:.1%} after {nudges:,} weight perturbations in {seconds:.1f} s: "
        f"{nudges / seconds / 1e6:.1f} million a second, each on a batch of {batch_size}"
    )


def race_step(network: fastnn.Network, X: Array, labels: Array) -> float:
    """Measure one batch with a plain NumPy loop and with fastnn; return how many times faster fastnn is."""
    started = time.perf_counter()
    theirs = numpy_softmax_differences([w.copy() for w in network.weights], X, labels)
    numpy_seconds = time.perf_counter() - started
    times = []
    for _ in range(21):
        started = time.perf_counter()
        method = fastnn.Perturbation(eps=1e-4)
        ours = fastnn.gradient(network, X, labels, loss="categorical_cross_entropy", method=method)
        times.append(time.perf_counter() - started)
    seconds = float(np.median(times))
    error = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    print(
        f"one batch, every weight measured: plain NumPy loop {1000 * numpy_seconds:.0f} ms, "
        f"fastnn {1000 * seconds:.2f} ms, {numpy_seconds / seconds:.0f} times faster; "
        f"the numbers agree to {error:.0e}\n"
    )
    return numpy_seconds / seconds


def numpy_softmax_differences(weights: list[Array], X: Array, labels: Array) -> list[Array]:
    """Return the forward differences of the demonstration's network."""
    w1, b1, w2, b2 = weights

    def loss() -> float:
        z = np.tanh(X @ w1 + b1) @ w2 + b2
        top = z.max(axis=1)
        chosen = z[np.arange(len(X)), labels]
        return float(np.mean(top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - chosen))

    return numpy_differences(weights, loss)


def numpy_differences(weights: Sequence[Array], loss: Callable[[], float], eps: float = 1e-4) -> list[Array]:
    """Return every weight's forward difference, one weight and one whole forward pass after another.

    `loss` computes with `weights`, which are nudged in place and put back.
    """
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
