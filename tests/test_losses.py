"""Losses at extreme logits, and their finite differences there."""

import math

import naive
import numpy as np
import pytest
from wide import widen

import fastnn

LOGITS = np.array([[1000.0, -1000.0], [-1000.0, 1000.0], [1000.0, 1000.0], [0.0, 1e-300], [40.0, -40.0]])
DIRECT = [
    fastnn.Perturbation(eps, scheme, "direct")
    for eps, scheme in ((1e-4, "forward"), (1e-4, "central"), (2.0, "forward"))
]
METHODS = [*DIRECT, fastnn.Perturbation(1e-4), fastnn.Perturbation(1e-4, scheme="central"), fastnn.Backprop()]


def logit_network(output):
    """A network whose logits are its inputs."""
    network = fastnn.mlp(2, 2, output=output)
    network.weights = [np.eye(2), np.zeros(2)]
    return network


@pytest.mark.parametrize("targets", [[[1.0, 0.0]] * 5, [[0.0, 1.0]] * 5, [[0.25, 0.75]] * 5])
@pytest.mark.parametrize(
    ("output", "loss"), [("softmax", "categorical_cross_entropy"), ("sigmoid", "binary_cross_entropy")]
)
def test_cross_entropies_are_stable(output, loss, targets):
    network = logit_network(output)
    logits, y = LOGITS.astype(np.longdouble), np.array(targets, np.longdouble)
    expected = naive.sample_losses(loss, logits, naive.ACTIVATIONS[output](logits), y)
    trainer = fastnn.Trainer(network, loss=loss)
    for n in range(len(LOGITS)):
        measured = trainer.evaluate(LOGITS[n : n + 1], targets[n : n + 1]).loss
        # The naive loss of a sure decision, log(1 + exp(-80)), is rounded to 0 in 64 bits.
        assert measured == pytest.approx(float(expected[n]), rel=1e-15, abs=2 * float(np.finfo(np.longdouble).eps))
    for method in METHODS:
        for gradient in fastnn.gradient(network, LOGITS, targets, loss=loss, method=method):
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("method", DIRECT, ids=repr)
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "categorical_cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("softmax", "squared_error"),
        ("sigmoid", "squared_error"),
        ("tanh", "squared_error"),
        ("softplus", "squared_error"),
    ],
)
def test_differences_where_all_is_nearly_decided(output, loss, method):
    """Logits up to 16: a confident output's slope keeps its digits, where subtracting losses would lose them."""
    rng = np.random.default_rng(0)
    for scale in (4.0, 8.0, 16.0):
        network = logit_network(output)
        x = scale * rng.choice([-1.0, 1.0], size=(1, 2)) * [1.0, 0.9]
        y = (x == x.max()).astype(float)
        weights = [w.astype(np.longdouble) for w in network.weights]
        truth, _ = naive.differences(
            weights, [output], loss, x.astype(np.longdouble), y.astype(np.longdouble), method.eps, method.scheme
        )
        # The truth subtracts two losses of order 1 in 64 bits; relative to each entry where that allows.
        noise = 64 * float(np.finfo(np.longdouble).eps) * (1 + x.max() ** 2) / method.eps
        for ours, theirs in zip(fastnn.gradient(network, x, y, loss=loss, method=method), truth, strict=True):
            # a - y is exact to a rounding of 1, which a confident output's error is relative to.
            slack = np.finfo(float).eps * (2.0 if loss == "squared_error" else 0.0) * scale
            np.testing.assert_allclose(ours, theirs.astype(float), rtol=1e-12, atol=noise + slack)


def test_labels_and_one_hot_rows_are_the_same():
    network = fastnn.mlp(3, 4, output="softmax", seed=0)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 3)), rng.integers(0, 4, 6)
    for y in (naive.one_hot(labels, 4), labels.astype(np.int8), labels.astype(float)):
        for ours, theirs in zip(
            fastnn.gradient(network, x, y, loss="categorical_cross_entropy"),
            fastnn.gradient(network, x, labels, loss="categorical_cross_entropy"),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


POISSON_LOGITS = [-1000.0, -720.0, -100.0, -40.0, -39.9, -20.0, -1.0, 0.0, 2.0, 30.0, 1e3]


@pytest.mark.parametrize("count", [0.0, 0.25, 1.0, 7.0, 1e3])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_poisson_where_rates_vanish_or_are_large(count, method):
    """Each difference by itself, in eighty digits: also where the rate is no number, and next to its lowest loss."""
    at_best = math.log(math.expm1(count)) if 0 < count < 700 else count
    for z in [*POISSON_LOGITS, at_best]:
        network = fastnn.mlp(1, 1, output="softplus")
        network.weights = [[[0.0]], [z]]
        eps = 1e-12 if isinstance(method, fastnn.Backprop) else method.eps
        scheme = "central" if isinstance(method, fastnn.Backprop) else method.scheme
        weights, x, y = [widen(w) for w in network.weights], widen(np.ones((1, 1))), widen(np.full((1, 1), count))
        truth = -count  # where the rate is none that eighty digits can tell
        if z > -150:
            truth = float(naive.differences(weights, ["softplus"], "poisson", x, y, eps, scheme)[0][1][0])
        _, measured = fastnn.gradient(network, [[1.0]], [count], loss="poisson", method=method)
        # The slope is (a - y) a' / a: at its best place a - y is what the rounding of a leaves, of which there are
        # some, and beside it the curvature, of up to (1 + y) / 4 a nudge. A series adds what it may leave out.
        rounding = 16 * np.finfo(float).eps * (abs(truth) + max(count, 1.0 if z < 0 else z) + eps * (1 + count))
        series = 1e-8 * (abs(truth) + eps) if method in METHODS[3:5] else 0.0
        assert abs(measured[0] - truth) <= rounding + series, (z, truth)


def test_poisson_is_scikit_learns_and_pytorchs():
    """Up to a constant of y and a factor of two, and with PyTorch's logarithms as inputs."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 2)), rng.poisson(2.0, 9) + 1.0
    trainer = fastnn.Trainer(fastnn.mlp(2, 1, output="softplus", seed=0), loss="poisson")
    rates = trainer.predict(x)[:, 0]
    constant = (y * np.log(y) - y).mean()
    expected = metrics.mean_poisson_deviance(y, rates) / 2
    assert trainer.evaluate(x, y).loss + constant == pytest.approx(expected, rel=1e-13)
    history = trainer.fit(x, y, 500)
    assert history.loss[-1] < history.loss[0]
    with pytest.raises(ValueError, match="y must not be negative for poisson, got -1"):
        trainer.fit(x, -y / y)
    with pytest.raises(ValueError, match="loss 'poisson' needs a softplus output layer"):
        fastnn.Trainer(fastnn.mlp(2, 1), loss="poisson")
