"""Callbacks: what they are told, and what the built-in ones do."""

import csv
import importlib.util
import io
import math
import sys
import types

import numpy as np
import pytest

import fastnn
from fastnn.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping, LearningRateSchedule, TensorBoard

X = np.array([[1.0], [3.0], [4.0], [8.0], [10.0]])
Y = 3 * X[:, 0]


def make_trainer(**options):
    return fastnn.Trainer(fastnn.mlp(1, 1, seed=0), **{"batch_size": 2, **options})


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer, n_steps):
        self.calls.append(("begin", n_steps))

    def on_steps(self, trainer):
        self.calls.append(("steps", trainer.n_steps))

    def on_epoch_end(self, trainer, metrics):
        self.calls.append(("epoch", metrics))

    def on_fit_end(self, trainer, history):
        self.calls.append(("end", history))


def test_what_a_callback_is_told():
    recorder = Recorder()
    trainer = make_trainer()
    history = trainer.fit(X, Y, 2, (X, Y), callbacks=[recorder, Callback()])
    kinds = [kind for kind, _ in recorder.calls if kind != "steps"]
    assert kinds == ["begin", "epoch", "epoch", "end"]
    assert recorder.calls[0][1] == 6
    assert recorder.calls[-1][1] is history
    metrics = [told for kind, told in recorder.calls if kind == "epoch"]
    for k, told in enumerate(metrics):
        assert list(told) == ["epoch", "loss", "validation_loss", "seconds", "learning_rate"]
        assert told["epoch"] == k + 1
        assert told["learning_rate"] == 0.01
        for name in ("loss", "validation_loss", "seconds"):
            assert told[name] == getattr(history, name)[k]
    steps = [told for kind, told in recorder.calls if kind == "steps"]
    assert steps == sorted(steps)
    assert steps[-1] == 6


def test_epochs_are_counted_over_all_calls():
    trainer, recorder = make_trainer(), Recorder()
    first = trainer.fit(X, Y, 2)
    second = trainer.fit(X, Y, 3, callbacks=[recorder])
    assert [told["epoch"] for kind, told in recorder.calls if kind == "epoch"] == [3, 4, 5]
    assert trainer.n_epochs == len(trainer.history) == 5
    np.testing.assert_array_equal(trainer.history.loss, np.concatenate([first.loss, second.loss]))


def test_callbacks_change_no_bit():
    plain, watched = make_trainer(), make_trainer()
    plain.fit(X, Y, 5)
    watched.fit(X, Y, 5, (X, Y), callbacks=[Recorder()], progress=True)
    assert plain.network._theta.tobytes() == watched.network._theta.tobytes()


class Faulty(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, trainer, metrics):
        if metrics["epoch"] == self.epoch:
            raise RuntimeError("mine")


def test_an_error_in_a_callback_leaves_training_as_it_was():
    trainer, whole, recorder = make_trainer(), make_trainer(), Recorder()
    with pytest.raises(RuntimeError, match="mine"):
        trainer.fit(X, Y, 5, callbacks=[recorder, Faulty(3)])
    assert recorder.calls[-1] == ("end", None)
    assert trainer.n_epochs == 3
    trainer.fit(X, Y, 2)
    whole.fit(X, Y, 5)
    assert trainer.network._theta.tobytes() == whole.network._theta.tobytes()


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (3, "callbacks must be a list of fastnn.callbacks.Callback, got 3"),
        ([print], r"callbacks\[0\] must be a fastnn.callbacks.Callback"),
        ([Callback(), CSVLogger], r"callbacks\[1\] .*; write it with parentheses"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, message):
    trainer = make_trainer()
    with pytest.raises(TypeError, match=message):
        trainer.fit(X, Y, callbacks=callbacks)
    assert trainer.n_steps == 0


class Scripted(Callback):
    """Make the weights known at each epoch, and what is measured a given series."""

    def __init__(self, series, name):
        self.series, self.name = series, name

    def on_epoch_end(self, trainer, metrics):
        trainer.network.weights = [[[float(trainer.n_epochs)]], [0.0]]
        metrics[self.name] = self.series[trainer.n_epochs - 1]


@pytest.mark.parametrize(
    ("monitor", "series", "options", "stops", "best"),
    [
        (None, [5, 4, 3, 4, 5, 6, 0], {"patience": 3}, 6, 3),
        (None, [5, 4, 3, 4, 2, 6, 0], {"patience": 3}, 7, 7),
        (None, [math.nan, 4, math.nan, 5, 0], {"patience": 2}, 4, 2),
        ("loss", [5, 4.9, 4.8, 4.7, 0], {"patience": 2, "min_delta": 0.5}, 3, 1),
        ("accuracy", [0.5, 0.7, 0.6, 0.6, 1.0], {"patience": 2}, 4, 2),
        ("validation_loss", [3, 2, 1], {"patience": 1}, 3, 3),
    ],
)
def test_early_stopping(monitor, series, options, stops, best):
    stopping = EarlyStopping(monitor, **options)
    trainer = make_trainer()
    history = trainer.fit(X, Y, len(series), callbacks=[Scripted(series, monitor or "loss"), stopping])
    assert len(history) == stops
    assert stopping.best_epoch == best
    assert trainer.network.weights[0].item() == best
    assert not history.interrupted


def test_early_stopping_prefers_validation_and_says_what_is_missing():
    stopping = EarlyStopping()
    history = make_trainer().fit(X, Y, 3, (X[:2], Y[:2]), callbacks=[stopping])
    assert stopping.best == history.validation_loss.min()
    with pytest.raises(ValueError, match="monitors 'validation_loss', and this fit measures epoch, loss"):
        make_trainer().fit(X, Y, 3, callbacks=[EarlyStopping("validation_loss")])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping("los"), ValueError, "did you mean 'loss'"),
        (lambda: EarlyStopping(patience=0), ValueError, "patience must be an integer >= 1"),
        (lambda: EarlyStopping(min_delta=-1), ValueError, "min_delta must be"),
        (lambda: Checkpoint("a", every=0), ValueError, "every must be an integer >= 1"),
        (lambda: Checkpoint("a", seconds=-1), ValueError, "seconds must be"),
        (lambda: LearningRateSchedule(0.1), TypeError, "rate must be a function"),
        (lambda: LearningRateSchedule.step(-1, 2), ValueError, "lr must be"),
        (lambda: LearningRateSchedule.step(1, 0), ValueError, "every must be"),
        (lambda: LearningRateSchedule.cosine(1, 0), ValueError, "epochs must be"),
        (lambda: make_trainer().fit(X, Y, progress=1), TypeError, "progress must be True or False, got 1"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (LearningRateSchedule.step(0.08, 2, 0.5), [0.08, 0.08, 0.04, 0.04, 0.02]),
        (LearningRateSchedule.exponential(0.08, 0.5), [0.08, 0.04, 0.02, 0.01, 0.005]),
        (
            LearningRateSchedule.cosine(0.08, 4, 0.02),
            [0.08, 0.05 + 0.03 * 0.5**0.5, 0.05, 0.05 - 0.03 * 0.5**0.5, 0.02],
        ),
        (LearningRateSchedule.cosine(0.08, 2), [0.08, 0.04, 0.0, 0.0, 0.0]),
        (LearningRateSchedule(lambda epoch: 0.01 * epoch), [0.0, 0.01, 0.02, 0.03, 0.04]),
    ],
)
def test_learning_rate_schedules(schedule, rates):
    """Each epoch steps with its rate: the same weights as one trainer an epoch, made with that rate."""
    trainer, recorder = make_trainer(shuffle=False, batch_size=None), Recorder()
    trainer.fit(X, Y, len(rates), callbacks=[schedule, recorder])
    told = [told["learning_rate"] for kind, told in recorder.calls if kind == "epoch"]
    np.testing.assert_allclose(told, rates, rtol=1e-15, atol=1e-18)
    network = fastnn.mlp(1, 1, seed=0)
    for rate in told:
        fastnn.Trainer(network, optimizer=fastnn.SGD(rate), batch_size=None).fit(X, Y)
    assert trainer.network._theta.tobytes() == network._theta.tobytes()


def test_the_learning_rate_is_checked():
    trainer = make_trainer()
    trainer.learning_rate = 0.5
    assert trainer.learning_rate == 0.5
    with pytest.raises(ValueError, match="learning_rate must be a finite number >= 0"):
        trainer.fit(X, Y, callbacks=[LearningRateSchedule(lambda _: math.nan)])
    assert trainer.n_steps == 0


def test_divergence_under_a_schedule_names_its_rate_and_keeps_the_last_weights():
    """The step that is taken back is run again with the rate that it had, not with the one that followed."""
    trainer = make_trainer(batch_size=None)
    schedule = LearningRateSchedule(lambda epoch: 0.001 if epoch < 2 else 1e200)
    with pytest.raises(FloatingPointError, match=r"epoch 4, batch 1 of 1, with SGD.* at learning rate 1e\+200; try"):
        trainer.fit(X, Y, 10, callbacks=[schedule])
    twin = make_trainer(batch_size=None, optimizer=fastnn.SGD(0.001))
    twin.fit(X, Y, 2)
    assert trainer.n_steps == 2
    assert trainer.network._theta.tobytes() == twin.network._theta.tobytes()
    assert trainer.learning_rate == 1e200


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    trainer = make_trainer()
    trainer.fit(X, Y, 2, callbacks=[CSVLogger(path)])
    trainer.fit(X, Y, 1, callbacks=[CSVLogger(str(path))])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == trainer.history.loss.tolist()
    with pytest.raises(ValueError, match="has columns epoch, loss, seconds, learning_rate, and this fit"):
        trainer.fit(X, Y, 1, (X, Y), callbacks=[CSVLogger(path)])
    with pytest.raises(FileNotFoundError):
        make_trainer().fit(X, Y, callbacks=[CSVLogger(tmp_path / "none" / "log.csv")])


def test_tensorboard(tmp_path, monkeypatch):
    """The writer is a stand-in: which of its methods are called, and with what."""
    calls = []

    class Writer:
        def __init__(self, folder):
            calls.append(folder)

        def add_scalar(self, *arguments):
            calls.append(arguments)

        def flush(self):
            pass

        def close(self):
            calls.append("close")

    monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("tensorboard"))
    module = types.ModuleType("tensorboard.summary")
    module.Writer = Writer
    monkeypatch.setitem(sys.modules, "tensorboard.summary", module)
    history = make_trainer().fit(X, Y, 2, callbacks=[TensorBoard(tmp_path)])
    assert calls[0] == str(tmp_path)
    assert calls[1] == ("loss", history.loss[0], 1)
    assert [call[0] for call in calls[1:7]] == ["loss", "seconds", "learning_rate"] * 2
    assert calls[-1] == "close"


def test_tensorboard_for_real(tmp_path):
    pytest.importorskip("tensorboard")
    make_trainer().fit(X, Y, 2, callbacks=[TensorBoard(tmp_path)])
    assert next(tmp_path.iterdir()).name.startswith("events.out.tfevents")


def test_packages_that_are_not_there(monkeypatch, tmp_path):
    for name in ("tqdm.auto", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    trainer = make_trainer()
    with pytest.raises(ImportError, match=r"needs tensorboard: pip install 'fastnn-numba\[tensorboard\]'"):
        trainer.fit(X, Y, callbacks=[TensorBoard(tmp_path)])
    with pytest.raises(ImportError, match=r"needs tqdm: pip install 'fastnn-numba\[progress\]'"):
        trainer.fit(X, Y, progress=True)
    assert trainer.n_steps == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("progress", "stderr", "long", "shows"),
    [
        (None, io.StringIO, 0.0, False),
        (None, Terminal, 0.0, True),
        (None, Terminal, 1e9, False),
        (True, io.StringIO, 1e9, True),
        (False, Terminal, 0.0, False),
    ],
)
def test_the_progress_bar_shows_where_it_is_wanted(monkeypatch, capsys, progress, stderr, long, shows):
    stream = stderr()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("fastnn._hooks.LONG", long)
    make_trainer().fit(X, Y, 2, callbacks=[Callback()], progress=progress)
    assert ("6/6" in stream.getvalue()) == shows
    assert ("loss=" in stream.getvalue()) == shows
    assert capsys.readouterr() == ("", "")


def test_a_terminal_without_tqdm_has_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    make_trainer().fit(X, Y)
    assert sys.stderr.getvalue() == ""


def test_the_progress_bar_closes_when_fit_raises(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(RuntimeError):
        make_trainer().fit(X, Y, callbacks=[Faulty(1)], progress=True)
    assert sys.stderr.getvalue().endswith("\n")


def test_ctrl_c_while_the_progress_bar_is_made(monkeypatch):
    def make(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.auto.tqdm", make)
    assert make_trainer().fit(X, Y, progress=True).interrupted
