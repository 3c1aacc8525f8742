"""Races of one training step between fastnn, JAX, PyTorch and the plain NumPy loop, on this machine.

Each peer trains in a process of its own, at its best settings (JAX: the whole epoch in
one jitted `lax.scan`; PyTorch: eager and `torch.compile`), on the same data in the same
order. Rounds go from peer to peer, so that whatever else the machine does meets all of
them; a time is the median of the rounds, a ratio the median of the rounds' ratios.

A peer's process runs this file, which therefore imports fastnn only where it is raced.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np

ROUNDS = 9
EPOCHS = 4  # a round: the Trainer looks at the data once a call
WARM = 2.0  # seconds that a peer trains first: compilers end, threads are found worth sharing among
REST = 0.3  # seconds before each round, for the threads of the peer before to fall asleep
SQUARED, CROSS_ENTROPY = "squared error", "cross-entropy"

# Trains for so many epochs and returns the last loss: of the last step, fastnn's of the last epoch.
Run = Callable[[int], float]
Times = Mapping[str, Any]


def draw_digits(n_samples: int, rng: np.random.Generator) -> Any:
    """Return scikit-learn's digits, each pixel as two by two, with zeros around them: (n_samples, 784), 17 % not 0."""
    from sklearn.datasets import load_digits

    images = np.zeros((1797, 28, 28))
    images[:, 6:22, 6:22] = np.kron(load_digits().images / 16, np.ones((2, 2)))
    return images.reshape(-1, 784)[rng.integers(0, 1797, n_samples)]


class Case:
    """Sigmoid hidden layers, outputs without an activation, plain SGD.

    Sizes are as in "784-100-10", or as in "784-100-10, 20 % not zero", of the inputs; "784-100-10, digits" has
    scikit-learn's, which are drawn in the middle of 28 x 28 pixels as MNIST's are.
    """

    def __init__(self, sizes: str, batch: int, loss: str, dtype: str) -> None:
        layers, _, share = sizes.partition(", ")
        self.sizes = [int(n) for n in layers.split("-")]
        self.batch, self.loss, self.dtype = batch, loss, dtype
        self.rate = 1e-4  # the widest layer of compare.py diverges at 0.01
        per_step = 6 * batch * sum(a * b for a, b in pairwise(self.sizes))
        self.n_steps = int(np.clip(3e9 / per_step, 20, 2000))  # an epoch of about 50 ms
        rng = np.random.default_rng(0)
        self.x = rng.random((self.n_steps * batch, self.sizes[0])).astype(dtype)
        if share == "digits":
            self.x = draw_digits(len(self.x), rng).astype(dtype)
        elif share:
            self.x *= rng.random(self.x.shape) < float(share.split()[0]) / 100
        labels = rng.integers(0, self.sizes[-1], len(self.x))
        self.y = np.eye(self.sizes[-1], dtype=dtype)[labels]
        self.weights = []
        for n_in, n_out in pairwise(self.sizes):
            self.weights += [rng.normal(size=(n_in, n_out)).astype(dtype) / n_in**0.5, np.zeros(n_out, dtype)]

    def keep_one_step(self) -> None:
        """Leave one batch, for a peer that takes long."""
        self.n_steps, self.x, self.y = 1, self.x[: self.batch], self.y[: self.batch]


def fastnn_run(
    case: Case, method: Literal["backprop", "auto", "series", "direct"] = "auto", threads: int | None = None
) -> Run:
    """Set fastnn up."""
    import numba

    import fastnn

    if threads:
        numba.set_num_threads(threads)
    output: Literal["identity", "softmax"] = "identity" if case.loss == SQUARED else "softmax"
    network = fastnn.mlp(*case.sizes, output=output, dtype=case.dtype)
    network.weights = case.weights
    gradient = fastnn.Backprop() if method == "backprop" else fastnn.Perturbation(evaluate=method)
    loss: Literal["squared_error", "categorical_cross_entropy"] = (
        "squared_error" if case.loss == SQUARED else "categorical_cross_entropy"
    )
    trainer = fastnn.Trainer(
        network,
        loss=loss,
        gradient=gradient,
        optimizer=fastnn.SGD(case.rate),
        batch_size=case.batch,
        shuffle=False,
    )
    return lambda epochs: float(trainer.fit(case.x, case.y, epochs=epochs).loss[-1])


def jax_run(case: Case) -> Run:
    """Set JAX up."""
    import jax

    jax.config.update("jax_enable_x64", case.dtype == "float64")
    import jax.numpy as jnp

    def loss(weights: list[Any], x: Any, y: Any) -> Any:
        for k in range(0, len(weights), 2):
            z = x @ weights[k] + weights[k + 1]
            x = jax.nn.sigmoid(z)
        if case.loss == SQUARED:
            return ((z - y) ** 2).sum() / len(x)
        return -(y * jax.nn.log_softmax(z)).sum() / len(x)

    def step(weights: list[Any], batch: Any) -> tuple[list[Any], Any]:
        value, gradient = jax.value_and_grad(loss)(weights, *batch)
        return [w - case.rate * g for w, g in zip(weights, gradient, strict=True)], value

    epoch = jax.jit(lambda weights, x, y: jax.lax.scan(step, weights, (x, y)))
    x, y = (jnp.asarray(a.reshape(case.n_steps, case.batch, -1)) for a in (case.x, case.y))
    state = [[jnp.asarray(w) for w in case.weights]]

    def run(epochs: int) -> float:
        for _ in range(epochs):
            state[0], losses = epoch(state[0], x, y)
        jax.block_until_ready((state[0], losses))
        return float(losses[-1])

    return run


def torch_run(case: Case, compiled: bool = False) -> Run:
    """Set PyTorch up."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    layers: list[Any] = []
    for n_in, n_out in pairwise(case.sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Sigmoid()]
    layers.pop()
    model = torch.nn.Sequential(*layers).to(getattr(torch, case.dtype))
    with torch.no_grad():
        for k, layer in enumerate(layers[::2]):
            layer.weight[:] = torch.from_numpy(case.weights[2 * k].T)
            layer.bias[:] = torch.from_numpy(case.weights[2 * k + 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=case.rate)

    def loss(x: Any, y: Any) -> Any:
        if case.loss == SQUARED:
            return ((model(x) - y) ** 2).sum() / len(x)
        return torch.nn.functional.cross_entropy(model(x), y)

    measure = torch.compile(loss) if compiled else loss
    x = torch.from_numpy(case.x).split(case.batch)
    y = torch.from_numpy(case.y).split(case.batch)

    def run(epochs: int) -> float:
        for batch in [*zip(x, y, strict=True)] * epochs:
            optimizer.zero_grad(set_to_none=True)
            value = measure(*batch)
            value.backward()
            optimizer.step()
        return float(value.item())

    return run


def numpy_run(case: Case) -> Run:
    """Set the plain loop over every weight up, with squared error."""
    from fastnn._cli.demo import numpy_differences

    weights = case.weights
    case.keep_one_step()

    def loss() -> float:
        a = case.x
        for k in range(0, len(weights), 2):
            z = a @ weights[k] + weights[k + 1]
            a = 1 / (1 + np.exp(-z))
        return float(np.square(z - case.y).sum() / len(z))

    def run(epochs: int) -> float:
        for _ in range(epochs):
            value = loss()
            for w, g in zip(weights, numpy_differences(weights, loss), strict=True):
                w -= case.rate * g
        return value

    return run


def direct_run(case: Case) -> Run:
    """Set fastnn's direct kernel up."""
    case.keep_one_step()
    return fastnn_run(case, "direct")


PEERS: dict[str, Callable[[Case], Run]] = {
    "fastnn": fastnn_run,
    "fastnn, 1 thread": partial(fastnn_run, threads=1),
    "fastnn direct": direct_run,
    "fastnn Backprop": partial(fastnn_run, method="backprop"),
    "JAX": jax_run,
    "PyTorch": torch_run,
    "PyTorch compiled": partial(torch_run, compiled=True),
    "NumPy loop": numpy_run,
}


def work(
    peer: str,
    sizes: str,
    batch: str,
    loss: str,
    dtype: str,
    *,
    peers: Mapping[str, Callable[[Any], Run]] = PEERS,
    make_case: Callable[[str, int, str, str], Any] = Case,
) -> None:
    """In a process of its own: set a peer up, then time one run a line of input."""
    case = make_case(sizes, int(batch), loss, dtype)
    run = peers[peer](case)
    epochs = EPOCHS
    if peer.startswith("NumPy"):
        epochs = 1
    else:
        run(1)  # compile
        until = time.perf_counter() + WARM
        while time.perf_counter() < until:
            run(epochs)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run(epochs)
        print((time.perf_counter() - started) / (case.n_steps * epochs), flush=True)


def environment() -> dict[str, str]:
    """Return the environment of peers: what tells OpenBLAS to be another processor's is left out."""
    return {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


def race(
    peers: Sequence[str],
    sizes: str,
    batch: int,
    loss: str,
    dtype: str,
    *,
    rounds: int = ROUNDS,
    script: str = __file__,
) -> dict[str, Any]:
    """Return each peer's seconds a step, an array of rounds; None for a peer that does not run, which is said.

    Their processes run a script that hands its arguments to `work`.
    """
    processes: dict[str, Any] = {}
    times: dict[str, list[float]] = {}
    for peer in peers:
        command = [sys.executable, script, peer, sizes, str(batch), loss, dtype]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment())
        assert process.stdout is not None
        if process.stdout.readline() == "ready\n":
            processes[peer] = process
        else:
            reason = process.communicate()[1].strip().splitlines() or ["no reason given"]
            print(f"{peer}: {reason[-1]}", file=sys.stderr)
        times[peer] = []
    for _ in range(rounds):
        for peer, process in processes.items():
            time.sleep(REST)
            print(file=process.stdin, flush=True)
            times[peer].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    return {peer: np.array(values) if values else None for peer, values in times.items()}


def ratio(times: Times, peer: str, other: str) -> str:
    """Return the median of the rounds' ratios of two peers, as text."""
    if times[peer] is None or times[other] is None:
        return "-"
    return f"{np.median(times[peer] / times[other]):.2f}"


def milliseconds(times: Times, peer: str) -> str:
    """Return the median of a peer's rounds, as text."""
    return "-" if times[peer] is None else f"{1e3 * np.median(times[peer]):.3f}"


def describe(sizes: str, batch: int, loss: str, dtype: str) -> str:
    """Return what a step is called."""
    return f"{sizes}, batch {batch}, {loss}, {dtype}"


if __name__ == "__main__":
    work(*sys.argv[1:])
