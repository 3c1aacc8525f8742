"""Callbacks: what they are told, and what the built-in ones do."""

import contextlib
import copy
import csv
import importlib.util
import io
import math
import pickle
import sys
import types

import numpy as np
import pytest

import fastnn
from fastnn._compiler import jit
from fastnn.callbacks import (
    Alignment,
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LearningRateSchedule,
    ReduceOnPlateau,
    TensorBoard,
)
from fastnn.training import hooks

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


@pytest.mark.parametrize(
    "before", [[CSVLogger("log.csv")], [LearningRateSchedule.cosine(5.0, 3)], [Checkpoint("run.safetensors")], []]
)
@pytest.mark.parametrize(
    "wrong",
    [
        EarlyStopping("validation_loss"),
        CSVLogger("other.csv"),
        CSVLogger("there/is/none.csv"),
        Checkpoint("there/is/none.safetensors"),
        LearningRateSchedule(lambda _: -1.0),
        Alignment(),
    ],
)
def test_a_fit_that_a_callback_refuses_changes_nothing(tmp_path, monkeypatch, before, wrong):
    monkeypatch.chdir(tmp_path)
    trainer = make_trainer(seed=0)

    class Halt(Callback):
        def on_steps(self, trainer):
            trainer.stop()

    monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
    trainer.fit(X, Y, 3, callbacks=[Halt()])
    assert trainer._position is not None  # within an epoch
    (tmp_path / "log.csv").write_text("epoch,loss,seconds,queries,learning_rate\n1,1,1,1,1\n2,1,1,1,1\n")
    (tmp_path / "other.csv").write_text("epoch,loss\n")
    left, files = pickle.dumps(trainer), {path: path.read_bytes() for path in tmp_path.iterdir()}
    samples = ([(X, Y)],) if isinstance(wrong, Alignment) else (X[:4], Y[:4])  # others than those of before
    with pytest.raises((ValueError, OSError)):
        trainer.fit(*samples, epochs=2, callbacks=[*before, wrong])
    assert pickle.dumps(trainer) == left
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_what_one_callback_adds_another_can_watch(tmp_path):
    trainer = make_trainer()
    log = CSVLogger(tmp_path / "log.csv")
    stopping = EarlyStopping("cosine", mode="max")
    for _ in range(2):  # the second fit goes on below the same names
        trainer.fit(X, Y, 3, callbacks=[Alignment(1), stopping, log])
    assert stopping.best == pytest.approx(1.0)
    assert log.path.read_text().startswith("epoch,loss,seconds,queries,learning_rate,cosine,noise\n")
    with pytest.raises(ValueError, match="EarlyStopping monitors 'cosine', and this fit measures loss$"):
        trainer.fit(X, Y, callbacks=[stopping, Alignment(1)])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("on_epoch_ends", r"nothing calls Mine.on_epoch_ends; did you mean 'on_epoch_end'\?"),
        ("on_train_begin", r"nothing calls Mine.on_train_begin; did you mean 'on_fit_begin'\?"),
        ("on_batch_begin", "nothing calls Mine.on_batch_begin: there is none"),
    ],
)
def test_methods_that_nothing_would_call_are_refused(name, message):
    with pytest.raises(TypeError, match=message):
        type("Mine", (Callback,), {name: lambda *_: None})
    type("Mine", (Callback,), {"on_button": lambda *_: None, "name": 3, "on_steps": lambda *_: None})


def test_a_fit_within_a_fit_is_refused():
    trainer = make_trainer()

    class Again(Callback):
        def on_epoch_end(self, trainer, metrics):
            with pytest.raises(RuntimeError, match="runs already"):
                trainer.fit(X, Y)
            assert trainer.evaluate(X, Y).loss > 0

    history = trainer.fit(X, Y, 4, callbacks=[Again()])
    assert (trainer.n_epochs, trainer.n_steps) == (4, 12)
    np.testing.assert_array_equal(history.queries, make_trainer().fit(X, Y, 4).queries)


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
        assert list(told) == ["epoch", "loss", "validation_loss", "seconds", "queries", "learning_rate"]
        assert told["epoch"] == k + 1
        assert told["learning_rate"] == 0.01
        for name in ("loss", "validation_loss", "seconds", "queries"):
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
    network = fastnn.mlp(1, 1, output="sigmoid" if monitor == "accuracy" else "identity")
    loss, y = ("binary_cross_entropy", Y > 9) if monitor == "accuracy" else ("squared_error", Y)
    trainer = fastnn.Trainer(network, loss=loss, batch_size=2)
    held_out = (X, y) if monitor == "validation_loss" else None
    history = trainer.fit(X, y, len(series), held_out, callbacks=[Scripted(series, monitor or "loss"), stopping])
    assert len(history) == stops
    assert stopping.best_epoch == best
    assert trainer.network.weights[0].item() == best
    assert not history.interrupted


@pytest.mark.parametrize(
    ("series", "options", "rates"),
    [
        ([5, 4, 4, 4, 4, 4], {"patience": 2}, [1, 1, 1, 0.5, 0.5, 0.25]),
        ([5, 4, 4, 4, 3, 3], {"patience": 2}, [1, 1, 1, 0.5, 0.5, 0.5]),
        ([5, 5, 5, 5, 5, 5], {"patience": 1, "cooldown": 2}, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ([5, 5, 5, 5, 5, 5], {"patience": 1, "min_lr": 0.3}, [1, 0.5, 0.3, 0.3, 0.3, 0.3]),
        ([5, 5, 5, 5, 5, 5], {"patience": 3, "min_lr": 2.0}, [1, 1, 1, 1, 1, 1]),
        ([5, 4.9, 4.8, 4.7, 4, 4], {"patience": 2, "min_delta": 0.5}, [1, 1, 0.5, 0.5, 0.5, 0.5]),
        ([1, 2, 3, 3, 3, 3], {"patience": 2, "mode": "max"}, [1, 1, 1, 1, 0.5, 0.5]),
        ([math.nan, 2, 3, math.nan, 1, 1], {"patience": 2}, [1, 1, 1, 0.5, 0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("cut", [None, 2, 3])
def test_a_plateau_lowers_the_rate(series, options, rates, cut, tmp_path):
    """Also where a run is cut, and goes on from a file."""
    trainer, seen = make_trainer(optimizer=fastnn.SGD(1.0)), []

    class Note(Callback):
        def on_epoch_end(self, trainer, metrics):
            seen.append(trainer.learning_rate)
            if cut == len(seen):
                raise KeyError

    def callbacks():
        return [Scripted(series, "loss"), ReduceOnPlateau(factor=0.5, **options), Note()]

    if cut:
        pytest.importorskip("safetensors")
        with pytest.raises(KeyError):
            trainer.fit(X, Y, len(series), callbacks=callbacks())
        trainer.save(tmp_path / "run")
        trainer = fastnn.Trainer.resume(tmp_path / "run")
    trainer.fit(X, Y, len(series) - len(seen), callbacks=callbacks())
    assert seen == rates


@pytest.mark.parametrize("change", [{"waited": -1}, {"waited": 0.5}, {"best": "a"}, {"cooling": "1"}])
def test_a_state_of_no_plateau_is_refused(change):
    trainer, plateau = make_trainer(), ReduceOnPlateau()
    trainer.fit(X, Y, callbacks=[plateau])
    trainer._states = {"ReduceOnPlateau.0": (None, {**plateau.state(), **change})}
    with pytest.raises(ValueError, match="ReduceOnPlateau cannot go on from its state in the checkpoint"):
        trainer.fit(X, Y, callbacks=[ReduceOnPlateau()])
    assert trainer.n_epochs == 1


def test_a_plateau_of_what_the_fit_measures():
    trainer, plateau = make_trainer(optimizer=fastnn.SGD(1.0)), ReduceOnPlateau(patience=1)
    trainer.fit(X, Y, 2, (X, Y), callbacks=[Scripted([1, 1], "validation_loss"), plateau])
    assert plateau.state()["monitor"] == "validation_loss"
    assert trainer.learning_rate == 0.1


@pytest.mark.parametrize("monitor", [None, "loss"])
def test_what_is_kept_has_the_best_training_loss(monitor):
    """One step an epoch: the loss is that of the weights before the step, which goes far beyond the minimum."""
    x = np.array([[1.0], [2.0], [3.0]])
    network = fastnn.mlp(1, 1)
    network.weights = [[[2.0]], [0.0]]
    trainer = fastnn.Trainer(network, optimizer=fastnn.SGD(0.3), batch_size=None)
    stopping = EarlyStopping(monitor, patience=1)
    history = trainer.fit(x, 3 * x, 10, callbacks=[stopping])
    assert stopping.best == history.loss[0] == pytest.approx(14 / 3)
    assert history.loss[1] == pytest.approx(25.2, rel=0.01)
    assert stopping.best_epoch == 1
    assert network.weights[0].item() == 2.0
    assert trainer.evaluate(x, 3 * x).loss == stopping.best


def test_what_is_kept_has_the_best_training_accuracy():
    x, y = np.array([[-1.0], [1.0], [2.0]]), [0, 1, 1]
    network = fastnn.mlp(1, 2, output="softmax")
    network.weights = [[[0.0, 1.0]], [0.0, 0.0]]
    trainer = fastnn.Trainer(
        network,
        loss="categorical_cross_entropy",
        optimizer=fastnn.SGD(1e3),
        batch_size=None,
        gradient=fastnn.Backprop(),
    )
    stopping = EarlyStopping("accuracy", patience=2)
    trainer.fit(x, y, 5, callbacks=[stopping])
    assert trainer.evaluate(x, y).accuracy == stopping.best == 1.0


@pytest.mark.parametrize("batch_size", [None, 2])
def test_what_is_kept_has_the_best_validation_loss(batch_size):
    trainer = make_trainer(optimizer=fastnn.SGD(0.04), batch_size=batch_size)
    stopping = EarlyStopping(patience=2)
    trainer.fit(X, Y, 8, (X[:2], Y[:2]), callbacks=[stopping])
    assert trainer.evaluate(X[:2], Y[:2]).loss == stopping.best


def test_the_mean_of_several_steps_keeps_the_weights_after_them():
    trainer, after = make_trainer(), []

    class Look(Callback):
        def on_epoch_end(self, trainer, metrics):
            after.append(trainer.network._theta.copy())

    stopping = EarlyStopping("loss", patience=3)
    trainer.fit(X, Y, 5, callbacks=[Look(), stopping])
    assert trainer.network._theta.tobytes() == after[stopping.best_epoch - 1].tobytes()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("epochs", [4, 40])
@pytest.mark.parametrize("every", [1, 100])
def test_early_stopping_and_a_checkpoint_have_the_same_weights(tmp_path, order, epochs, every):
    path = tmp_path / "run"
    trainer = make_trainer(optimizer=fastnn.SGD(0.03), batch_size=None)
    stopping = EarlyStopping(patience=2)
    callbacks = [LearningRateSchedule.exponential(0.02, 1.5), stopping, Checkpoint(path, every)][::order]
    history = trainer.fit(X, Y, epochs, (X[:2], Y[:2]), callbacks=callbacks)
    assert len(history) == min(epochs, stopping.best_epoch + 2)
    assert trainer.evaluate(X[:2], Y[:2]).loss == stopping.best
    resumed = fastnn.Trainer.resume(path)
    assert resumed.network._theta.tobytes() == trainer.network._theta.tobytes()
    assert resumed.learning_rate == trainer.learning_rate
    # The run came to its end: the next one begins anew, from a file as well.
    trainer.fit(X, Y, 1, (X[:2], Y[:2]), callbacks=[stopping])
    again = EarlyStopping(patience=2)
    resumed.fit(X, Y, 1, (X[:2], Y[:2]), callbacks=[again])
    assert (stopping.best, stopping.best_epoch) == (again.best, again.best_epoch)
    assert stopping.best_epoch == len(history) + 1


class StopAt(Callback):
    """End as Ctrl-C or an error does."""

    def __init__(self, epoch, error):
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, trainer, metrics):
        if metrics["epoch"] == self.epoch:
            raise self.error


def keep_going(trainer, epochs, callbacks):
    with contextlib.suppress(RuntimeError):
        trainer.fit(X, Y, epochs - trainer.n_epochs, (X[:2], Y[:2]), callbacks=callbacks)


@pytest.mark.parametrize("monitor", [None, "loss"])
@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("mine")])
@pytest.mark.parametrize("left", [0, 1, 2, 3, 4])
def test_early_stopping_goes_on(tmp_path, monitor, batch_size, error, left):
    """In the next fit with it, and after a resume: the same end as a run that nobody disturbs."""

    def make():
        schedule = LearningRateSchedule.exponential(0.002, 1.8)
        return make_trainer(batch_size=batch_size), [schedule, EarlyStopping(monitor, patience=2)]

    whole, wanted = make()
    keep_going(whole, 12, wanted)
    assert 5 <= whole.n_epochs == wanted[1].best_epoch + 2 < 12
    trainer, callbacks = make()
    path = tmp_path / "run"
    keep_going(trainer, 12, [*callbacks, Checkpoint(path), StopAt(whole.n_epochs - left, error)])
    assert trainer.n_epochs == whole.n_epochs - left
    trainer.save(path)
    resumed, others = fastnn.Trainer.resume(path), make()[1]
    for going, called in ((trainer, callbacks), (resumed, others)):
        keep_going(going, 12, called)
        assert going.network._theta.tobytes() == whole.network._theta.tobytes()
        assert (called[1].best, called[1].best_epoch) == (wanted[1].best, wanted[1].best_epoch)
        np.testing.assert_array_equal(going.history.loss, whole.history.loss)


def test_another_callback_begins_anew():
    """A state in memory is its owner's; it is forgotten when a run comes to its end."""
    trainer, stopping = make_trainer(), EarlyStopping(patience=5)
    keep_going(trainer, 9, [stopping, StopAt(3, RuntimeError())])
    other = EarlyStopping(patience=5)
    keep_going(trainer, 9, [other, StopAt(4, RuntimeError())])
    assert other.best_epoch == 4
    keep_going(trainer, 9, [])
    keep_going(trainer, 10, [other])
    assert other.best_epoch == 10


def test_another_metric_begins_anew(tmp_path):
    trainer = make_trainer()
    keep_going(trainer, 9, [EarlyStopping("loss"), Checkpoint(tmp_path / "run"), StopAt(3, RuntimeError())])
    trainer = fastnn.Trainer.resume(tmp_path / "run")
    stopping = EarlyStopping("validation_loss", patience=1)
    keep_going(trainer, 3, [stopping])
    assert stopping.best == trainer.history.validation_loss[2]
    assert stopping.best_epoch == 3


class Counting(Callback):
    """One of a user's own, which counts epochs."""

    def __init__(self, step):
        self.step = step

    def on_fit_begin(self, trainer, n_steps):
        self.count, self.note = 0, ""

    def on_epoch_end(self, trainer, metrics):
        self.count += self.step
        self.note = "counted"

    def state(self):
        return {"count": self.count, "note": self.note, "powers": np.array([self.count, self.count**2])}

    def restore(self, trainer, state):
        self.count, self.note = state["count"], state["note"]
        assert state["powers"].tolist() == [self.count, self.count**2]


def test_states_of_ones_own(tmp_path):
    """Two of a class keep apart, by their order."""
    path = tmp_path / "run"
    trainer, counting = make_trainer(), [Counting(1), Counting(10)]
    keep_going(trainer, 9, [counting[0], Checkpoint(path), counting[1], StopAt(3, RuntimeError())])
    assert [callback.count for callback in counting] == [3, 30]
    resumed, others = fastnn.Trainer.resume(path), [Counting(1), Counting(10)]
    assert resumed.n_epochs == 2
    resumed.fit(X, Y, 0, callbacks=others)
    assert [(callback.count, callback.note) for callback in others] == [(2, "counted"), (20, "counted")]


def test_a_rate_that_is_set_within_an_epoch_counts_from_the_next_step(monkeypatch):
    monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
    seen = []

    class Freeze(Callback):
        def on_steps(self, trainer):
            seen.append(trainer.network._theta.tobytes())
            if trainer.n_steps == 2:
                trainer.learning_rate = 0.0

    trainer = fastnn.Trainer(fastnn.mlp(1, 1, seed=0), batch_size=1)
    trainer.fit(X, Y, callbacks=[Freeze()])
    assert trainer.n_steps == len(seen) == len(X)
    assert len(set(seen)) == 2


class Stateful(Callback):
    def __init__(self, state):
        self.kept = state

    def state(self):
        return self.kept

    def restore(self, trainer, state):
        self.restored = state


def test_numbers_of_numpys_are_numbers(tmp_path):
    trainer = make_trainer()
    callbacks = [Stateful({"a": np.float32(0.5), "b": np.int64(3)}), Checkpoint(tmp_path / "run")]
    keep_going(trainer, 3, [*callbacks, StopAt(2, RuntimeError())])
    again = Stateful({})
    fastnn.Trainer.resume(tmp_path / "run").fit(X, Y, 0, callbacks=[again])
    assert again.restored == {"a": 0.5, "b": 3}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, r"Stateful.state\(\) must be a dict, got None"),
        ({"a": {1}}, r"must hold numbers, texts and arrays by names, got \{'a': \{1\}\}"),
        ({1: 2}, r"by names, got \{1: 2\}"),
        ({"a": np.array([None])}, r"by names, got \{'a': array\(\[None\], dtype=object\)\}"),
    ],
)
def test_states_that_no_file_can_hold(tmp_path, state, message):
    """Known before any step, with a checkpoint."""
    trainer = make_trainer()
    with pytest.raises(TypeError, match=message):
        trainer.fit(X, Y, callbacks=[Stateful(state), Checkpoint(tmp_path / "run")])
    assert trainer.n_steps == 0


def test_a_state_that_no_file_can_hold_is_left_behind(tmp_path):
    """Where nobody saves, it is known when a run ends early; the trainer goes on without it."""
    trainer = make_trainer()
    with pytest.raises(TypeError, match="must be a dict"):
        trainer.fit(X, Y, 3, callbacks=[Stateful(None), StopAt(2, RuntimeError())])
    trainer.save(tmp_path / "run")
    assert fastnn.Trainer.resume(tmp_path / "run").n_epochs == trainer.n_epochs > 0


def test_a_copy_that_a_callback_makes_goes_on(tmp_path):
    """Like a file: deep, or pickled, and beside a progress bar that cannot be copied."""
    copies = []

    class Copy(Callback):
        def on_epoch_end(self, trainer, metrics):
            if metrics["epoch"] == 2:
                copies.append(copy.deepcopy(trainer))
                copies.append(pickle.loads(pickle.dumps(trainer)))

    whole, stopping = make_trainer(), EarlyStopping(patience=2)
    whole.fit(X, Y, 4, callbacks=[stopping, Copy()], progress=True)
    assert len(copies) == 2
    for going in copies:
        assert going.n_epochs == 2
        other = EarlyStopping(patience=2)
        going.fit(X, Y, 2, callbacks=[other])
        assert going.network._theta.tobytes() == whole.network._theta.tobytes()
        assert (other.best, other.best_epoch) == (stopping.best, stopping.best_epoch)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.zeros(3)},
        {"weights": np.full(2, np.nan)},
        {"before": np.zeros(2, np.float32)},
        {"before": 3},
        {"best": "a"},
        {"best": 10**400},
        {"best_epoch": -1},
        {"steps": 1.5},
        {"best": None, "weights": None},
    ],
    ids=repr,
)
def test_a_state_of_something_else_is_refused(change):
    trainer, stopping = make_trainer(), EarlyStopping()
    trainer.fit(X, Y, callbacks=[stopping])
    trainer._states = {"EarlyStopping.0": (None, {**stopping.state(), **change})}
    with pytest.raises(ValueError, match="EarlyStopping cannot go on from its state in the checkpoint"):
        trainer.fit(X, Y, callbacks=[EarlyStopping()])
    assert trainer.n_epochs == 1


def test_early_stopping_prefers_validation_and_says_what_is_missing():
    stopping = EarlyStopping()
    history = make_trainer().fit(X, Y, 3, (X[:2], Y[:2]), callbacks=[stopping])
    assert stopping.best == history.validation_loss.min()
    trainer = make_trainer()
    with pytest.raises(ValueError, match="monitors 'validation_loss', and this fit measures loss$"):
        trainer.fit(X, Y, 3, callbacks=[EarlyStopping("validation_loss")])
    assert trainer.n_steps == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: make_trainer().fit(X, Y, callbacks=[EarlyStopping("los")]), ValueError, "did you mean 'loss'"),
        (lambda: EarlyStopping(mode="most"), ValueError, "mode must be one of"),
        (lambda: ReduceOnPlateau(factor=1.0), ValueError, "factor must be a finite number > 0 and < 1"),
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
    with pytest.raises(ValueError, match="has columns epoch, loss, seconds, queries, learning_rate, and this fit"):
        trainer.fit(X, Y, 1, (X, Y), callbacks=[CSVLogger(path)])
    with pytest.raises(FileNotFoundError):
        make_trainer().fit(X, Y, callbacks=[CSVLogger(tmp_path / "none" / "log.csv")])


def read_epochs(path):
    with path.open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("torn", ["", "5,0.0", "5", "4,1,1,1", "epo"])
def test_rows_of_epochs_that_come_again_are_taken_out(tmp_path, torn):
    """Also what a full disk left of a row."""
    path, run = tmp_path / "log.csv", tmp_path / "run"
    trainer = make_trainer()
    trainer.fit(X, Y, 2, callbacks=[CSVLogger(path)])
    trainer.save(run)
    before = path.read_bytes()
    trainer.fit(X, Y, 2, callbacks=[CSVLogger(path)])
    wanted = path.read_bytes()
    assert read_epochs(path) == [1, 2, 3, 4]
    with path.open("a") as file:
        file.write(torn)
    trainer = fastnn.Trainer.resume(run)
    trainer.fit(X, Y, 0, callbacks=[CSVLogger(path)])
    assert path.read_bytes() == before
    trainer.fit(X, Y, 2, callbacks=[CSVLogger(path)])
    assert read_epochs(path) == [1, 2, 3, 4]
    assert len(path.read_bytes().splitlines()) == len(wanted.splitlines())
    assert [name.name for name in tmp_path.iterdir() if name.name.startswith(".")] == []
    make_trainer().fit(X, Y, callbacks=[CSVLogger(path)])
    assert read_epochs(path) == [1]


def test_a_torn_header_is_begun_anew(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,lo")
    make_trainer().fit(X, Y, callbacks=[CSVLogger(path)])
    assert read_epochs(path) == [1]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\n", b"epochs,b\n"])
def test_a_file_of_somebody_elses_stays(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    trainer = make_trainer()
    with pytest.raises(ValueError, match="log.csv is there already, and not by CSVLogger: it begins with"):
        trainer.fit(X, Y, callbacks=[CSVLogger(path)])
    assert path.read_bytes() == content
    assert trainer.n_steps == 0


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
    assert [call[0] for call in calls[1:9]] == ["loss", "seconds", "queries", "learning_rate"] * 2
    assert calls[-1] == "close"

    class Broken(Callback):
        def on_fit_begin(self, trainer, n_steps):
            raise ZeroDivisionError

    calls.clear()
    with pytest.raises(ZeroDivisionError):
        make_trainer().fit(X, Y, callbacks=[Broken(), TensorBoard(tmp_path)])
    assert not calls  # what was not opened is not closed


def test_tensorboard_for_real(tmp_path):
    pytest.importorskip("tensorboard")
    make_trainer().fit(X, Y, 2, callbacks=[TensorBoard(tmp_path)])
    assert next(tmp_path.iterdir()).name.startswith("events.out.tfevents")


def test_packages_that_are_not_there(monkeypatch, tmp_path):
    for name in ("tqdm.auto", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    trainer = make_trainer()
    with pytest.raises(ImportError, match="needs tensorboard: pip install tensorboard"):
        trainer.fit(X, Y, callbacks=[TensorBoard(tmp_path)])
    with pytest.raises(ImportError, match="needs tqdm: pip install tqdm"):
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
    monkeypatch.setattr("fastnn.training.hooks.LONG", long)
    make_trainer().fit(X, Y, 2, callbacks=[Callback()], progress=progress)
    assert ("6/6" in stream.getvalue()) == shows
    assert ("loss=" in stream.getvalue()) == shows
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("progress", [None, True, False])
@pytest.mark.parametrize("has_tqdm", [True, False])
def test_a_fit_says_that_it_compiles(monkeypatch, progress, has_tqdm):
    """Once, and without tqdm no bar comes after it."""
    if progress and not has_tqdm:
        return
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: has_tqdm or None)
    monkeypatch.setattr("fastnn.training.hooks.LONG", 0.0)

    class Compiling(Callback):  # what the compiler does
        def on_steps(self, trainer):
            for tell in 2 * [*jit.listeners]:
                if tell in jit.listeners:
                    tell()

    make_trainer().fit(X, Y, callbacks=[Compiling()], progress=progress)
    written = sys.stderr.getvalue()
    assert written.count(hooks.COMPILING) == (progress is not False)
    assert ("step" in written) == (has_tqdm and progress is not False)
    make_trainer().fit(X, Y, progress=progress)
    assert not jit.listeners


def test_a_notebook_is_watched(monkeypatch):
    """Its standard error is no terminal; where tqdm is off, nobody looks."""
    shell = types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert len(hooks.make_progress(None)) == 2
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert hooks.make_progress(None) == []
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert hooks.make_progress(None) == []


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
