"""Samples that come some at a time: the bits of those that are there at once, and what ends an epoch early."""

import numpy as np
import pytest
from test_interrupt import at_call, press, same_bits  # noqa: F401 (a fixture)

import fastnn
from fastnn.callbacks import Alignment, Callback, Checkpoint, EarlyStopping

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(11, 3)), RNG.integers(0, 2, 11)


def make_trainer(batch_size=4, shuffle=True, **options):
    network = fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0)
    options = {"optimizer": fastnn.Adam(0.01), **options}
    return fastnn.Trainer(network, loss="categorical_cross_entropy", batch_size=batch_size, shuffle=shuffle, **options)


def cut(*edges):
    return [(X[a:b], Y[a:b]) for a, b in zip((0, *edges), (*edges, 11), strict=True)]


def same_history(one, two):
    for name in ("loss", "accuracy", "queries"):
        np.testing.assert_array_equal(getattr(one.history, name), getattr(two.history, name))


@pytest.mark.parametrize("batch_size", [4, 20, None])
@pytest.mark.parametrize("shuffle", [False, True])
def test_all_at_once_are_as_without(shuffle, batch_size):
    whole, trainer = make_trainer(batch_size, shuffle), make_trainer(batch_size, shuffle)
    whole.fit(X, Y, 4)
    trainer.fit([(X, Y)], epochs=4)
    same_bits(trainer, whole)
    same_history(trainer, whole)
    assert trainer._rng.bit_generator.state == whole._rng.bit_generator.state


def test_cut_where_steps_begin_they_are_as_without():
    whole, trainer = make_trainer(4, False), make_trainer(4, False)
    whole.fit(X, Y, 3)
    trainer.fit(cut(4, 8), epochs=3)
    same_bits(trainer, whole)
    same_history(trainer, whole)


def test_each_is_an_epoch_of_its_own_as_far_as_steps_go():
    whole, trainer = make_trainer(), make_trainer()
    batches = cut(5, 7)
    for _ in range(2):
        for batch in batches:
            whole.fit(*batch)
    history = trainer.fit(batches, epochs=2)
    assert len(history) == 2
    assert trainer.n_steps == whole.n_steps == 2 * (2 + 1 + 1)
    assert trainer.network._theta.tobytes() == whole.network._theta.tobytes()
    sizes = np.array([5, 2, 4])
    np.testing.assert_allclose(history.loss, whole.history.loss.reshape(2, 3) @ sizes / 11, rtol=1e-14)
    np.testing.assert_allclose(history.accuracy, whole.history.accuracy.reshape(2, 3) @ sizes / 11, rtol=1e-14)


class Loader:
    """What can be gone through again, and hands out lists."""

    def __iter__(self):
        return iter([list(batch) for batch in cut(6)])


def load():
    yield from cut(6)


@pytest.mark.parametrize("batches", [tuple(cut(6)), Loader(), load], ids=["tuple", "loader", "function"])
def test_what_can_be_gone_through_again(batches):
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(cut(6), epochs=3)
    trainer.fit(batches, epochs=3)
    same_bits(trainer, whole)


def test_a_generator_has_one_epoch():
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(cut(6))
    generator = load()
    with pytest.raises(ValueError, match=r"only once, and epochs=2: .*fit\(load, ...\), not fit\(load\(\)"):
        trainer.fit(generator, epochs=2)
    assert len(trainer.fit(generator)) == 1
    same_bits(trainer, whole)
    with pytest.raises(ValueError, match="there is no batch; if these can be gone through only once, that has been"):
        trainer.fit(generator)
    same_bits(trainer, whole)


def test_weights_of_samples_and_validation():
    weights = np.array([0.5, 1.5, 1.0, 1.0, 2.0, 0.0, 1.0, 1.0, 0.25, 1.0, 1.75])  # of each batch 1 on average
    whole, trainer = make_trainer(4, False), make_trainer(4, False)
    validation = X[:3], Y[:3]
    whole.fit(X, Y, 3, validation, sample_weight=weights)
    batches = [(*batch, weights[a : a + 4]) for a, batch in zip((0, 4, 8), cut(4, 8), strict=True)]
    history = trainer.fit(batches, epochs=3, validation_data=validation)
    same_bits(trainer, whole)
    np.testing.assert_array_equal(history.validation_loss, whole.history.validation_loss)
    np.testing.assert_array_equal(history.validation_accuracy, whole.history.validation_accuracy)


class Look(Callback):
    def __init__(self):
        self.seen = []

    def on_fit_begin(self, trainer, n_steps):
        self.seen.append(n_steps)

    def on_epoch_end(self, trainer, metrics):
        self.seen.append((metrics["epoch"], trainer.n_steps))


def test_callbacks():
    look, stopping = Look(), EarlyStopping(patience=1, min_delta=10.0)
    trainer = make_trainer()
    history = trainer.fit(cut(6), epochs=9, callbacks=[look, stopping])
    assert look.seen == [0, (1, 4), (2, 8)]
    assert len(history) == 2
    with pytest.raises(ValueError, match=r"samples at hand: fit\(X, y\), not batches"):
        trainer.fit(cut(6), callbacks=[Alignment()])


def test_a_bar(capsys):
    pytest.importorskip("tqdm")
    make_trainer().fit(cut(6), epochs=2, progress=True)
    assert "8step" in capsys.readouterr().err


class Stop(Callback):
    def on_steps(self, trainer):
        trainer.stop()


def test_what_leaves_an_epoch(monkeypatch, at_call):  # noqa: F811
    """A callback, and Ctrl-C: steps stay as they are, and the next fit begins anew."""
    whole = make_trainer()
    whole.fit(X[:6], Y[:6])
    whole.fit(cut(6))
    trainer = make_trainer()
    at_call(2, press)
    history = trainer.fit(cut(6), epochs=2)
    assert history.interrupted
    assert len(history) == trainer.n_epochs == 0
    assert trainer.n_steps == 2
    trainer.fit(cut(6))
    assert trainer.network._theta.tobytes() == whole.network._theta.tobytes()
    trainer = make_trainer()
    history = trainer.fit(cut(6), callbacks=[Stop()])
    assert (len(history), trainer.n_steps, history.interrupted) == (0, 1, False)


def test_ctrl_c_while_batches_are_brought():
    reached = []

    def bring():
        yield X[:6], Y[:6]
        press()
        reached.append(1)

    trainer = make_trainer()
    history = trainer.fit(bring)
    assert history.interrupted
    assert not reached
    assert trainer.n_steps == 2


class PressAtTheEnd(Callback):
    def on_epoch_end(self, trainer, metrics):
        press()


def test_ctrl_c_at_an_epochs_end():
    trainer = make_trainer()
    history = trainer.fit(cut(6), epochs=3, callbacks=[PressAtTheEnd()])
    assert history.interrupted
    assert len(history) == 1


def test_samples_at_once_and_batches_take_turns(at_call):  # noqa: F811
    """An epoch that was begun on samples that were there is none of these."""
    trainer = make_trainer()
    at_call(2, press)
    trainer.fit(X, Y)
    assert trainer._position
    assert len(trainer.fit([(X, Y)])) == 1
    assert trainer._position is None
    assert trainer.n_steps == 2 + 3


def test_from_every_epoch(tmp_path):
    whole = make_trainer()
    whole.fit(cut(6), epochs=4)
    trainer = make_trainer()
    trainer.fit(cut(6), epochs=2, callbacks=[Checkpoint(tmp_path / "run.safetensors")])
    trainer = fastnn.Trainer.resume(tmp_path / "run.safetensors")
    trainer.fit(cut(6), epochs=2)
    same_bits(trainer, whole)
    same_history(trainer, whole)


@pytest.mark.parametrize("edges", [(4, 8), (8,)], ids=["as many", "fewer"])
def test_the_step_that_leads_to_infinity_is_taken_back(edges):
    """Also where the next samples' first loss shows it, and those are as many or not."""
    X_ = np.ones((11, 1))
    X_[8:] = 1e200  # times a weight of 1e150, that is too much
    Y_ = np.where(X_ > 1, 0.0, -1e150)
    trainers = []
    for kind in ("whole", "batches"):
        network = fastnn.mlp(1, 1, seed=0)
        optimizer = fastnn.SGD(0.25)
        trainer = fastnn.Trainer(network, gradient=fastnn.Backprop(), optimizer=optimizer, batch_size=4, shuffle=False)
        batches = [(X_[a:b], Y_[a:b]) for a, b in zip((0, *edges), (*edges, 11), strict=True)]
        arguments = (X_, Y_) if kind == "whole" else (batches,)
        where = "batch 3 of 3" if kind == "whole" else f"batch 1 of 1 of given batch {len(batches)}"
        with pytest.raises(FloatingPointError, match=f"the loss is not finite at epoch 1, {where}, with"):
            trainer.fit(*arguments)
        assert trainer.n_steps == 1
        trainers.append(trainer)
    assert trainers[0].network._theta.tobytes() == trainers[1].network._theta.tobytes()


def test_mapped_files(tmp_path):
    for k, (x, y) in enumerate(cut(6)):
        np.save(tmp_path / f"x{k}.npy", x)
        np.save(tmp_path / f"y{k}.npy", y)

    def open_files():
        for k in range(2):
            yield np.load(tmp_path / f"x{k}.npy", mmap_mode="r"), np.load(tmp_path / f"y{k}.npy", mmap_mode="r")

    whole, trainer = make_trainer(), make_trainer()
    whole.fit(cut(6), epochs=2)
    trainer.fit(open_files, epochs=2)
    same_bits(trainer, whole)


def test_in_blocks():
    """Each batch is measured of its own samples, also where the next has as many."""
    whole, trainer = make_trainer(4, False, block_size=2), make_trainer(4, False, block_size=2)
    whole.fit(X, Y, 3)
    trainer.fit(cut(4, 8), epochs=3)
    same_bits(trainer, whole)
    with pytest.raises(ValueError, match="a cluster takes X and y, not batches"):
        trainer.fit(cut(4), client=object())


def test_sparse_rows():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    rows = scipy_sparse.csr_array(np.where(X > 0.5, X, 0.0))
    whole, trainer = make_trainer(4, False), make_trainer(4, False)
    whole.fit(rows, Y, 2)
    trainer.fit([(rows[:4], Y[:4]), (rows[4:8], Y[4:8]), (rows[8:], Y[8:])], epochs=2)
    same_bits(trainer, whole)
    with pytest.raises(TypeError, match="y is missing"):
        trainer.fit(rows)


@pytest.mark.parametrize(
    ("batches", "options", "error", "message"),
    [
        (X, {}, TypeError, "y is missing, or X must be an iterable of batches .*got array"),
        (3, {}, TypeError, "y is missing"),
        (cut(6), {"validation_split": 0.2}, ValueError, "validation_split needs all samples at once; of batches, hold"),
        (cut(6), {"sample_weight": [1.0]}, ValueError, r"sample_weight needs all .* \(X, y, sample_weight\)"),
        (cut(6), {"class_weight": "balanced"}, ValueError, "class_weight needs all samples at once"),
        ([X, Y], {}, TypeError, r"batch 1 must be \(X, y\) or \(X, y, sample_weight\), got array"),
        ([(X,)], {}, TypeError, r"batch 1 must be \(X, y\)"),
        ([(X, Y, None, None)], {}, TypeError, r"batch 1 must be \(X, y\)"),
        ([(X[:, :2], Y)], {}, ValueError, "batch 1: X"),
        ([(X, Y, ["a"] * 11)], {}, TypeError, "batch 1: sample_weight"),
        ([], {}, ValueError, "there is no batch"),
    ],
)
def test_bad_batches(batches, options, error, message):
    trainer = make_trainer()
    before = trainer.network._theta.copy()
    with pytest.raises(error, match=message):
        trainer.fit(batches, epochs=2, **options)
    np.testing.assert_array_equal(trainer.network._theta, before)
    assert trainer.n_steps == trainer.n_epochs == 0


def test_a_bad_batch_later_leaves_training_where_it_is():
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X[:6], Y[:6])
    with pytest.raises(ValueError, match="batch 2: "):
        trainer.fit([(X[:6], Y[:6]), (X[6:], Y)])
    assert trainer.n_steps == 2
    assert trainer.network._theta.tobytes() == whole.network._theta.tobytes()
