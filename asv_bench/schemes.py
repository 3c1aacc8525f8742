"""Races of steps along estimates of the gradient: fastnn's beside JAX, torchzero and NumPy, for `compare.py`.

As in `races.py`, whose processes run this file. A step makes `2 Q` queries where its name has directions.
"""

import sys
from functools import partial

import numpy as np
import races
from races import CROSS_ENTROPY, race, ratio

Q, EPS = 10, 1e-3
DIGITS, WIDE = ("64-32-10", 32, CROSS_ENTROPY), ("784-100-10", 32, CROSS_ENTROPY)


def fastnn_run(case, method, **options):
    """Set fastnn up, on one thread as NumPy's and JAX's scans are."""
    import numba

    import fastnn

    numba.set_num_threads(1)
    network = fastnn.mlp(*case.sizes, output="softmax", dtype=case.dtype)
    network.weights = case.weights
    methods = {
        "backprop": fastnn.Backprop(),
        "perturbation": fastnn.Perturbation(),
        "pair": fastnn.RandomDirections(1),
        "spsa": fastnn.RandomDirections(Q),
        "forward": fastnn.ForwardGradient(1),
        "node": fastnn.NodePerturbation(),
    }
    readout = fastnn.hardware.Readout(**options) if options else None
    trainer = fastnn.Trainer(
        network,
        loss="categorical_cross_entropy",
        gradient=methods[method],
        optimizer=fastnn.SGD(case.rate),
        batch_size=case.batch,
        shuffle=False,
        readout=readout,
    )
    return lambda epochs: float(trainer.fit(case.x, case.y, epochs=epochs).loss[-1])


def jax_run(case, method):
    """Set JAX up, a whole epoch in one jitted scan: SPSA by vmap over directions, or a forward gradient by a jvp."""
    import jax

    jax.config.update("jax_enable_x64", case.dtype == "float64")
    import jax.numpy as jnp

    def loss(weights, x, y):
        for k in range(0, len(weights), 2):
            z = x @ weights[k] + weights[k + 1]
            x = jax.nn.sigmoid(z)
        return -(y * jax.nn.log_softmax(z)).sum() / len(x)

    def draw(key, weights):
        keys = jax.random.split(key, len(weights))
        return [jax.random.rademacher(k, w.shape, w.dtype) for k, w in zip(keys, weights, strict=True)]

    def add(weights, factor, other):
        return [w + factor * o for w, o in zip(weights, other, strict=True)]

    def spsa(weights, key, x, y):
        def along(key):
            drawn = draw(key, weights)
            above, below = loss(add(weights, EPS, drawn), x, y), loss(add(weights, -EPS, drawn), x, y)
            return [(above - below) / (2 * EPS) * d for d in drawn]

        found = jax.vmap(along)(jax.random.split(key, Q))
        return [g.mean(axis=0) for g in found]

    def forward(weights, key, x, y):
        drawn = draw(key, weights)
        _, slope = jax.jvp(lambda w: loss(w, x, y), (weights,), (drawn,))
        return [slope * d for d in drawn]

    def exact(weights, key, x, y):
        return jax.grad(loss)(weights, x, y)

    estimate = {"spsa": spsa, "forward": forward, "backprop": exact}[method]

    def step(state, batch):
        weights, key = state
        key, own = jax.random.split(key)
        return (add(weights, -case.rate, estimate(weights, own, *batch)), key), None

    epoch = jax.jit(lambda state, x, y: jax.lax.scan(step, state, (x, y))[0])
    x, y = (jnp.asarray(a.reshape(case.n_steps, case.batch, -1)) for a in (case.x, case.y))
    state = [([jnp.asarray(w) for w in case.weights], jax.random.key(0))]

    def run(epochs):
        for _ in range(epochs):
            state[0] = epoch(state[0], x, y)
        jax.block_until_ready(state[0])
        return 0.0

    return run


def make_torchzero(weights, activation, q, rate, **options):
    """Return a dense network in PyTorch, on one thread, and torchzero's SPSA that moves it."""
    import torch
    import torchzero

    torch.set_num_threads(1)
    layers = []
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        layer = torch.nn.Linear(*w.shape, dtype=getattr(torch, w.dtype.name))
        layer.load_state_dict({"weight": torch.from_numpy(w.T.copy()), "bias": torch.from_numpy(b.copy())})
        layers += [layer, activation()]
    model = torch.nn.Sequential(*layers[:-1])
    spsa = torchzero.m.SPSA(h=EPS, n_samples=q, formula="central", distribution="rademacher", **options)
    return model, torchzero.Optimizer(model.parameters(), spsa, torchzero.m.LR(rate))


def torchzero_run(case):
    """Set torchzero's SPSA up, at the same rate and nudge; a step of it makes one query more."""
    import torch

    case.n_steps = 20
    model, optimizer = make_torchzero(case.weights, torch.nn.Sigmoid, Q, case.rate)
    splits = range(case.batch, len(case.x), case.batch)
    batches = [
        (torch.from_numpy(x), torch.from_numpy(y))
        for x, y in zip(np.split(case.x, splits), np.split(case.y, splits), strict=True)
    ]

    def run(epochs):
        for x, y in batches[: case.n_steps] * epochs:
            optimizer.step(lambda backward=True, x=x, y=y: torch.nn.functional.cross_entropy(model(x), y))
        return 0.0

    return run


def numpy_run(case):
    """Set a plain loop over directions up."""
    rng, weights = np.random.default_rng(0), case.weights
    case.n_steps = 20

    def loss(weights, x, y):
        for k in range(0, len(weights), 2):
            z = x @ weights[k] + weights[k + 1]
            x = 1 / (1 + np.exp(-z))
        z = z - z.max(axis=1, keepdims=True)
        return -(y * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum() / len(y)

    def run(epochs):
        for step in range(epochs * case.n_steps):
            x, y = (a[step * case.batch :][: case.batch] for a in (case.x, case.y))
            total = [np.zeros_like(w) for w in weights]
            for _ in range(Q):
                drawn = [rng.integers(0, 2, w.shape).astype(w.dtype) * 2 - 1 for w in weights]
                above = loss([w + EPS * d for w, d in zip(weights, drawn, strict=True)], x, y)
                below = loss([w - EPS * d for w, d in zip(weights, drawn, strict=True)], x, y)
                for t, d in zip(total, drawn, strict=True):
                    t += (above - below) / (2 * EPS * Q) * d
            for w, t in zip(weights, total, strict=True):
                w -= case.rate * t
        return 0.0

    return run


PEERS = {
    "fastnn Backprop": partial(fastnn_run, method="backprop"),
    "fastnn": partial(fastnn_run, method="perturbation"),
    "fastnn, noise": partial(fastnn_run, method="perturbation", noise=1e-6),
    "fastnn SPSA": partial(fastnn_run, method="spsa"),
    "fastnn pair": partial(fastnn_run, method="pair"),
    "fastnn ForwardGradient": partial(fastnn_run, method="forward"),
    "fastnn NodePerturbation": partial(fastnn_run, method="node"),
    "JAX SPSA": partial(jax_run, method="spsa"),
    "JAX jvp": partial(jax_run, method="forward"),
    "JAX": partial(jax_run, method="backprop"),
    "torchzero SPSA": torchzero_run,
    "NumPy SPSA": numpy_run,
}
# What is raced, on which network, against what, and what is wanted.
RACES = [
    (f"SPSA, q = {Q}, against JAX's scan", DIGITS, "fastnn SPSA", "JAX SPSA", "0.33"),
    ("the same against torchzero", DIGITS, "fastnn SPSA", "torchzero SPSA", "0.033"),
    ("the same against a NumPy loop", DIGITS, "fastnn SPSA", "NumPy SPSA", "0.1"),
    ("SPSA, q = 1, against own Backprop: a pair of queries and what a step has besides", WIDE, "fastnn pair",
     "fastnn Backprop", ""),
    ("ForwardGradient, q = 1, against own Backprop", WIDE, "fastnn ForwardGradient", "fastnn Backprop", "1.15"),
    ("the same against JAX's jvp", WIDE, "fastnn ForwardGradient", "JAX jvp", "0.5"),
    ("NodePerturbation against own Backprop", WIDE, "fastnn NodePerturbation", "fastnn Backprop", "1.5"),
    ("readings with noise against exact differences", WIDE, "fastnn, noise", "fastnn", "1.3"),
]  # fmt: skip


def add_pair(times):
    """Add what a pair of queries takes by itself: what a step along several directions has more than one along one."""
    times["a pair"] = (times["fastnn SPSA"] - times["fastnn pair"]) / (Q - 1)
    return times


def table():
    """Return the table of steps along estimates."""
    lines = ["| a step, ratio of times | network | float64 | float32 | wanted |", "|---|---|---|---|---|"]
    for what, case, ours, other, wanted in RACES:
        cells = []
        for dtype in ("float64", "float32"):
            times = race([ours, other], *case, dtype, script=__file__)
            cells.append(ratio(times, ours, other))
        lines.append(f"| {what} | {case[0]} | {' | '.join(cells)} | {wanted} |")
        print(lines[-1], flush=True)
    peers = ["fastnn pair", "fastnn SPSA", "fastnn Backprop"]
    each = [add_pair(race(peers, *WIDE, dtype, script=__file__)) for dtype in ("float64", "float32")]
    cells = [ratio(times, "a pair", "fastnn Backprop") for times in each]
    lines.append(f"| a further pair of queries against own Backprop | {WIDE[0]} | {' | '.join(cells)} | 0.8 |")
    print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    races.work(*sys.argv[1:], peers=PEERS)
