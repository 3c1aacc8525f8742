"""Races of steps of networks over images and sequences: fastnn's beside JAX, PyTorch and NumPy, for `compare.py`.

As in `races.py`, whose processes run this file. Peers take their back-propagation's step, but for the plain
NumPy loop over every weight, of which some forward passes are timed, and a step is as many as there are weights.
"""

import os
import sys
from functools import partial

import numpy as np
import races
from races import milliseconds, race, ratio

BATCH = 32
LENET = [("conv", 8, 5, 0), ("conv", 16, 5, 0)]
# Name, shape of a sample, layers, their activation; a convolution is its filters, its size and the zeros around, with a
# pool of 2 x 2 behind it. The fourth is DeepZero's network (Chen et al., ICLR 2024) without its BatchNorm.
NETWORKS = {
    "LeNet, relu": ((28, 28, 1), LENET, "relu"),
    "LeNet, tanh": ((28, 28, 1), LENET, "tanh"),
    "five convolutions of 18 channels, relu": ((32, 32, 3), [("conv", 18, 3, 1)] * 5, "relu"),
    "RNN(64) on 28 x 28": ((28, 28), [("rnn", 64)], "tanh"),
}
N_CLASSES = 10


class Case:
    """A network in `NETWORKS` with ten softmax units on top, cross-entropy, plain SGD; as `races.Case` for the rest."""

    def __init__(self, name, batch, loss, dtype):
        self.shape, self.layers, self.activation = NETWORKS[name]
        self.batch, self.dtype, self.rate, self.n_steps = batch, dtype, 1e-4, 4
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(self.n_steps * batch, *self.shape)).astype(dtype)
        self.labels = rng.integers(0, N_CLASSES, len(self.x))
        shapes, n_in = [], self.shape[-1]
        side = self.shape[0]
        for layer in self.layers:
            if layer[0] == "conv":
                shapes += [(layer[2], layer[2], n_in, layer[1]), (layer[1],)]
                side = (side + 2 * layer[3] - layer[2] + 1) // 2
            else:
                shapes += [(n_in, layer[1]), (layer[1], layer[1]), (layer[1],)]
                side = 1
            n_in = layer[1]
        shapes += [(n_in * side**2, N_CLASSES), (N_CLASSES,)]
        scale = [max(np.prod(shape[:-1]), 1) ** -0.5 if len(shape) > 1 else 0.0 for shape in shapes]
        self.weights = [(s * rng.normal(size=shape)).astype(dtype) for s, shape in zip(scale, shapes, strict=True)]


def fastnn_run(case, method):
    """Set fastnn up."""
    import fastnn

    layers = []
    for layer in case.layers:
        if layer[0] == "conv":
            padding = "same" if layer[3] else "valid"
            layers += [fastnn.Conv2D(*layer[1:3], case.activation, padding=padding), fastnn.MaxPool2D(2)]
        else:
            layers.append(fastnn.RNN(layer[1], case.activation))
    network = fastnn.Network(case.shape, [*layers, fastnn.Dense(N_CLASSES, "softmax")], dtype=case.dtype)
    network.weights = case.weights
    trainer = fastnn.Trainer(
        network,
        loss="categorical_cross_entropy",
        gradient=fastnn.Backprop() if method == "backprop" else fastnn.Perturbation(),
        optimizer=fastnn.SGD(case.rate),
        batch_size=case.batch,
        shuffle=False,
    )
    return lambda epochs: float(trainer.fit(case.x, case.labels, epochs=epochs).loss[-1])


def jax_run(case):
    """Set JAX up: step by step over images, where a scan over steps takes longer, and in a scan over sequences."""
    import jax

    jax.config.update("jax_enable_x64", case.dtype == "float64")
    import jax.numpy as jnp

    f = {"relu": jax.nn.relu, "tanh": jnp.tanh}[case.activation]

    def move(u, h, z):
        return f(z + h @ u), None

    def outputs(weights, a):
        rest = iter(weights)
        for layer in case.layers:
            w = next(rest)
            if layer[0] == "conv":
                around = [(layer[3], layer[3])] * 2
                names = ("NHWC", "HWIO", "NHWC")
                z = jax.lax.conv_general_dilated(a, w, (1, 1), around, dimension_numbers=names) + next(rest)
                a = jax.lax.reduce_window(f(z), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
            else:
                u, b = next(rest), next(rest)
                inputs = jnp.swapaxes(a, 0, 1) @ w + b
                zero = jnp.zeros((a.shape[0], layer[1]), a.dtype)
                a, _ = jax.lax.scan(partial(move, u), zero, inputs)
        return a.reshape(len(a), -1) @ next(rest) + next(rest)

    def loss(weights, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(outputs(weights, x)), y[:, None], 1).mean()

    def step(weights, batch):
        value, gradient = jax.value_and_grad(loss)(weights, *batch)
        return [w - case.rate * g for w, g in zip(weights, gradient, strict=True)], value

    x = jnp.asarray(case.x.reshape(case.n_steps, case.batch, *case.shape))
    y = jnp.asarray(case.labels.reshape(case.n_steps, case.batch))
    state = [[jnp.asarray(w) for w in case.weights]]
    if case.layers[0][0] == "conv":
        one = jax.jit(step, donate_argnums=0)
        batches = [(x[k], y[k]) for k in range(case.n_steps)]

        def epoch(weights):
            for batch in batches:
                weights, value = one(weights, batch)
            return weights, value
    else:
        scan = jax.jit(lambda weights: jax.lax.scan(step, weights, (x, y)), donate_argnums=0)

        def epoch(weights):
            weights, values = scan(weights)
            return weights, values[-1]

    def run(epochs):
        for _ in range(epochs):
            state[0], value = epoch(state[0])
        jax.block_until_ready(state[0])
        return float(value)

    return run


def torch_run(case):
    """Set PyTorch up."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    f = {"relu": torch.relu, "tanh": torch.tanh}[case.activation]
    n_conv = sum(layer[0] == "conv" for layer in case.layers)
    weights = [torch.from_numpy(w).clone() for w in case.weights]
    for k in range(n_conv):
        weights[2 * k] = weights[2 * k].permute(3, 2, 0, 1).contiguous()
    if not n_conv:
        model = torch.nn.RNN(case.shape[1], case.layers[0][1], batch_first=True).to(weights[0].dtype)
        with torch.no_grad():
            model.weight_ih_l0[:], model.weight_hh_l0[:], model.bias_ih_l0[:] = weights[0].T, weights[1].T, weights[2]
            model.bias_hh_l0[:] = 0.0
        model.bias_hh_l0.requires_grad = False
        weights = weights[3:]
    else:  # the dense layer's rows, from channels last to channels first
        side = int((weights[-2].shape[0] // case.layers[-1][1]) ** 0.5)
        last = weights[-2].reshape(side, side, -1, N_CLASSES).permute(2, 0, 1, 3)
        weights[-2] = last.reshape(-1, N_CLASSES).contiguous()
    parameters = [w.requires_grad_() for w in weights]
    optimizer = torch.optim.SGD([*parameters, *(model.parameters() if not n_conv else ())], lr=case.rate)

    def outputs(x):
        if not n_conv:
            return model(x)[0][:, -1] @ weights[0] + weights[1]
        for k, layer in enumerate(case.layers):
            z = torch.nn.functional.conv2d(x, weights[2 * k], weights[2 * k + 1], padding=layer[3])
            x = torch.nn.functional.max_pool2d(f(z), 2)
        return x.flatten(1) @ weights[-2] + weights[-1]

    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(case.x, -1, 1)) if n_conv else case.x)
    batches = [*zip(x.split(case.batch), torch.from_numpy(case.labels).split(case.batch), strict=True)]

    def run(epochs):
        for inputs, labels in batches * epochs:
            optimizer.zero_grad(set_to_none=True)
            value = torch.nn.functional.cross_entropy(outputs(inputs), labels)
            value.backward()
            optimizer.step()
        return float(value.item())

    return run


def numpy_loss(case, weights, x, labels):
    """Return the loss of a batch, in plain NumPy."""
    f = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[case.activation]
    rest = iter(weights)
    for layer in case.layers:
        w = next(rest)
        if layer[0] == "conv":
            around = (layer[3], layer[3])
            patches = np.lib.stride_tricks.sliding_window_view(
                np.pad(x, ((0, 0), around, around, (0, 0))), w.shape[:2], axis=(1, 2)
            )
            a = f(np.tensordot(patches, w, ([4, 5, 3], [0, 1, 2])) + next(rest))
            n, height, width, channels = a.shape
            a = a[:, : height // 2 * 2, : width // 2 * 2]
            x = a.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
        else:
            u, b = next(rest), next(rest)
            h = np.zeros((len(x), layer[1]), x.dtype)
            for t in range(x.shape[1]):
                h = f(x[:, t] @ w + h @ u + b)
            x = h
    z = x.reshape(len(x), -1) @ next(rest) + next(rest)
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())


def numpy_run(case):
    """Set the plain loop up, of which a run is one forward pass."""
    x, labels, case.n_steps = case.x[: case.batch], case.labels[: case.batch], 1
    return lambda epochs: numpy_loss(case, case.weights, x, labels)


PEERS = {
    "fastnn": partial(fastnn_run, method="perturbation"),
    "fastnn Backprop": partial(fastnn_run, method="backprop"),
    "JAX": jax_run,
    "PyTorch": torch_run,
    "NumPy forward": numpy_run,
}
# What is raced, with what of it is wanted: perturbation and own Backprop, each over JAX.
RACES = [
    ("LeNet, relu", "1.0; Backprop 0.4", "1.8; Backprop 0.6"),
    ("LeNet, tanh", "1.5", ""),
    ("five convolutions of 18 channels, relu", "2.8", "6"),
    ("RNN(64) on 28 x 28", "50; Backprop 1.0; loop / 135", "100; Backprop 1.0"),
]


def table():
    """Return the table of steps over images and sequences."""
    peers = ["fastnn", "fastnn Backprop", "JAX", "PyTorch"]
    lines = [
        f"| one step of batch {BATCH}, ms | fastnn perturbation | fastnn Backprop | JAX | PyTorch | perturbation / JAX "
        "| Backprop / JAX | perturbation / own Backprop | plain NumPy loop / perturbation | wanted, over JAX |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, *wanted in RACES:
        for dtype, goal in zip(("float64", "float32"), wanted, strict=True):
            times = race(peers, name, BATCH, "", dtype, rounds=7, script=__file__)
            forward = race(["NumPy forward"], name, BATCH, "", dtype, rounds=7, script=__file__)["NumPy forward"]
            loop = np.median(forward) * sum(w.size for w in Case(name, BATCH, "", dtype).weights)
            cells = [f"{name}, {dtype}", *(milliseconds(times, peer) for peer in peers)]
            cells += [ratio(times, "fastnn", "JAX"), ratio(times, "fastnn Backprop", "JAX")]
            cells += [ratio(times, "fastnn", "fastnn Backprop"), f"{loop / np.median(times['fastnn']):,.0f}", goal]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    races.work(*sys.argv[1:], peers=PEERS, make_case=Case)
