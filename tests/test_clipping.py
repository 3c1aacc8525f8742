"""Gradients that are clipped by their norm: steps along them against plain NumPy, for all that finds a gradient."""

import math

import naive
import numpy as np
import pytest
import test_layers
from conftest import OPTIMIZERS

import fastnn
from fastnn.hardware import Devices, Readout
from fastnn.kernels.optimizers import MODULES

GRADIENTS = [
    fastnn.Perturbation(),
    fastnn.Perturbation(evaluate="direct"),
    fastnn.Perturbation(fraction=0.5),
    fastnn.Backprop(),
    fastnn.RandomDirections(3, 0.1),
    fastnn.NodePerturbation(),
    fastnn.ForwardGradient(2),
]
# Over layers below the dense ones, what is new is who moves their weights: a few will do, as each is compiled.
CASES = [(None, gradient) for gradient in GRADIENTS] + [("conv", GRADIENTS[k]) for k in (0, 3, 4)]
CASES += [("every", fastnn.Backprop())]


def find_norm(gradients):
    return math.sqrt(sum(float((g.astype(float) ** 2).sum()) for g in gradients))


def is_near(ours, theirs, dtype="float64"):
    """Say whether weights differ by roundings.

    A norm of n squares is right to n / 2 + 2 of them, and so is what is clipped to it, of up to 3; a step of 0.1 along
    it is rounded, and so is the weight; five steps.
    """
    size = max(float(np.abs(w).max()) for w in theirs)
    n_roundings = 5 * (sum(w.size for w in theirs) / 2 + 10)
    atol = n_roundings * float(np.finfo(dtype).eps) * (size + 0.1 * 3)
    return all(np.abs(w - t).max() <= atol for w, t in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("share", [0.3, 3.0], ids=["shortened", "short"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_steps_are_those_of_plain_numpy(make_case, optimizer, share):
    """Five steps over five calls, each gradient fastnn's own."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    clip_norm = share * find_norm(case.gradient(fastnn.Backprop()))
    trainer = fastnn.Trainer(
        case.network, optimizer=optimizer, gradient=fastnn.Backprop(), clip_norm=clip_norm, batch_size=None
    )
    weights = [w.copy() for w in case.network.weights]
    step_of, kernels = naive.OPTIMIZERS[optimizer.code.name.lower()], MODULES[optimizer.code]
    rates = [getattr(optimizer, name) for name in kernels.RATES]
    moments = [[np.zeros_like(w) for w in weights] for _ in range(kernels.N_MOMENTS)]
    for step in range(1, 6):
        g = naive.clipped(case.gradient(fastnn.Backprop()), clip_norm)
        weights, moments = step_of(weights, g, moments, step, optimizer.lr, optimizer.weight_decay, *rates)
        trainer.fit(case.x, case.y)
        assert is_near(case.network.weights, weights)
        case.network.weights = weights  # gradients of the next step are of the same


@pytest.mark.late(kept=4)
@pytest.mark.parametrize(("stack", "gradient"), CASES, ids=repr)
def test_whatever_finds_the_gradient(make_case, chunks, monkeypatch, stack, gradient):
    """One step of all samples, in one block and in several; and the same bits for any number of threads."""
    optimizer = fastnn.SGD(0.1, weight_decay=0.3)

    def make():
        head = ("squared_error", "identity")
        return test_layers.Case(stack, head) if stack else make_case(head, ("tanh", 2))

    def train(clip_norm, epochs=1):
        case = make()
        options = {"gradient": gradient, "optimizer": optimizer, "clip_norm": clip_norm, "batch_size": None}
        fastnn.Trainer(case.network, shuffle=False, **options).fit(case.x, case.y, epochs)
        return case.network

    def decay(weights, g):  # recurrent layers have two matrices and a bias
        return [part + (w.ndim > 1) * optimizer.weight_decay * w for w, part in zip(weights, g, strict=True)]

    case = make()
    weights, g = [w.copy() for w in case.network.weights], case.gradient(gradient)
    norm = find_norm(g)
    for clip_norm in (0.3 * norm, 3.0 * norm):
        decayed = decay(weights, naive.clipped(g, clip_norm))
        assert is_near(train(clip_norm).weights, naive.sgd(weights, decayed, optimizer.lr))
    several = []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        several.append(train(0.3 * norm, 3)._theta.tobytes())
    assert len(set(several)) == 1
    if stack != "every":  # whose blocks are whole sequences
        monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 1)
        assert is_near(train(0.3 * norm).weights, naive.sgd(weights, decay(weights, naive.clipped(g, 0.3 * norm)), 0.1))


def test_in_blocks(make_case):
    """Of samples that are there, and of batches that come one after another."""
    trained = []
    for block_size, is_whole in ((None, True), (2, True), (2, False)):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.1), "batch_size": None, "shuffle": False}
        trainer = fastnn.Trainer(case.network, clip_norm=0.3, block_size=block_size, **options)
        trainer.fit(*((case.x, case.y, 5) if is_whole else ([(case.x, case.y)], None, 5)))
        trained.append(case.network.weights)
    assert is_near(trained[1], trained[0])
    assert all(np.array_equal(w, other) for w, other in zip(*trained[1:], strict=True))
    network = fastnn.mlp(1, 1, seed=0)
    options = {"loss": "absolute_error", "gradient": fastnn.Backprop(), "block_size": 1}
    with pytest.raises(FloatingPointError, match="a weight is not finite"):
        fastnn.Trainer(network, clip_norm=1.0, **options).fit([[1e200]], [0.0])


def test_in_float32(make_case):
    case = make_case(("squared_error", "identity"), ("tanh", 1), "float32")
    weights, g = [w.copy() for w in case.network.weights], case.gradient(fastnn.Backprop())
    clip_norm = 0.3 * find_norm(g)
    options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.1), "batch_size": None, "shuffle": False}
    fastnn.Trainer(case.network, clip_norm=clip_norm, **options).fit(case.x, case.y)
    assert all(w.dtype == np.float32 for w in case.network.weights)
    wanted = naive.sgd(weights, naive.clipped([part.astype(float) for part in g], clip_norm), 0.1)
    assert is_near(case.network.weights, wanted, "float32")


def test_more_parameters_than_parts(chunks):
    """Of a norm that is summed by many parts, some of which no thread shares evenly."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 37)), rng.normal(size=(20, 5))
    results = []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        network = fastnn.mlp(37, 41, 5, hidden="tanh", seed=0)
        weights = [w.copy() for w in network.weights]
        g = fastnn.gradient(network, x, y, method=fastnn.Backprop())
        clip_norm = find_norm(g) / 7
        options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.1), "batch_size": None, "shuffle": False}
        fastnn.Trainer(network, clip_norm=clip_norm, **options).fit(x, y)
        assert is_near(network.weights, naive.sgd(weights, naive.clipped(g, clip_norm), 0.1))
        results.append(network._theta.tobytes())
    assert len(set(results)) == 1


def test_inputs_that_are_mostly_zero(make_case):
    """Whose products go by lists: as where every zero is multiplied."""
    scipy_sparse = pytest.importorskip("scipy.sparse")
    trained = []
    for kind in (np.asarray, scipy_sparse.csr_array):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        options = {"clip_norm": 0.3, "batch_size": None, "shuffle": False}
        fastnn.Trainer(case.network, **options).fit(kind(np.where(case.x > 0.8, case.x, 0.0)), case.y, 3)
        trained.append(case.network.weights)
    assert is_near(*trained)


@pytest.mark.parametrize("gradient", [fastnn.Backprop(), fastnn.RandomDirections(3, 0.1)], ids=repr)
def test_on_devices_and_with_readings(make_case, gradient):
    """What is read is clipped, and a device's gain acts on the step as it does without."""
    lr, results = 0.1, []
    readout = None if isinstance(gradient, fastnn.Backprop) else Readout(noise=0.1)
    for clip_norm in (None, 0.25):
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        devices = Devices(gain_spread=0.3, low=-9.0, high=9.0)
        g = fastnn.gradient(case.network, case.x, case.y, method=gradient, readout=readout, devices=devices)
        gains = devices._act(case.network._theta)[1]
        flat = np.concatenate([part.ravel() for part in g]) / gains  # as the weights act
        factor = 1.0 if clip_norm is None else clip_norm / np.linalg.norm(flat)
        assert factor == 1.0 or factor < 0.5
        options = {"gradient": gradient, "devices": devices, "readout": readout, "batch_size": None, "shuffle": False}
        trainer = fastnn.Trainer(case.network, optimizer=fastnn.SGD(lr / factor), clip_norm=clip_norm, **options)
        trainer.fit(case.x, case.y)
        results.append([w.copy() for w in case.network.weights])
    assert is_near(*results)


def test_a_step_from_far_away_stays_near(make_case):
    """What a gradient of 1e100 does to SGD, and what clipping makes of it; squares that overflow are an error."""
    for size, is_seen in ((1e100, False), (1e200, True)):
        network = fastnn.mlp(1, 1, seed=0)
        before = network._theta.copy()
        options = {"loss": "absolute_error", "gradient": fastnn.Backprop(), "optimizer": fastnn.SGD(0.1)}
        trainer = fastnn.Trainer(network, clip_norm=1.0, **options)
        if is_seen:
            with pytest.raises(FloatingPointError, match="a weight is not finite at epoch 1, batch 1 of 1"):
                trainer.fit([[size]], [0.0])
            np.testing.assert_array_equal(network._theta, before)
        else:
            trainer.fit([[size]], [0.0])
            assert np.abs(network._theta - before).max() == pytest.approx(0.1)


def test_what_it_is_is_told_and_kept(tmp_path):
    trainer = fastnn.Trainer(fastnn.mlp(1, 1), clip_norm=2)
    assert trainer.clip_norm == 2.0
    assert "clip_norm   2.0" in repr(trainer)
    trainer.save(tmp_path / "run.safetensors")
    again = fastnn.Trainer.resume(tmp_path / "run.safetensors")
    assert again.clip_norm == 2.0
    assert again._update.clip_norm == 2.0
    plain = fastnn.Trainer(fastnn.mlp(1, 1))
    assert plain.clip_norm is None
    assert "clip_norm" not in repr(plain)


@pytest.mark.parametrize("clip_norm", [0, -1.0, math.inf, math.nan, "1", True])
def test_bad_norms(clip_norm):
    with pytest.raises((TypeError, ValueError), match="clip_norm must be a"):
        fastnn.Trainer(fastnn.mlp(1, 1), clip_norm=clip_norm)


@pytest.mark.torch
def test_the_same_as_pytorchs(make_case):
    import torch

    case = make_case(("squared_error", "identity"), ("tanh", 1))
    x, y = torch.from_numpy(case.x), torch.from_numpy(case.y)
    module = case.network.to_torch()
    theirs = torch.optim.Adam(module.parameters(), lr=0.1)
    options = {"gradient": fastnn.Backprop(), "optimizer": fastnn.Adam(0.1), "batch_size": None}
    trainer = fastnn.Trainer(case.network, clip_norm=0.5, **options)
    for _ in range(5):
        trainer.fit(case.x, case.y)
        theirs.zero_grad()
        ((module(x) - y) ** 2).sum(dim=1).mean().backward()
        assert torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5) > 0.5
        theirs.step()
    for w, p in zip(case.network.weights, module.parameters(), strict=True):
        # PyTorch adds 1e-6 to the norm; Adam's step is about lr whatever the size.
        np.testing.assert_allclose(w.T, p.detach().numpy(), rtol=0, atol=5 * 0.1 * 1e-5)
