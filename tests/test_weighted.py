"""Samples that count differently."""

import re

import naive
import numpy as np
import pytest
from conftest import BODIES, HEADS
from test_gradients import bound, largest_difference

import fastnn
from fastnn.training.gradients import TOLERANCE

WEIGHTS = np.array([0.5, 0.0, 3.0, 1.0, 2.5])
CROSS_ENTROPY = "categorical_cross_entropy", "softmax"
X = np.arange(10.0).reshape(5, 2) / 10
LABELS = np.array([0, 1, 1, 1, 2])


@pytest.mark.grid
@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_gradients_are_weighted_means(make_case, head, body):
    case = make_case(head, body)
    for scheme, eps in (("forward", 1e-4), ("central", 1e-2)):
        expected, sizes = case.truth(eps=eps, scheme=scheme, sample_weight=WEIGHTS)
        allowed = bound(case, sizes, eps)
        direct = case.gradient(fastnn.Perturbation(eps, scheme, "direct"), sample_weight=WEIGHTS)
        assert largest_difference(direct, expected) <= allowed
        # As in `test_gradients`, for weights of up to 3 / 1.4 times the mean.
        allowed += TOLERANCE * len(case.x) * 3 * max(float(s.max()) for s in sizes)
        assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme), sample_weight=WEIGHTS), expected) <= (
            allowed
        )
    expected, sizes = case.truth(eps=1e-6, scheme="central", sample_weight=WEIGHTS)
    backprop = case.gradient(fastnn.Backprop(), sample_weight=WEIGHTS)
    # As in `test_backprop_is_the_limit_of_central_differences`.
    assert largest_difference(backprop, expected) <= 1e-11 * max(1.0, *(float(s.max()) for s in sizes))


# Small enough for the series to be taken for every sample of both.
@pytest.mark.parametrize(
    "method",
    [fastnn.Backprop(), fastnn.Perturbation(1e-6, evaluate="series"), fastnn.Perturbation(1e-4, evaluate="direct")],
)
def test_whole_weights_are_repetitions(make_case, method):
    case = make_case(CROSS_ENTROPY, ("tanh", 2))
    counts = np.array([1, 0, 3, 1, 2])
    weighted = case.gradient(method, sample_weight=counts)
    case.x, case.y = np.repeat(case.x, counts, axis=0), np.repeat(case.y, counts, axis=0)
    # A dozen roundings more, of sums of seven samples.
    repeated = case.gradient(method)
    assert largest_difference(weighted, repeated) <= 1e-14 * max(float(np.abs(g).max()) for g in repeated)


def test_only_the_proportions_of_weights_count(make_case):
    case = make_case(("squared_error", "identity"), ("sigmoid", 1))
    trainer = fastnn.Trainer(case.network, loss=case.loss, batch_size=2, shuffle=False)
    other = fastnn.Trainer(
        make_case(("squared_error", "identity"), ("sigmoid", 1)).network, batch_size=2, shuffle=False
    )
    trainer.fit(case.x, case.y, sample_weight=np.full(5, 7.0))
    other.fit(case.x, case.y)
    for ours, theirs in zip(trainer.network.weights, other.network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)  # sevens over their mean are ones


@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_losses_are_weighted_means(make_case, head):
    case = make_case(head, ("tanh", 1))
    trainer = fastnn.Trainer(case.network, loss=case.loss, batch_size=None)
    expected = case.mean_loss(WEIGHTS)
    evaluation = trainer.evaluate(case.x, case.y, WEIGHTS)
    assert evaluation.loss == pytest.approx(expected, rel=1e-14)
    assert evaluation.accuracy == trainer.evaluate(case.x, case.y).accuracy
    history = trainer.fit(case.x, case.y, sample_weight=WEIGHTS, validation_data=(case.x, case.y, WEIGHTS[::-1].copy()))
    assert history.loss[0] == pytest.approx(expected, rel=1e-14)
    assert history.validation_loss[0] == trainer.evaluate(case.x, case.y, WEIGHTS[::-1]).loss


def test_a_step_of_float32(make_case):
    case = make_case(CROSS_ENTROPY, ("sigmoid", 2), "float32")
    expected, sizes = case.truth(sample_weight=WEIGHTS)
    measured = case.gradient(fastnn.Perturbation(1e-4), sample_weight=WEIGHTS)
    assert largest_difference(measured, expected) <= bound(case, sizes, 1e-4, "float32") + 1e-6 * len(case.x) * 3


def classify(y, class_weight, output="softmax", loss="categorical_cross_entropy", n_outputs=3):
    """Return the mean loss that class weights lead to, and the samples' own losses."""
    network = fastnn.mlp(2, n_outputs, output=output, seed=0)
    trainer = fastnn.Trainer(network, loss=loss, batch_size=None)
    rows = naive.one_hot(y, 3) if n_outputs == 3 else y.reshape(-1, 1)
    own = naive.losses(network.weights, [output], loss, X, rows)
    return trainer.fit(X, y, class_weight=class_weight).loss[0], own


def test_class_weights():
    measured, own = classify(LABELS, {1: 2, 2: 0.5})
    assert measured == pytest.approx(np.average(own, weights=[1, 2, 2, 2, 0.5]), rel=1e-14)
    measured, own = classify(LABELS, "balanced")
    assert measured == pytest.approx((own[0] + own[1:4].mean() + own[4]) / 3, rel=1e-14)
    binary = np.array([0, 1, 1, 1, 1])
    measured, own = classify(binary, {0: 3}, "sigmoid", "binary_cross_entropy", 1)
    assert measured == pytest.approx(np.average(own, weights=[3, 1, 1, 1, 1]), rel=1e-14)
    measured, own = classify(binary, "balanced", "sigmoid", "binary_cross_entropy", 1)
    assert measured == pytest.approx((own[0] + own[1:].mean()) / 2, rel=1e-14)


def test_class_and_sample_weights_multiply():
    network = fastnn.mlp(2, 3, output="softmax", seed=0)
    own = naive.losses(network.weights, ["softmax"], CROSS_ENTROPY[0], X, naive.one_hot(LABELS, 3))
    trainer = fastnn.Trainer(network, loss=CROSS_ENTROPY[0], batch_size=None)
    history = trainer.fit(X, LABELS, sample_weight=WEIGHTS, class_weight={1: 2})
    assert history.loss[0] == pytest.approx(np.average(own, weights=WEIGHTS * [1, 2, 2, 2, 1]), rel=1e-14)


@pytest.mark.parametrize("size", [1.0, 1e307, 1e-300])
def test_balanced_classes_count_the_same_whatever_their_samples_do(size):
    weights = np.array([0.5, 0.0, 3.0, 1.0, 0.0])  # of class 2 nothing counts
    network = fastnn.mlp(2, 3, output="softmax", seed=0)
    own = naive.losses(network.weights, ["softmax"], CROSS_ENTROPY[0], X, naive.one_hot(LABELS, 3))
    trainer = fastnn.Trainer(network, loss=CROSS_ENTROPY[0], batch_size=None)
    history = trainer.fit(X, LABELS, sample_weight=weights * size, class_weight="balanced")
    assert history.loss[0] == pytest.approx((own[0] + np.average(own[1:4], weights=weights[1:4])) / 2, rel=1e-14)


def test_balancing_counts_no_step_that_is_left_out():
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    labels = np.array([[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]])
    counts = np.ones((3, 4))
    counts[:, 2:] = 0
    network = fastnn.Network((4, 2), [fastnn.RNN(3, "tanh", return_sequences=True), fastnn.Dense(2, "softmax")], seed=0)
    own = -np.log(np.take_along_axis(network.predict(x), labels[..., None], axis=2)[..., 0])
    trainer = fastnn.Trainer(network, loss=CROSS_ENTROPY[0], batch_size=None)
    history = trainer.fit(x, labels, sample_weight=counts, class_weight="balanced")
    expected = 4 * (own[0, 0] + own[:, :2][labels[:, :2] == 1].mean()) / 2
    assert history.loss[0] == pytest.approx(expected, rel=1e-13)  # some hundred roundings


def test_huge_weights_do_not_overflow():
    network = fastnn.mlp(2, 3, output="softmax", seed=0)
    trainer = fastnn.Trainer(network, loss=CROSS_ENTROPY[0])
    huge = trainer.evaluate(X, LABELS, WEIGHTS * 1e307).loss
    assert huge == pytest.approx(trainer.evaluate(X, LABELS, WEIGHTS).loss, rel=1e-14)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(4), ValueError, r"sample_weight must have shape \(5,\), one number a sample, got \(4,\)"),
        (np.ones((5, 1)), ValueError, r"sample_weight must have shape \(5,\), one number a sample, got \(5, 1\)"),
        ([1, 2, 3, 4, -5], ValueError, "sample_weight must not be negative, got -5"),
        ([1, 2, 3, 4, np.nan], ValueError, r"sample_weight has NaN or infinity, first at index \(4,\)"),
        (np.zeros(5), ValueError, r"the weights of the samples( of validation_data)? are all 0: none of"),
        (list("abcde"), TypeError, "sample_weight must be real numbers"),
    ],
)
def test_sample_weights_that_are_none(weights, error, message):
    trainer = fastnn.Trainer(fastnn.mlp(2, 3, output="softmax", seed=0), loss=CROSS_ENTROPY[0])
    before = [w.copy() for w in trainer.network.weights]
    for call in (
        lambda: trainer.fit(X, LABELS, sample_weight=weights),
        lambda: trainer.fit(X, LABELS, validation_data=(X, LABELS, weights)),
        lambda: trainer.evaluate(X, LABELS, weights),
        lambda: fastnn.gradient(trainer.network, X, LABELS, loss=CROSS_ENTROPY[0], sample_weight=weights),
    ):
        with pytest.raises(error, match=message):
            call()
    for ours, theirs in zip(trainer.network.weights, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_part_of_which_nothing_counts_is_named():
    trainer = fastnn.Trainer(fastnn.mlp(2, 3, output="softmax", seed=0), loss=CROSS_ENTROPY[0], shuffle=False)
    with pytest.raises(ValueError, match="the weights of the samples of validation_data are all 0"):
        trainer.fit(X, LABELS, validation_data=(X, LABELS, np.zeros(5)))
    for weights, role in (([0, 0, 0, 0, 1], "leaves"), ([1, 1, 1, 1, 0], "holds out")):
        with pytest.raises(ValueError, match=f"the weights of the samples that validation_split {role} are all 0"):
            trainer.fit(X, LABELS, validation_split=0.2, sample_weight=weights)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("balance", ValueError, "class_weight must be one of 'balanced', got 'balance'; did you mean 'balanced'?"),
        ([1, 2, 3], TypeError, "class_weight must be a mapping of classes to numbers, or 'balanced', got [1, 2, 3]"),
        ({3: 1}, ValueError, "class_weight must have keys from 0 to 2, got 3"),
        ({"a": 1}, ValueError, "class_weight must have keys from 0 to 2, got 'a'"),
        ({1: -1}, ValueError, "class_weight[1] must be a finite number >= 0, got -1"),
        ({0: 0, 1: 0, 2: 0}, ValueError, "the weights of the samples are all 0"),
    ],
)
def test_class_weights_that_are_none(weights, error, message):
    with pytest.raises(error, match=re.escape(message)):
        classify(LABELS, weights)


def test_class_weights_need_classes():
    trainer = fastnn.Trainer(fastnn.mlp(2, 3, seed=0))
    with pytest.raises(ValueError, match="class_weight goes with classes that exclude each other: use sample_weight"):
        trainer.fit(X, naive.one_hot(LABELS, 3), class_weight="balanced")
    trainer = fastnn.Trainer(fastnn.mlp(2, 3, output="sigmoid", seed=0), loss="binary_cross_entropy")
    with pytest.raises(ValueError, match="class_weight goes with classes that exclude each other"):
        trainer.fit(X, naive.one_hot(LABELS, 3), class_weight="balanced")
    trainer = fastnn.Trainer(fastnn.mlp(2, 3, output="softmax", seed=0), loss=CROSS_ENTROPY[0])
    with pytest.raises(ValueError, match="class_weight needs y to be labels or one-hot rows, got fractions"):
        trainer.fit(X, np.full((5, 3), 1 / 3), class_weight="balanced")
