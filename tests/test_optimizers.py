"""Optimisers against the plain NumPy formulas."""

from dataclasses import replace

import naive
import numpy as np
import pytest
from conftest import OPTIMIZERS

import fastnn
from fastnn.kernels.optimizers import MODULES, is_fused
from fastnn.kernels.work import Block
from fastnn.training.optimizers import OPTIMIZERS as KINDS


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_steps_are_exact(make_case, optimizer, shuffle):
    """Five steps over two calls, each gradient fastnn's own, each update NumPy's."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    trainer = fastnn.Trainer(case.network, optimizer=optimizer, batch_size=None, shuffle=shuffle)
    weights = [w.copy() for w in case.network.weights]
    twin, kernels = naive.OPTIMIZERS[optimizer.code.name.lower()], MODULES[optimizer.code]
    rates = [getattr(optimizer, name) for name in kernels.RATES]
    moments = [[np.zeros_like(w) for w in weights] for _ in range(kernels.N_MOMENTS)]
    for step in range(1, 6):
        g = case.gradient(fastnn.Perturbation())
        weights, moments = twin(weights, g, moments, step, optimizer.lr, optimizer.weight_decay, *rates)
        trainer.fit(case.x, case.y)
        for ours, theirs in zip(case.network.weights, weights, strict=True):
            # Adam's beta**step is a power of libm's, not NumPy's; SGD without more adds the products to the weights.
            if isinstance(optimizer, fastnn.Adam | fastnn.AdamW) or optimizer == fastnn.SGD(0.1):
                np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15)
            else:
                np.testing.assert_array_equal(ours, theirs)
    assert trainer.n_steps == 5


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_float32_stays_float32(make_case, optimizer):
    case = make_case(("squared_error", "identity"), ("tanh", 1), "float32")
    trainer = fastnn.Trainer(case.network, optimizer=optimizer)
    before = [w.copy() for w in case.network.weights]
    trainer.fit(case.x, case.y, epochs=3)
    assert all(w.dtype == np.float32 for w in case.network.weights)
    assert trainer._update.moments.dtype == np.float32
    assert all((now != then).any() for now, then in zip(case.network.weights, before, strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_learning_rate_zero_leaves_the_weights(make_case, optimizer):
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    before = [w.copy() for w in case.network.weights]
    fastnn.Trainer(case.network, optimizer=replace(optimizer, lr=0.0)).fit(case.x, case.y, epochs=2)
    for now, then in zip(case.network.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("method", [fastnn.Perturbation(), fastnn.Perturbation(evaluate="direct"), fastnn.Backprop()])
@pytest.mark.parametrize("n_chunks", [1, 2])
def test_plain_sgd_decays_too(make_case, chunks, monkeypatch, method, n_chunks):
    """The one optimiser whose steps are fused with the gradient, else: also when a batch is of several blocks."""
    chunks(n_chunks)
    case = make_case(("squared_error", "identity"), ("tanh", 2))
    start = [w.copy() for w in case.network.weights]
    optimizer = fastnn.SGD(0.1, weight_decay=0.3)
    g = naive.decayed(start, case.gradient(method), optimizer.weight_decay)
    for budget in (None, 1):
        if budget:
            monkeypatch.setattr("fastnn._engine.workspace.BUDGET", budget)
        case.network.weights = start
        fastnn.Trainer(case.network, gradient=method, optimizer=optimizer, batch_size=None, shuffle=False).fit(
            case.x, case.y
        )
        for ours, theirs in zip(case.network.weights, naive.sgd(start, g, optimizer.lr), strict=True):
            # Blocks change the order of a sum over 5 samples of terms of about 1.
            np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


def test_only_the_gradient_is_fused():
    block = Block(0, 0, 1, 1, True, True)
    fused = getattr(is_fused, "py_func", is_fused)
    theta = np.zeros(3)
    for optimizer in OPTIMIZERS:
        assert bool(fused(optimizer.make_update(theta), block)) == (optimizer == fastnn.SGD(0.1))
    assert not fused(fastnn.SGD(0.1, weight_decay=1e-300).make_update(theta), block)
    assert not fused(fastnn.SGD(0.1).make_update(theta)._replace(clip_norm=1e300), block)
    assert not fused(fastnn.SGD(0.1).make_update(theta), block._replace(closes=False))


@pytest.mark.torch
def test_the_same_as_pytorchs(make_case):
    """With biases in a group of their own, which does not decay: there a bias would."""
    import torch

    common = {"weight_decay": 0.3}
    pairs = [
        (fastnn.SGD(0.1, **common), torch.optim.SGD, {"lr": 0.1, **common}),
        (
            fastnn.SGD(0.1, 0.9, nesterov=True, **common),
            torch.optim.SGD,
            {"lr": 0.1, "momentum": 0.9, "nesterov": True, **common},
        ),
        (fastnn.Adam(0.01, **common), torch.optim.Adam, {"lr": 0.01, **common}),
        (fastnn.AdamW(0.01, **common), torch.optim.AdamW, {"lr": 0.01, **common}),
        (fastnn.AdamW(), torch.optim.AdamW, {}),
        (fastnn.RMSprop(**common), torch.optim.RMSprop, common),
        (fastnn.Adagrad(0.1, **common), torch.optim.Adagrad, {"lr": 0.1, **common}),
    ]
    for ours, kind, options in pairs:
        case = make_case(("squared_error", "identity"), ("tanh", 1))
        x, y = torch.from_numpy(case.x), torch.from_numpy(case.y)
        module = case.network.to_torch()
        biases = [p for p in module.parameters() if p.ndim == 1]
        theirs = kind(
            [{"params": [p for p in module.parameters() if p.ndim == 2]}, {"params": biases, "weight_decay": 0.0}],
            **options,
        )
        trainer = fastnn.Trainer(case.network, gradient=fastnn.Backprop(), optimizer=ours, batch_size=None)
        for _ in range(5):
            trainer.fit(case.x, case.y)
            theirs.zero_grad()
            ((module(x) - y) ** 2).sum(dim=1).mean().backward()
            theirs.step()
        for w, p in zip(case.network.weights, module.parameters(), strict=True):
            # Five steps of lr = 0.1 along gradients of size 10 at most, each right to 100 roundings.
            atol = 5 * 0.1 * 10 * 100 * np.finfo(float).eps
            np.testing.assert_allclose(w.T, p.detach().numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_weight_decay(kind):
    with pytest.raises(ValueError, match="weight_decay must be a finite number >= 0, got -0.1"):
        kind(weight_decay=-0.1)
    with pytest.raises(TypeError, match="weight_decay must be a real number, got None"):
        kind(weight_decay=None)
