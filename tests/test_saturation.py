"""Outputs that are nearly decided: what they still lack is all that there is to measure."""

import naive
import numpy as np
import pytest
from wide import narrow, widen

import fastnn
from fastnn.training.gradients import TOLERANCE, TOLERANCE32

SATURATING = [
    ("squared_error", "sigmoid"),
    ("squared_error", "tanh"),
    ("squared_error", "softmax"),
    ("absolute_error", "sigmoid"),
    ("absolute_error", "tanh"),
    ("binary_cross_entropy", "sigmoid"),
    ("categorical_cross_entropy", "softmax"),
]


def draw(head, depth, dtype, seed):
    """Return a network whose outputs are within 1e-2 to 1e-17 of certain, with samples, some of them told otherwise."""
    output = head[1]
    rng = np.random.default_rng(seed)
    network = fastnn.mlp(2, *[3] * depth, 3, hidden="tanh", output=output, seed=seed, dtype=dtype)
    network.weights[-1][:] = rng.uniform(4.0, 40.0) * rng.permutation([1.0, -1.0, -0.5])
    x = rng.normal(size=(2, 2)).astype(dtype)
    z = network.forward(x).pre_activations[-1]
    right = naive.one_hot(z.argmax(axis=1), 3, dtype) if output == "softmax" else (z > 0).astype(dtype)
    y = right if rng.random() < 0.7 else rng.permutation(right, axis=1)
    if output == "tanh":
        y = 2 * y - 1
    return network, x, y, float(np.abs(z).max())


def truth(network, loss, x, y, eps, scheme):
    """Return the differences in eighty digits."""
    weights = [widen(w) for w in network.weights]
    activations = [layer.activation for layer in network.layers]
    differences, _ = naive.differences(weights, activations, loss, widen(x), widen(y), eps, scheme)
    return [narrow(d) for d in differences]


def worst(measured, expected):
    """Return the largest error of a layer's differences, relative to the layer's largest."""
    errors = []
    for k in range(0, len(expected), 2):
        pairs = [*zip(measured[k : k + 2], expected[k : k + 2], strict=True)]
        largest = max(float(np.abs(theirs).max()) for _, theirs in pairs)
        errors.append(max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs) / largest)
    return max(errors)


@pytest.mark.grid
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("head", SATURATING, ids="-".join)
def test_differences_keep_their_digits(head, depth, dtype):
    tolerance = TOLERANCE if dtype == "float64" else TOLERANCE32
    for seed in range(2):
        network, x, y, size = draw(head, depth, dtype, seed)
        # z is rounded, and what is left of a decision changes by as much as z, relatively: twice where it is
        # squared; 16 roundings on the way.
        rounding = 2 * 16 * float(np.finfo(dtype).eps) * (1 + size)
        for eps, scheme in ((1e-4, "forward"), (1e-4, "central"), (0.7, "forward")):
            expected = truth(network, head[0], x, y, eps, scheme)
            for evaluate, allowed in (("direct", rounding), ("auto", rounding + tolerance)):
                method = fastnn.Perturbation(eps, scheme, evaluate)
                assert worst(fastnn.gradient(network, x, y, loss=head[0], method=method), expected) <= allowed
        # The derivative, to the square of a small nudge.
        expected = truth(network, head[0], x, y, 1e-12, "central")
        measured = fastnn.gradient(network, x, y, loss=head[0], method=fastnn.Backprop())
        assert worst(measured, expected) <= rounding


@pytest.mark.parametrize("evaluate", ["auto", "direct"])
def test_a_large_nudge_leaves_its_neighbours_their_digits(evaluate):
    """Weights of one unit are measured together; one whose input is 1e9 moves the logits by 1e5."""
    network = fastnn.mlp(2, 1, 2, hidden="relu", output="softmax")
    network.weights = [np.ones((2, 1)), np.zeros(1), np.array([[1.0, 2.0]]), np.zeros(2)]
    dW1, _, _, db2 = fastnn.gradient(
        network,
        [[1e9, 0.5]],
        [0],
        loss="categorical_cross_entropy",
        method=fastnn.Perturbation(1e-4, evaluate=evaluate),
    )
    assert dW1[1, 0] == pytest.approx(0.5, rel=1e-7)
    assert db2[1] == pytest.approx(1.0, rel=1e-7)


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh"])
def test_each_column_keeps_its_own_digits(hidden):
    """Inputs from 1 to 3,000: those whose own nudge is small keep the series, whatever the larger ones' size."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scales = 10.0 ** np.arange(0, 4, 0.5)
        network = fastnn.mlp(8, 6, 3, hidden=hidden, seed=seed)
        network.weights[0][:] = rng.normal(size=(8, 6)) / scales[:, None]
        x, y = rng.normal(size=(1, 8)) * scales, rng.normal(size=(1, 3))
        series, direct = (
            fastnn.gradient(network, x, y, method=fastnn.Perturbation(1e-4, evaluate=evaluate))[0]
            for evaluate in ("auto", "direct")
        )
        # Beside truncation, a hundred roundings of either.
        allowed = TOLERANCE + 100 * np.finfo(float).eps
        assert (np.abs(series - direct).max(axis=1) <= allowed * np.abs(direct).max(axis=1)).all()


@pytest.mark.grid
@pytest.mark.parametrize("evaluate", ["auto", "direct"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize(
    "head", [*SATURATING, ("squared_error", "identity"), ("squared_error", "softplus")], ids="-".join
)
def test_inputs_of_very_different_sizes(head, depth, evaluate):
    """Each column's differences are right relative to its own largest, whatever stands in the others."""
    loss, output = head
    for seed, large in enumerate((1e3, 1e6, 1e12)):
        rng = np.random.default_rng(seed)
        network = fastnn.mlp(3, *[3] * depth, 3, hidden="sigmoid", output=output, seed=seed)
        x = rng.normal(size=(2, 3)) * [1.0, 1.0, large]
        network.weights[0][2] = rng.normal(size=network.weights[0].shape[1]) / large
        y = naive.one_hot(rng.integers(0, 3, 2), 3)
        expected = truth(network, loss, x, y, 1e-4, "forward")
        method = fastnn.Perturbation(1e-4, evaluate=evaluate)
        measured = fastnn.gradient(network, x, y, loss=loss, method=method)
        # Sums of three products, each rounded relative to inputs times weights of about 1.
        allowed = 64 * np.finfo(float).eps + (TOLERANCE if evaluate == "auto" else 0.0)
        for ours, theirs in zip(measured[0][:2], expected[0][:2], strict=True):
            sizes = np.abs(expected[0][:2]).max()
            assert np.abs(ours - theirs).max() <= allowed * sizes
