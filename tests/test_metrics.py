"""Metrics beside the loss, and samples that are held out."""

import functools
import math
import pickle

import numpy as np
import pytest

import fastnn
from fastnn._support import files
from fastnn.callbacks import Checkpoint, CSVLogger, EarlyStopping
from fastnn.kernels.losses import Loss
from fastnn.model.metrics import METRICS, measure_metric

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))
LABELS = np.repeat([0, 1], [15, 5])
PATH = "run.safetensors"


def largest(y_true, y_pred):
    return np.abs(y_true - y_pred).max()


def make_trainer(metrics=("r2", largest), **options):
    return fastnn.Trainer(fastnn.mlp(3, 2, seed=0), batch_size=4, metrics=metrics, **options)


def make_recurrent():
    layers = [fastnn.RNN(4, "tanh", return_sequences=True), fastnn.Dense(2, "identity")]
    return fastnn.Network((3, 2), layers, seed=0)


CASES = {
    "r2": ("r2", "squared_error", Y, Y + RNG.normal(size=Y.shape)),
    "r2 of constants": ("r2", "squared_error", np.ones((4, 2)), np.array([[1.0, 1.0]] * 3 + [[1.0, 2.0]])),
    "r2, exact": ("r2", "huber", Y, Y),
    "mae": ("mae", "squared_error", Y, Y[::-1]),
    "f1 of two": ("f1", "binary_cross_entropy", LABELS[:, None] * 1.0, RNG.random((20, 1))),
    "f1 of none": ("f1", "binary_cross_entropy", np.zeros((4, 1)), np.zeros((4, 1))),
    "f1 of outputs": ("f1", "binary_cross_entropy", (Y > 0) * 1.0, RNG.random((20, 2))),
    "f1 of an output that never is": ("f1", "binary_cross_entropy", np.eye(2)[[0, 0]], np.array([[0.9, 0.1]] * 2)),
    "f1 of classes": ("f1", "categorical_cross_entropy", np.eye(4)[LABELS], RNG.random((20, 4)) * [1, 1, 1, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_names_are_scikit_learns(case):
    scores = pytest.importorskip("sklearn.metrics")
    name, loss, y, a = CASES[case]
    if name == "f1":
        if loss == "categorical_cross_entropy":
            expected = scores.f1_score(y.argmax(axis=1), a.argmax(axis=1), average="macro")
        else:
            average = "macro" if y.shape[1] > 1 else "binary"
            expected = scores.f1_score(y > 0.5, a > 0.5, average=average, zero_division=0)
    else:
        expected = {"r2": scores.r2_score, "mae": scores.mean_absolute_error}[name](y, a)
    # Sums of forty numbers, in another order: forty roundings.
    assert measure_metric(name, Loss[loss.upper()], y, a) == pytest.approx(expected, rel=1e-14, abs=1e-14)


def test_r2_of_one_row_is_none():
    assert math.isnan(measure_metric("r2", Loss.SQUARED_ERROR, Y[:1], Y[:1]))


def test_they_are_measured_with_validation_and_in_evaluate():
    trainer = make_trainer()
    history = trainer.fit(X, Y, 3, (X[:5], Y[:5]))
    evaluation = trainer.evaluate(X[:5], Y[:5])
    assert list(evaluation.metrics) == ["r2", "largest"]
    assert history.validation_r2[-1] == evaluation.metrics["r2"]
    assert history.validation_largest[-1] == evaluation.metrics["largest"]
    assert evaluation.metrics["largest"] == np.abs(trainer.predict(X[:5]) - Y[:5]).max()
    assert [*history.to_dict()][-2:] == ["validation_r2", "validation_largest"]
    assert "validation r2" in repr(history)
    assert pickle.loads(pickle.dumps(history)).validation_r2.tolist() == history.validation_r2.tolist()
    with pytest.raises(AttributeError, match="History has no attribute 'validation_f1'"):
        history.validation_f1  # noqa: B018
    # Best where it is known what is better.
    table = history._repr_html_()
    assert table.count("validation r2") == table.count("validation largest") == 1
    later = trainer.fit(X, Y, 2)
    assert not later.metrics
    assert np.isnan(trainer.history.validation_r2).tolist() == [False] * 3 + [True] * 2


def test_they_take_no_part_in_training():
    plain, measured = make_trainer(()), make_trainer()
    plain.fit(X, Y, 3)
    measured.fit(X, Y, 3, (X[:5], Y[:5]))
    assert plain.network._theta.tobytes() == measured.network._theta.tobytes()
    assert plain.evaluate(X, Y).metrics == {}


def test_rows_of_steps_that_count():
    seen = []

    def note(y_true, y_pred):
        seen.append((y_true, y_pred))
        return 0

    network = make_recurrent()
    trainer = fastnn.Trainer(network, metrics=[note])
    x, y = RNG.normal(size=(4, 3, 2)), RNG.normal(size=(4, 3, 2))
    weights = np.ones((4, 3))
    weights[1, 2] = weights[3] = 0
    trainer.evaluate(x, y, weights)
    trainer.evaluate(x, y)
    counts = weights.ravel() > 0
    for (y_true, y_pred), rows in zip(seen, (counts, counts >= 0), strict=True):
        np.testing.assert_array_equal(y_true, y.reshape(-1, 2)[rows])
        np.testing.assert_array_equal(y_pred, network.predict(x).reshape(-1, 2)[rows])


def test_labels_are_rows():
    network = fastnn.mlp(3, 2, output="softmax", seed=0, dtype="float32")

    def check(y_true, y_pred):
        assert y_true.dtype == y_pred.dtype == np.float64
        np.testing.assert_array_equal(y_true, np.eye(2)[LABELS])
        return (y_true.argmax(axis=1) == y_pred.argmax(axis=1)).mean()

    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", metrics=["accuracy", check])
    evaluation = trainer.evaluate(X, LABELS, sample_weight=np.arange(20))
    assert evaluation.metrics == {"check": evaluation.accuracy}


def test_a_loss_that_overflows_is_not_measured_further():
    trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), metrics=["mae"])
    trainer.network.weights[0] = [[1e200]]
    evaluation = trainer.evaluate([[1.0]], [0.0])
    assert evaluation.loss == math.inf
    assert math.isnan(evaluation.metrics["mae"])


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ("r2", TypeError, "metrics must be a list"),
        (3, TypeError, "metrics must be a list"),
        (["r3"], ValueError, r"metrics\[0\] must be one of 'accuracy', 'r2', 'mae', 'f1', got 'r3'; did you mean 'r2'"),
        (["r2", "r2"], ValueError, "has 'r2' twice"),
        (["f1"], ValueError, "of classes, and the loss squared_error is of numbers"),
        (["accuracy"], ValueError, "of classes, and the loss squared_error is of numbers"),
        ([lambda y, a: 0], ValueError, "under a name of its own"),
        ([functools.partial(largest)], ValueError, "under a name of its own"),
    ],
)
def test_what_is_no_metric(metrics, error, message):
    with pytest.raises(error, match=message):
        make_trainer(metrics)


@pytest.mark.parametrize("names", [3, "r2", [3], [["r2"]], ["r2", "r2"]])
def test_names_that_a_file_cannot_have(tmp_path, names):
    pytest.importorskip("safetensors")
    path = tmp_path / PATH
    trainer = make_trainer(())
    trainer._metrics = {"r2": "r2"}
    trainer.save(path)
    _, description, arrays = files.read(path, "checkpoint")
    description["metrics"] = names
    with pytest.raises(ValueError, match="does not hold a checkpoint"):
        files.write(path, "checkpoint", description, arrays, fastnn.Trainer.resume)
    assert fastnn.Trainer.resume(path).evaluate(X, Y).metrics


def test_a_name_that_is_taken():
    def r2(y_true, y_pred):
        return 0.0

    with pytest.raises(ValueError, match="a function named 'r2'"):
        make_trainer([r2])
    assert set(METRICS) == {"r2", "mae", "f1"}


def test_what_a_function_returns_is_a_number():
    def residuals(y_true, y_pred):
        return y_true - y_pred

    trainer = make_trainer([residuals])
    with pytest.raises(TypeError, match="the metric residuals must return a number"):
        trainer.fit(X, Y, 2, (X, Y))
    assert trainer.n_steps == 5  # of the epoch that was to be measured


def test_what_is_monitored(tmp_path):
    trainer, stopping = make_trainer(), EarlyStopping("validation_r2", patience=2)
    log = tmp_path / "log.csv"
    history = trainer.fit(X, Y, 50, (X[:5], Y[:5]), callbacks=[stopping, CSVLogger(log)])
    assert stopping.best == history.validation_r2.max()
    assert stopping.best_epoch == history.validation_r2.argmax() + 1
    assert trainer.evaluate(X[:5], Y[:5]).metrics["r2"] == stopping.best
    assert "validation_r2,validation_largest" in log.read_text()
    for mode, best in (("min", min), ("max", max)):
        trainer, stopping = make_trainer(), EarlyStopping("validation_largest", mode=mode)
        history = trainer.fit(X, Y, 5, (X[:5], Y[:5]), callbacks=[stopping])
        assert stopping.best == best(history.validation_largest)


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("validation_largest", "cannot tell which validation_largest is better: mode='min' or 'max'"),
        ("val_r2", "did you mean 'validation_r2'"),
        ("seconds", "monitors 'seconds', and this fit measures loss, "),
    ],
)
def test_what_cannot_be_monitored(monitor, message):
    trainer = make_trainer()
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, Y, 5, (X, Y), callbacks=[EarlyStopping(monitor)])
    assert trainer.n_steps == 0
    with pytest.raises(TypeError, match="monitor must be a name"):
        EarlyStopping(3)


def test_a_checkpoint_has_their_names(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / PATH
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 4, (X, Y))
    trainer.fit(X, Y, 2, (X, Y), callbacks=[Checkpoint(path)])
    with pytest.raises(ValueError, match=r"measures r2, largest; .* give largest again, .*metrics=\[largest\]"):
        fastnn.Trainer.resume(path)
    with pytest.raises(ValueError, match="it has no mae: "):
        fastnn.Trainer.resume(path, metrics=[largest, "mae"])
    trainer = fastnn.Trainer.resume(path, metrics=[largest])
    trainer.fit(X, Y, 2, (X, Y))
    assert trainer.history.validation_r2.tolist() == whole.history.validation_r2.tolist()
    assert trainer.history.validation_largest.tolist() == whole.history.validation_largest.tolist()
    make_trainer(()).save(path)
    with pytest.raises(ValueError, match="measures no metrics; it has no r2"):
        fastnn.Trainer.resume(path, metrics=["r2"])


class Told(fastnn.callbacks.Callback):
    def on_fit_begin(self, trainer, n_steps):
        self.n_steps = n_steps


def test_a_share_of_each_class_is_held_out():
    def make():
        network = fastnn.mlp(3, 2, output="softmax", seed=0)
        return fastnn.Trainer(network, loss="categorical_cross_entropy", batch_size=1)

    seen = []

    def note(y_true, y_pred):
        seen.append(y_true.sum(axis=0).tolist())
        return 0

    trainer, told = make(), Told()
    trainer._metrics = {"note": note}
    # Sorted by class: the last ones alone, as Keras takes them, would be of one class.
    trainer.fit(X, LABELS, 2, validation_split=0.2, callbacks=[told])
    assert seen == [[3, 1]] * 2
    assert told.n_steps == 2 * 16


def make_number(x):
    """Return samples that tell which of them they are."""
    return x.reshape(-1, 1), x * 1.0


@pytest.mark.parametrize("shuffle", [True, False])
def test_which_are_held_out(shuffle, tmp_path):
    pytest.importorskip("safetensors")
    seen = []

    def note(y_true, y_pred):
        seen.append(y_true[:, 0].tolist())
        return 0

    x, y = make_number(np.arange(10.0))
    trainer = fastnn.Trainer(
        fastnn.mlp(1, 1, seed=0), optimizer=fastnn.SGD(0.0), shuffle=shuffle, seed=3, metrics=[note]
    )
    history = trainer.fit(x, y, 2, validation_split=0.3, sample_weight=y + 1)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 3
    assert (seen[0] == [7, 8, 9]) == (not shuffle)
    held = np.isin(y, seen[0])
    trainer.save(tmp_path / PATH)
    trainer = fastnn.Trainer.resume(tmp_path / PATH, metrics=[note])
    trainer.fit(x, y, validation_split=0.3)
    assert seen[2] == seen[0]
    expected = fastnn.Trainer(trainer.network).evaluate
    assert history.validation_loss[0] == expected(x[held], y[held], y[held] + 1).loss
    assert history.loss[0] == pytest.approx(expected(x[~held], y[~held], y[~held] + 1).loss, rel=1e-14)


def test_binary_classes_and_classes_that_are_none():
    network = fastnn.mlp(3, 1, output="sigmoid", seed=0)
    trainer = fastnn.Trainer(network, loss="binary_cross_entropy", optimizer=fastnn.SGD(0.0))
    history = trainer.fit(X, LABELS, validation_split=0.2, class_weight={1: 3.0})
    held = np.concatenate([LABELS == 0, LABELS == 1])
    assert history.validation_accuracy[0] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert held.sum() == 20
    several = fastnn.Trainer(fastnn.mlp(3, 2, output="sigmoid", seed=0), loss="binary_cross_entropy")
    assert len(several.fit(X, Y > 0, validation_split=0.5).validation_loss) == 1


def test_sequences_are_held_out_whole():
    network = make_recurrent()
    trainer = fastnn.Trainer(network, optimizer=fastnn.SGD(0.0), shuffle=False)
    x, y = RNG.normal(size=(5, 3, 2)), RNG.normal(size=(5, 3, 2))
    weights = RNG.random((5, 3))
    history = trainer.fit(x, y, validation_split=0.4, sample_weight=weights)
    assert history.validation_loss[0] == trainer.evaluate(x[3:], y[3:], weights[3:]).loss
    assert history.loss[0] == trainer.evaluate(x[:3], y[:3], weights[:3]).loss


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_split": 1.0}, ValueError, "validation_split must be a finite number > 0 and < 1"),
        ({"validation_split": "0.1"}, TypeError, "validation_split must be a real number"),
        ({"validation_split": 0.01}, ValueError, "0.01 of 20 samples leaves 20 to train on and 0 to validate with"),
        ({"validation_split": 0.2, "validation_data": (X, Y)}, ValueError, "give one of them"),
        ({"validation_split": 0.2, "sample_weight": [1.0]}, ValueError, "sample_weight must have shape"),
    ],
)
def test_what_is_no_split(options, error, message):
    trainer = make_trainer()
    with pytest.raises(error, match=message):
        trainer.fit(X, Y, **options)
    assert trainer.n_steps == 0
    one = fastnn.Trainer(fastnn.mlp(1, 1), shuffle=False)
    with pytest.raises(ValueError, match="leaves 1 to train on and 0"):
        one.fit([[1.0]], [1.0], validation_split=0.5)
