"""What every scheme learns of equal queries, and of equal seconds: the tables of docs/howto/compare.md.

``python asv_bench/accuracy.py digits mnist fashion torchzero published`` prints them: torchzero is a race on the
digits, published what others found on MNIST by forward gradients.
MNIST is downloaded as `fastnn demo --data mnist` does it, or read from a folder of its four files (``--mnist FOLDER``);
Fashion-MNIST is read from those of Debian's package dataset-fashion-mnist (``--fashion FOLDER``,
/usr/share/datasets/fashion-mnist by default).

A rate is the best of three, by one seed that is not among those of the table and by a tenth of the samples to train on,
held out; the accuracy is that of the samples to test on. Seconds are those of one core.
"""

import argparse
import time
from pathlib import Path

import numba
import numpy as np
from schemes import make_torchzero

import fastnn
from fastnn import Backprop, ForwardGradient, NodePerturbation, Perturbation, RandomDirections
from fastnn._cli import demo

SEEDS, TRIAL = range(5), 100
LOSS = "categorical_cross_entropy"
# What is trained, and the middle rate of three: of equal queries, and of equal seconds; None where it reads nothing.
SCHEMES = {
    "every weight, exactly": (Perturbation(), 1.0, 0.3),
    "100 weights, exactly": (RandomDirections(100, directions="coordinate"), 0.1, 0.1),
    "100 rows of a Walsh code": (RandomDirections(100, directions="walsh"), 0.1, 0.1),
    "10 random directions": (RandomDirections(10), 0.03, 0.03),
    "1 random direction (SPSA)": (RandomDirections(1), 0.01, 0.01),
    "nodes": (NodePerturbation(), 0.03, 0.03),
    "forward gradient of weights": (ForwardGradient(1), None, 0.01),
    "forward gradient of units": (ForwardGradient(1, "units"), None, 0.03),
    "back-propagation": (Backprop(), None, 0.3),
}

# Test accuracies that Ren and others have for MNIST, of a network of 272,000 weights ("Scaling Forward Gradient With
# Local Losses", arXiv 2210.03310, backprop, FG-W and FG-A without local losses), and the middle rate of three.
PUBLISHED = {
    "forward gradient of weights": (ForwardGradient(1, directions="gaussian"), 0.0003, 0.9075),
    "forward gradient of units": (ForwardGradient(1, "units", "gaussian"), 0.003, 0.9676),
    "back-propagation": (Backprop(), 0.1, 0.9734),
}


class Sample:
    """Images to train on and to test on, and the network for them."""

    def __init__(self, digits, queries, seconds, batch_size=32):
        self.train, self.test = (digits.X_train, digits.y_train), (digits.X_test, digits.y_test)
        self.sizes = digits.X_train.shape[1], digits.n_hidden, 10
        self.queries, self.seconds, self.batch_size = queries, seconds, batch_size

    def make_network(self, seed):
        """Return an untrained network."""
        return fastnn.mlp(*self.sizes, hidden="tanh", output="softmax", seed=seed, dtype="float32")


class Stop(fastnn.callbacks.Callback):
    """Stop after so many seconds of this process."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_fit_begin(self, trainer, n_steps):
        """Start the clock."""
        self.begun = time.process_time()

    def on_steps(self, trainer):
        """Look at it."""
        if time.process_time() - self.begun >= self.seconds:
            trainer.stop()


def train(sample, gradient, rate, seed, steps, seconds, train_on, test_on):
    """Return the accuracy and the steps of a network that is trained until a budget is spent."""
    network = sample.make_network(seed)
    trainer = fastnn.Trainer(
        network, loss=LOSS, gradient=gradient, optimizer=fastnn.SGD(rate), batch_size=sample.batch_size, seed=seed
    )
    X, y = train_on
    try:
        if steps is None:
            trainer.fit(X, y, 100_000, callbacks=[Stop(seconds)])
        else:
            n_epochs, rest = divmod(steps, len(X) // sample.batch_size)
            for epochs, n_batches in ((n_epochs, len(X) // sample.batch_size), (1, rest)):
                if epochs and n_batches:
                    n = n_batches * sample.batch_size
                    trainer.fit(X[:n], y[:n], epochs)
    except FloatingPointError:  # too high a rate
        return 0.0, trainer.n_steps
    return trainer.evaluate(*test_on).accuracy, trainer.n_steps


def measure(sample, gradient, rate, steps, seconds):
    """Return the rate that is taken, and the accuracies and mean steps of all seeds."""
    X, y = sample.train
    order = np.random.default_rng(0).permutation(len(X))
    held, kept = np.split(order, [len(X) // 10])
    trials = {}
    for factor in (1 / 3, 1.0, 3.0):
        split = (X[kept], y[kept]), (X[held], y[held])
        trials[rate * factor], _ = train(sample, gradient, rate * factor, TRIAL, steps, seconds, *split)
    best = max(trials, key=trials.get)
    runs = [train(sample, gradient, best, seed, steps, seconds, sample.train, sample.test) for seed in SEEDS]
    return best, [accuracy for accuracy, _ in runs], np.mean([n_steps for _, n_steps in runs])


def show(best, scores, steps):
    """Return cells of a table."""
    return f"{steps:,.0f} | {best:.2g} | {np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"


def compare(name, sample):
    """Print the table of a sample."""
    size = sample.make_network(0).n_parameters
    shape = "-".join(map(str, sample.sizes))
    print(f"\n{name}, {shape} ({size:,} weights), batches of {sample.batch_size}\n")
    print(f"| scheme | steps | rate | after {sample.queries:,} queries | steps | rate | after {sample.seconds:g} s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for scheme, (gradient, rate, timed_rate) in SCHEMES.items():
        cost = gradient.queries(size)
        cells = "| | not to be measured"
        if cost is not None and cost > sample.queries:
            cells = f"0 | | a step takes {cost:,}"
        elif cost is not None:
            cells = show(*measure(sample, gradient, rate, sample.queries // cost, None))
        timed = show(*measure(sample, gradient, timed_rate, None, sample.seconds))
        print(f"| {scheme} | {cells} | {timed} |", flush=True)


def train_torchzero(sample, q, rate, seed):
    """Return the accuracy of torchzero's SPSA after the same queries, and the seconds."""
    import torch

    model, optimizer = make_torchzero(sample.make_network(seed).weights, torch.nn.Tanh, q, rate, seed=seed)
    (X, y), (X_test, y_test) = ((torch.from_numpy(X), torch.from_numpy(y)) for X, y in (sample.train, sample.test))
    rng, begun = np.random.default_rng(seed), time.process_time()
    for _ in range(sample.queries // (2 * q + 1)):
        batch = rng.permutation(len(X))[: sample.batch_size]
        x, labels = X[batch], y[batch]
        optimizer.step(lambda backward=True, x=x, y=labels: torch.nn.functional.cross_entropy(model(x), y))
    seconds = time.process_time() - begun
    return float((model(X_test).argmax(dim=1) == y_test).double().mean()), seconds


def race_torchzero(sample, q=10, rate=0.03):
    """Print the accuracies of both after equal queries, seed by seed, and the seconds."""
    print(f"\nDigits, SPSA of {q} directions, {sample.queries:,} queries, rate {rate}\n")
    print("| seed | fastnn | s | torchzero | s |\n|---|---|---|---|---|", flush=True)
    fastnn.gradient(sample.make_network(0), *sample.train, loss=LOSS, method=RandomDirections(q))  # compiled by then
    for seed in SEEDS:
        begun = time.process_time()
        ours, _ = train(
            sample, RandomDirections(q), rate, seed, sample.queries // (2 * q), None, sample.train, sample.test
        )
        seconds = time.process_time() - begun
        theirs, their_seconds = train_torchzero(sample, q, rate, seed)
        print(f"| {seed} | {ours:.3f} | {seconds:.1f} | {theirs:.3f} | {their_seconds:.1f} |", flush=True)


def train_falling(data, gradient, rate, seed, epochs, test_on):
    """Return the accuracy of 784-256-256-10, batches of 100, the rate of plain SGD falling linearly to 0."""
    network = fastnn.mlp(784, 256, 256, 10, hidden="relu", output="softmax", seed=seed, dtype="float32")
    trainer = fastnn.Trainer(
        network, loss=LOSS, gradient=gradient, optimizer=fastnn.SGD(rate), batch_size=100, seed=seed
    )
    schedule = fastnn.callbacks.LearningRateSchedule(lambda epoch: rate * (1 - epoch / epochs))
    try:
        trainer.fit(*data, epochs, callbacks=[schedule])
    except FloatingPointError:  # too high a rate
        return 0.0
    return trainer.evaluate(*test_on).accuracy


def compare_published(digits, epochs, seeds):
    """Print accuracies beside those of Ren and others; rates are chosen by runs as long: some diverge late."""
    mean, deviation = digits.X_train.mean(), digits.X_train.std()
    X, y = (digits.X_train - mean) / deviation, digits.y_train
    test_on = (digits.X_test - mean) / deviation, digits.y_test
    held, kept = np.split(np.random.default_rng(0).permutation(len(X)), [len(X) // 10])
    split = (X[kept], y[kept]), (X[held], y[held])
    print(f"\nMNIST, 784-256-256-10, {epochs} epochs, {seeds} seeds\n")
    print("| scheme | rate | accuracy | published |\n|---|---|---|---|", flush=True)
    for scheme, (gradient, rate, published) in PUBLISHED.items():
        rates = [rate * factor for factor in (1 / 3, 1.0, 3.0)]
        trials = [train_falling(split[0], gradient, r, TRIAL, epochs, split[1]) for r in rates]
        best = rates[int(np.argmax(trials))]
        scores = [train_falling((X, y), gradient, best, seed, epochs, test_on) for seed in range(seeds)]
        cell = f"{np.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"
        print(f"| {scheme} | {best:.2g} | {cell} | {published:.4f} |", flush=True)


def load_folder(folder):
    """Return the images of four files in the format IDX."""
    return demo.make_mnist(*(demo.read_idx(Path(folder) / name) for name in demo.MNIST_FILES))


def narrow(digits):
    """Return images in the networks' dtype."""
    return digits._replace(X_train=digits.X_train.astype(np.float32), X_test=digits.X_test.astype(np.float32))


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", choices=["digits", "mnist", "fashion", "torchzero", "published"])
    parser.add_argument("--mnist", metavar="FOLDER")
    parser.add_argument("--fashion", metavar="FOLDER", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--epochs", type=int, default=200, help="of what is published (default: 200)")
    parser.add_argument("--seeds", type=int, default=3, help="of what is published (default: 3)")
    options = parser.parse_args()
    numba.set_num_threads(1)

    def load_mnist():
        return narrow(load_folder(options.mnist) if options.mnist else demo.load_mnist())

    digits = Sample(narrow(demo.load_digits()), queries=100_000, seconds=1.0)
    for name in options.data:
        if name == "digits":
            compare("Digits", digits)
        elif name == "torchzero":
            race_torchzero(digits)
        elif name == "mnist":
            compare("MNIST", Sample(load_mnist(), queries=10_000, seconds=1.0))
        elif name == "published":
            compare_published(load_mnist(), options.epochs, options.seeds)
        else:
            compare("Fashion-MNIST", Sample(narrow(load_folder(options.fashion)), queries=10_000, seconds=1.0))


if __name__ == "__main__":
    main()
