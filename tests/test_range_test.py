"""The learning-rate range test."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

import fastnn
from fastnn.training.range_test import RangeTest

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = X @ [[1.0], [2.0], [-1.0]]


def make_trainer(**options):
    return fastnn.Trainer(fastnn.mlp(3, 1, seed=0), **{"batch_size": 8, **options})


def test_the_trainer_is_left_as_it_is():
    trainer = make_trainer(optimizer=fastnn.Adam())
    trainer.fit(X, Y, 2)
    before = pickle.dumps(trainer)
    fastnn.learning_rate_range_test(trainer, X, Y)
    assert pickle.dumps(trainer) == before


def test_frames_and_images_are_samples_as_for_fit():
    pandas = pytest.importorskip("pandas")
    network = fastnn.Network((2, 2, 1), [fastnn.Conv2D(2, 2, "tanh"), fastnn.Dense(1, "identity")], seed=0)
    cases = [
        (make_trainer(), X, [pandas.DataFrame(X).astype("Float64"), X.tolist()]),
        (fastnn.Trainer(network), X[:24].reshape(-1, 2, 2), [X[:24].reshape(-1, 2, 2, 1)]),
    ]
    for trainer, samples, others in cases:
        wanted = fastnn.learning_rate_range_test(trainer, samples, Y[: len(samples)], n_steps=10).losses
        for other in others:
            found = fastnn.learning_rate_range_test(trainer, other, Y[: len(samples)], n_steps=10).losses
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_steps_are_the_trainers(shuffle):
    """The same as fits of one batch each, in a permutation of the trainer's generator or in order."""
    found = fastnn.learning_rate_range_test(make_trainer(shuffle=shuffle, seed=5), X, Y, n_steps=10, highest=1e-3)
    trainer = make_trainer(shuffle=False, batch_size=None)
    rng = np.random.default_rng(5)
    orders = [rng.permutation(50) if shuffle else np.arange(50) for _ in range(2)]
    rows = [order[k : k + 8] for order in orders for k in range(0, 48, 8)]
    expected = []
    for rate, batch in zip(np.geomspace(1e-5, 1e-3, 10), rows, strict=False):
        trainer.learning_rate = rate
        expected.append(trainer.fit(X[batch], Y[batch]).loss[0])
    np.testing.assert_array_equal(found.losses, expected)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-3, 10), rtol=1e-15)


def test_it_ends_where_the_loss_has_grown():
    found = fastnn.learning_rate_range_test(make_trainer(), X, Y, highest=100.0)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 100
    # Twice the largest curvature is where gradient descent begins to diverge; what is suggested learns.
    most = 1 / np.linalg.eigvalsh(X.T @ X / len(X)).max()
    assert most / 1000 < found.suggestion < most
    trainer = make_trainer()
    trainer.learning_rate = found.suggestion
    history = trainer.fit(X, Y, 20)
    assert history.loss[-1] < 0.1 * history.loss[0]
    assert f"suggestion {found.suggestion:.3g}" in repr(found)


def test_it_ends_where_the_loss_overflows():
    trainer = make_trainer()
    found = fastnn.learning_rate_range_test(trainer, X, Y, lowest=1e200, highest=1e201)
    assert np.isfinite(found.losses).all()
    assert len(found.losses) == 1
    assert math.isnan(found.suggestion)
    trainer.network.weights[0][:] = 1e200
    with pytest.raises(FloatingPointError):
        fastnn.learning_rate_range_test(trainer, X, Y)


def test_a_loss_that_falls_nowhere_suggests_nothing():
    trainer = make_trainer(gradient=fastnn.Backprop())
    trainer.network.weights = [[[1.0], [2.0], [-1.0]], [0.0]]
    whole = np.round(4 * X)
    found = fastnn.learning_rate_range_test(trainer, whole, whole @ [[1.0], [2.0], [-1.0]])
    assert not found.losses.any()
    assert math.isnan(found.suggestion)


def test_an_interrupt_is_one(monkeypatch):
    fit = fastnn.Trainer.fit
    monkeypatch.setattr(fastnn.Trainer, "fit", lambda *a, **k: dataclasses.replace(fit(*a, **k), interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        fastnn.learning_rate_range_test(make_trainer(), X, Y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lowest": 0.0}, ValueError, "lowest must be a finite number > 0"),
        ({"lowest": 1.0, "highest": 1.0}, ValueError, "highest must be a finite number > 1"),
        ({"n_steps": 9}, ValueError, "n_steps must be an integer >= 10"),
        ({"X": X[:, :2]}, ValueError, "X must have shape"),
        ({"X": "x.npy", "y": "y.npy"}, ValueError, "samples at hand"),
        ({"trainer": 3}, TypeError, r"trainer must be a fastnn\.Trainer"),
    ],
)
def test_what_is_refused(options, error, message):
    arguments = {"trainer": make_trainer(), "X": X, "y": Y, **options}
    with pytest.raises(error, match=message):
        fastnn.learning_rate_range_test(**arguments)


@pytest.mark.parametrize("suggestion", [0.1, math.nan])
def test_its_picture(suggestion):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    import fastnn.plot

    rates, losses = np.geomspace(1e-3, 1, 4), np.array([4.0, 3.0, 1.0, 9.0])
    found = RangeTest(rates, losses, losses[::-1], suggestion)
    ax = fastnn.plot.range_test(found)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:2]], [losses, losses[::-1]])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["loss", "smoothed", "suggestion 0.1"][: 2 + (suggestion == 0.1)]
    assert ax.get_xscale() == "log"
    _, own = pyplot.subplots()
    assert fastnn.plot.range_test(found, own) is own
    with pytest.raises(TypeError, match=r"range_test must be a fastnn\.RangeTest"):
        fastnn.plot.range_test(3)
    pyplot.close("all")
