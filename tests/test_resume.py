"""Checkpoints: training goes on bit for bit as if it had never stopped."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import OPTIMIZERS
from safetensors.numpy import save
from test_interrupt import at_call, press, same_bits  # noqa: F401 (a fixture)

import fastnn
from fastnn._support import files
from fastnn.callbacks import Callback, Checkpoint

GOLDEN = Path(__file__).parent / "golden"
GRADIENTS = [fastnn.Perturbation(), fastnn.Perturbation(1e-3, "central", "direct"), fastnn.Backprop()]
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(11, 3)), RNG.integers(0, 2, 11)


def make_trainer(
    optimizer=OPTIMIZERS[3],
    gradient=GRADIENTS[0],
    batch_size=4,
    dtype="float64",
    **options,
):
    network = fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0, dtype=dtype)
    return fastnn.Trainer(
        network,
        loss="categorical_cross_entropy",
        gradient=gradient,
        optimizer=optimizer,
        batch_size=batch_size,
        **options,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


class SaveAll(Callback):
    """A checkpoint after every step."""

    def __init__(self, folder):
        self.folder = folder

    def on_steps(self, trainer):
        trainer.save(self.folder / f"{trainer.n_steps}")


@pytest.mark.late(kept=8)
@pytest.mark.parametrize("optimizer", [OPTIMIZERS[0], *(o for o in OPTIMIZERS if o.weight_decay)], ids=repr)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"batch_size": None},
        {"dtype": "float32"},
        {"clip_norm": 0.05},
        {"gradient": GRADIENTS[1]},
        {"gradient": GRADIENTS[2]},
        {"gradient": fastnn.RandomDirections(3, 0.1, "walsh", "forward")},
        {"gradient": fastnn.NodePerturbation(noise="gaussian")},
        {"gradient": fastnn.ForwardGradient(2, directions="coordinate")},
        {"seed": np.random.Generator(np.random.PCG64DXSM(1))},
    ],
    ids=lambda options: repr(options).partition(" at 0x")[0],  # the same in every process
)
def test_from_every_epoch_and_every_step_within(tmp_path, monkeypatch, optimizer, options):
    monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
    whole = make_trainer(optimizer, **options)
    whole.fit(X, Y, 4, (X[:3], Y[:3]), callbacks=[SaveAll(tmp_path)])
    names = os.listdir(tmp_path)
    assert len(names) == whole.n_steps == (4 if options.get("batch_size", 4) is None else 12)
    for name in names:
        trainer = fastnn.Trainer.resume(tmp_path / name)
        assert trainer.n_steps == int(name)
        assert trainer.optimizer == optimizer
        assert trainer.gradient == whole.gradient
        assert trainer.clip_norm == whole.clip_norm
        trainer.fit(X, Y, 4 - trainer.n_epochs, (X[:3], Y[:3]))
        same_bits(trainer, whole)
        np.testing.assert_array_equal(trainer.history.validation_loss, whole.history.validation_loss)
        np.testing.assert_array_equal(trainer.history.validation_accuracy, whole.history.validation_accuracy)
        # Also what would be drawn next.
        assert trainer._rng.bit_generator.state == whole._rng.bit_generator.state


def test_on_any_number_of_threads(path, chunks):
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 4)
    trainer.fit(X, Y, 2)
    trainer.save(path)
    chunks(2)
    trainer = fastnn.Trainer.resume(path)
    trainer.fit(X, Y, 2)
    same_bits(trainer, whole)


def test_orders_that_were_drawn_ahead_are_kept(path, at_call):  # noqa: F811
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 6)
    at_call(4, press)
    trainer.fit(X, Y, 6)
    trainer.save(path)
    trainer = fastnn.Trainer.resume(path)
    trainer.fit(X, Y, 5)
    same_bits(trainer, whole)


def test_the_learning_rate_is_kept(path):
    trainer = make_trainer()
    trainer.learning_rate = 0.125
    trainer.save(path)
    assert fastnn.Trainer.resume(path).learning_rate == 0.125


def test_a_checkpoint_of_format_version_1_stays_readable():
    trainer = fastnn.Trainer.resume(GOLDEN / "checkpoint-1.safetensors")
    assert trainer.optimizer == fastnn.Adam(0.01)
    assert trainer.gradient == fastnn.Perturbation(1e-3, "central")
    assert (trainer.n_epochs, trainer.n_steps) == (1, 5)
    assert trainer.history.loss.tolist() == [0.75]
    assert trainer._position.batch == 2
    np.testing.assert_array_equal(np.sort(trainer._position.order), [range(11)])
    trainer.fit(X, Y)
    assert (trainer.n_epochs, trainer.n_steps) == (2, 6)
    # Queries were not counted then.
    np.testing.assert_array_equal(trainer.history.queries, [np.nan, 6 * 2 * trainer.network.n_parameters])


@pytest.mark.parametrize(
    ("options", "saved"),
    [({}, {3, 6, 9, 12, 15}), ({"every": 2}, {6, 12}), ({"every": 100, "seconds": 0}, set(range(1, 16)))],
)
def test_when_checkpoint_saves(path, monkeypatch, options, saved):
    monkeypatch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)
    steps = []
    monkeypatch.setattr(fastnn.Trainer, "save", lambda self, _: steps.append(self.n_steps))
    trainer = make_trainer()
    trainer.fit(X, Y, 5, callbacks=[Checkpoint(path, **options)])
    assert steps[0] == 0
    assert steps[-1] == 15
    assert set(steps) == saved | {0, 15}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_training_intact(path, monkeypatch, call):
    """The third save fails: the file is that of the second one, and fit can be called again."""
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 4)
    owner = files.os if call == "fsync" else Path
    real, calls = getattr(owner, call), []

    def fail(*arguments):
        calls.append(1)
        if len(calls) == 5 if call == "fsync" else len(calls) == 3:  # a save syncs the file, then the folder
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, fail)
        with pytest.raises(OSError, match="No space left"):
            trainer.fit(X, Y, 4, callbacks=[Checkpoint(path)])
    assert os.listdir(path.parent) == [path.name]
    assert fastnn.Trainer.resume(path).n_epochs == 1
    assert trainer.n_epochs == 2
    trainer.fit(X, Y, 2)
    same_bits(trainer, whole)


def test_a_folder_that_is_not_there_is_known_before_any_step(tmp_path):
    trainer = make_trainer()
    with pytest.raises(FileNotFoundError):
        trainer.fit(X, Y, callbacks=[Checkpoint(tmp_path / "none" / "run")])
    assert trainer.n_steps == 0


def test_a_generator_that_a_file_cannot_hold(path):
    trainer = make_trainer(seed=np.random.Generator(np.random.MT19937(0)))
    with pytest.raises(TypeError, match="holds generators of PCG64 or PCG64DXSM, not MT19937; make the Trainer with"):
        trainer.save(path)
    assert not path.exists()


def forge(path, describe=None, **tensors):
    """Write a checkpoint with a right checksum, as an attacker can, from a sound one."""
    trainer = make_trainer()
    trainer.fit(X, Y)
    trainer.save(path)
    _, description, arrays = files.read(path, "checkpoint")
    for name, value in (describe or {}).items():
        description[name] = value
    arrays.update(tensors)
    arrays = {name: array for name, array in arrays.items() if array is not None}
    metadata = {"format": "fastnn", "version": "1", "kind": "checkpoint", "description": json.dumps(description)}
    path.write_bytes(save(arrays, {**metadata, "sha256": files._digest(metadata, arrays)}))


def test_the_forger_can_write_a_good_checkpoint(path):
    forge(path)
    fastnn.Trainer.resume(path).fit(X, Y)


PCG64 = np.random.PCG64(0).state


@pytest.mark.parametrize(
    ("describe", "tensors"),
    [
        ({"loss": "squared"}, {}),
        ({"network": {}}, {}),
        ({"network": 3}, {}),
        ({"gradient": ["system", {}]}, {}),
        ({"gradient": ["Perturbation", {"eps": -1}]}, {}),
        ({"gradient": ["Perturbation", {"spam": 1}]}, {}),
        ({"gradient": "Adam"}, {}),
        ({"optimizer": ["Backprop", {}]}, {}),
        ({"optimizer": [["Adam"], {}]}, {}),
        ({"optimizer": ["SGD", {}]}, {}),  # without moments
        ({"batch_size": 0}, {}),
        ({"shuffle": 1}, {}),
        ({"learning_rate": -1}, {}),
        ({"learning_rate": None}, {}),
        ({"random": {"bit_generator": "MT19937"}}, {}),
        ({"random": {**PCG64, "state": {"state": "a", "inc": 1}}}, {}),
        ({"random": {**PCG64, "state": {}}}, {}),
        ({"random": {**PCG64, "state": {"state": 2**4000, "inc": -1}}}, {}),
        ({"random": []}, {}),
        ({}, {"moments": None}),
        ({}, {"moments": np.zeros((2, 21))}),
        ({}, {"moments": np.zeros((2, 26), np.float32)}),
        ({}, {"moments": np.full((2, 26), np.nan)}),
        ({}, {"history": np.zeros((3, 4))}),
        ({}, {"history": np.zeros(())}),
        ({}, {"order": np.arange(11)}),
        ({}, {"order": np.array(3)}),
        ({}, {"order": np.arange(11.0).reshape(1, -1)}),
        ({}, {"order": np.arange(1, 12).reshape(1, -1)}),
        ({}, {"order": np.zeros((1, 11), np.int64)}),
        ({}, {"order": np.array([[0, 2**62]])}),
        ({}, {"order": np.zeros((0, 10**9), np.int64)}),
        ({}, {"order": np.zeros((0, 2**59), np.int64)}),
        ({}, {"order": np.zeros((2**59, 0), np.int64)}),
        ({}, {"totals": np.zeros(2)}),
        ({}, {"counts": np.array([3, 1])}),  # within an epoch that has no order
        ({}, {"counts": np.array([-1, 0])}),
        ({}, {"counts": np.array([2**63 - 1, 0])}),
        ({}, {"counts": np.array([2**53 + 1, 0])}),
        ({"gradient": ["Perturbation", {"eps": 10**400}]}, {}),
        ({}, {"counts": np.array([3, 4]), "order": np.arange(11).reshape(1, -1)}),
        ({}, {"counts": np.array([3, -1]), "order": np.arange(11).reshape(1, -1)}),
        ({}, {"counts": np.array([3])}),
        ({}, {"layers.0.weight": np.full((3, 4), np.inf)}),
        ({}, {"layers.0.weight": None}),
        ({}, {"more": np.zeros(1)}),
    ],
    ids=repr,
)
def test_a_forged_checkpoint_is_refused(path, describe, tensors):
    forge(path, describe, **tensors)
    with pytest.raises(ValueError, match=f"^{path} does not hold a "):
        fastnn.Trainer.resume(path)


def test_the_largest_number_of_steps_is_trained_on(path):
    forge(path, counts=np.array([2**53, 0]))
    trainer = fastnn.Trainer.resume(path)
    trainer.fit(X, Y)
    assert trainer.n_steps == 2**53 + 3
    with pytest.raises(ValueError, match="is not written: .* its counts are none of training"):
        trainer.save(path)
    assert fastnn.Trainer.resume(path).n_steps == 2**53


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda trainer: trainer.network._theta.fill(np.inf), r"network.weights\[0\] has NaN or infinity"),
        (lambda trainer: trainer._update.moments.fill(np.nan), "the optimiser's state has NaN or infinity"),
        (lambda trainer: setattr(trainer, "_optimizer", fastnn.SGD()), "moments is float64 of shape"),
        (
            lambda trainer: setattr(trainer, "_network", fastnn.mlp(3, 2, output="softmax", seed=0)),
            "moments is float64",
        ),
        (lambda trainer: setattr(trainer, "_network", fastnn.mlp(3, 2, seed=0)), "needs a softmax output layer"),
    ],
)
def test_what_cannot_be_resumed_never_replaces_what_can(path, spoil, message):
    trainer = make_trainer()
    trainer.save(path)
    before = path.read_bytes()
    spoil(trainer)
    with pytest.raises(ValueError, match=message):
        trainer.save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# Rates at which the last step before the loss overflows has made weights or moments infinite, and others.
@pytest.mark.parametrize("optimizer", [fastnn.SGD, lambda lr: fastnn.SGD(lr, 0.9), fastnn.Adam])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_that_diverges_leaves_a_checkpoint_that_can_be_resumed(path, optimizer, dtype):
    x, y = np.linspace(-3, 3, 12).reshape(-1, 1) * 10, np.linspace(-40, 50, 12)
    diverged = 0
    for exponent in np.linspace(-1, 308 if dtype == "float64" else 38, 12):
        network = fastnn.mlp(1, 4, 1, hidden="relu", seed=0, dtype=dtype)
        trainer = fastnn.Trainer(network, optimizer=optimizer(10.0**exponent), gradient=fastnn.Backprop(), batch_size=4)
        try:
            trainer.fit(x, y, 8, callbacks=[Checkpoint(path, seconds=0)])
        except FloatingPointError:
            diverged += 1
        assert all(np.isfinite(w).all() for w in network.weights)
        trainer.save(path.parent / "last")
        for name in (path, path.parent / "last"):
            assert all(np.isfinite(w).all() for w in fastnn.Trainer.resume(name).network.weights)
    assert diverged > 5


def test_weights_that_a_callback_spoils_do_not_reach_the_checkpoint(path):
    class Spoil(Callback):
        def on_epoch_end(self, trainer, metrics):
            trainer.network.weights[0][:] = np.nan

    trainer = make_trainer()
    with pytest.raises(ValueError, match="NaN or infinity"):
        trainer.fit(X, Y, 3, callbacks=[Spoil(), Checkpoint(path)])
    assert fastnn.Trainer.resume(path).n_steps == 0


def test_a_network_is_no_checkpoint_nor_the_other_way_round(path):
    make_trainer().network.save(path)
    with pytest.raises(ValueError, match="holds a network, not a checkpoint"):
        fastnn.Trainer.resume(path)
    make_trainer().save(path)
    with pytest.raises(ValueError, match="holds a checkpoint, not a network"):
        fastnn.load(path)
