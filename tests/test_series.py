"""The series, its bound from both sides, and what goes to the direct kernel instead."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import BODIES, HEADS
from test_gradients import bound, largest_difference

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import loop, workspace
from fastnn.kernels.losses import MODULES, Loss
from fastnn.kernels.work import BOUND, DIRECT, REACH, SIZE, Method
from fastnn.training import gradients

SMOOTH = [body for body in BODIES if "relu" not in body[0]]


def measure(case, method, **changes):
    """Return the work room after a gradient was measured with a changed task, and the gradient."""
    network = case.network
    loss = Loss[case.loss.upper()]
    task = method.make_task(loss, network.dtype, 1)._replace(**changes)
    data = gradients.check_data(network, loss, case.x, case.y)
    work = workspace.make_work(network._layout, len(case.x), Method.SERIES, network.dtype, 1)
    theta = network._theta
    arguments = network._layout, theta, data, task, loop.rest(theta), work
    loop.take_steps(*arguments, len(case.x), 0, 1, 0, np.zeros((1, 2)))
    return work, workspace.split(network._layout, work.gradient)


def marks(case, method, layer):
    """Return from which size on inputs are measured directly, (n_samples, n_units); inf where none is."""
    work = measure(case, method)[0]
    direct = workspace.view(case.network._layout, work, DIRECT, layer + 1, len(case.x))
    return np.minimum(direct, work.checks[REACH, layer][:, None])


def count_marks(case, method):
    """Return in how many units of samples some input may be measured directly."""
    return sum(int(np.isfinite(marks(case, method, layer)).sum()) for layer in range(len(case.network.layers)))


@pytest.mark.grid
@pytest.mark.parametrize("body", SMOOTH, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("head", [head for head in HEADS if "relu" not in head[1]], ids="-".join)
def test_the_bound_bounds(make_case, head, body):
    """With any remainder tolerated, the error is below the bound."""
    hold_to_the_bound(make_case(head, body, n_samples=3))


def hold_to_the_bound(case):
    for scheme, n_terms in (("forward", 3), ("forward", 2), ("central", 3), ("central", 1)):
        for eps in (1e-3, 1e-2, 0.1):
            method = fastnn.Perturbation(eps, scheme)
            work, measured = measure(case, method, tolerance=np.inf, enough=np.inf, n_terms=n_terms)
            truth, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = work.checks[BOUND].sum(axis=1)
            rounding = bound(case, sizes, eps)
            for layer in range(len(allowed)):
                parts = slice(2 * layer, 2 * layer + 2)
                assert largest_difference(measured[parts], truth[parts]) <= allowed[layer] + rounding


@pytest.mark.grid
@pytest.mark.parametrize("body", SMOOTH, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "categorical_cross_entropy"])
def test_the_bound_bounds_what_is_nearly_learned(make_case, loss, body):
    """Outputs that are nearly certain and right, so that the bound is a small part of what it is elsewhere."""
    output = "sigmoid" if loss == "binary_cross_entropy" else "softmax"
    case = make_case((loss, output), body, n_samples=3)
    unsure, _ = measure(case, fastnn.Perturbation(1e-4), tolerance=np.inf)
    case.network.weights[-1][:] = [15.0, -15.0, -15.0]
    case.y[:] = [1.0, 0.0, 0.0]
    sure, _ = measure(case, fastnn.Perturbation(1e-4), tolerance=np.inf)
    assert sure.checks[BOUND, -1].mean() < 0.01 * unsure.checks[BOUND, -1].mean()
    hold_to_the_bound(case)


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "softplus", "relu", "leaky_relu"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_deep_networks_keep_their_series(hidden, dtype):
    """Weights as they are drawn, and twice as large."""
    if JIT_DISABLED and (dtype == "float32" or hidden not in ("tanh", "relu")):
        pytest.skip("a minute of plain Python")
    sizes = (100, 60, 50, 40, 10)
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 100)), rng.integers(0, 10, 8)
    for scale in (1.0, 2.0):
        network = fastnn.mlp(*sizes, hidden=hidden, output="softmax", seed=0, dtype=dtype)
        for w in network.weights:
            w *= scale
        case = SimpleNamespace(network=network, loss="categorical_cross_entropy", x=x, y=y)
        for scheme in ("forward", "central"):
            count = count_marks(case, fastnn.Perturbation(1e-4, scheme=scheme))
            # A rectifier is at its kink now and then.
            assert count <= (0.01 * len(x) * sum(sizes[1:]) if "relu" in hidden else 0)


@pytest.mark.skipif(JIT_DISABLED, reason="plain Python is too slow for so many layers")
@pytest.mark.parametrize("loss", ["squared_error", "binary_cross_entropy", "categorical_cross_entropy"])
def test_a_bound_beyond_all_numbers_keeps_nothing(loss):
    """Majorants that overflow in a deep network and meet the identity's second derivative, 0, are not numbers."""
    output = {"squared_error": "identity", "binary_cross_entropy": "sigmoid", "categorical_cross_entropy": "softmax"}
    rng = np.random.default_rng(0)
    hidden = ["tanh", "tanh", "identity"] * 40
    layers = [fastnn.Dense(16, activation) for activation in hidden] + [fastnn.Dense(2, output[loss])]
    network = fastnn.Network(2, layers, seed=0)
    for w in network.weights[::2]:
        w[:] = rng.normal(scale=0.4, size=w.shape)
    case = SimpleNamespace(network=network, loss=loss, x=rng.normal(size=(1, 2)), y=np.array([[1.0, 0.0]]))
    work, _ = measure(case, fastnn.Perturbation(0.1), strict=True)  # refused, so that nothing is measured directly
    assert np.isinf(work.checks[BOUND, 0, 0])
    assert work.checks[REACH, 0, 0] == 0.0
    with pytest.raises(ValueError, match="evaluate='series' is not accurate here"):
        fastnn.gradient(network, case.x, case.y, loss=loss, method=fastnn.Perturbation(0.1, evaluate="series"))


def test_all_samples_are_kept_while_the_mean_of_their_bounds_is_small(make_case):
    """One sample with larger inputs among forty, and then twenty."""
    case = make_case(("squared_error", "identity"), ("tanh", 1), n_samples=40)
    case.x[:], case.y[:] = [1.0, -0.5, 0.5], case.y[0]
    case.x[0] *= 3
    work, _ = measure(case, fastnn.Perturbation(1e-4))
    bounds, allowed = work.checks[BOUND, 0], gradients.TOLERANCE * work.checks[SIZE, 0].mean()
    assert 4 * bounds.mean() < bounds.max()
    # Bounds grow with eps**3: one that puts what is allowed between the two.
    eps = 1e-4 * np.cbrt(allowed / bounds.mean() / 2)
    assert not np.isfinite(marks(case, fastnn.Perturbation(eps), 0)).any()
    case.x[:20] = case.x[0]
    assert np.isfinite(marks(case, fastnn.Perturbation(eps), 0)[:20]).all()


def test_small_nudges_keep_the_series_and_large_ones_do_not(make_case):
    case = make_case(("squared_error", "identity"), ("sigmoid", 2))
    for eps in (1e-8, 1e-6, 1e-4):
        assert count_marks(case, fastnn.Perturbation(eps)) == 0
        case.gradient(fastnn.Perturbation(eps, evaluate="series"))
    for eps in (0.1, 1.0):
        assert count_marks(case, fastnn.Perturbation(eps)) > 0
        direct = case.gradient(fastnn.Perturbation(eps, evaluate="direct"))
        # The output layer's series is exact (a quadratic), and keeps its own rounding.
        allowed = 1e-13 * max(float(np.abs(g).max()) for g in direct)
        assert largest_difference(case.gradient(fastnn.Perturbation(eps)), direct) <= allowed
        with pytest.raises(ValueError, match="evaluate='series' is not accurate here: .* use evaluate='auto'"):
            case.gradient(fastnn.Perturbation(eps, evaluate="series"))


def test_float32_takes_the_third_term_where_it_is_needed(make_case):
    """Inputs large enough that two terms leave out too much, and three do not."""
    case = make_case(("squared_error", "identity"), ("sigmoid", 1), "float32")
    case.x *= 20
    task = fastnn.Perturbation(1e-4).make_task(Loss.SQUARED_ERROR, case.network.dtype, 1)
    assert task.n_terms == 2
    work, _ = measure(case, fastnn.Perturbation(1e-4), n_terms=3)
    needed = work.checks[SIZE].mean(axis=1) * task.tolerance
    assert (work.checks[BOUND] <= needed[:, None]).all()
    case.gradient(fastnn.Perturbation(1e-4, evaluate="series"))  # not refused
    truth, sizes = case.truth()
    allowed = bound(case, sizes, 1e-4, "float32") + task.tolerance * len(case.x) * max(float(s.max()) for s in sizes)
    assert largest_difference(case.gradient(fastnn.Perturbation(1e-4)), truth) <= allowed


def test_a_refused_series_takes_no_step(make_case):
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    before = case.network.weights[0].copy()
    trainer = fastnn.Trainer(case.network, gradient=fastnn.Perturbation(1.0, evaluate="series"))
    with pytest.raises(ValueError, match="evaluate='series' is not accurate here"):
        trainer.fit(case.x, case.y)
    np.testing.assert_array_equal(case.network.weights[0], before)
    assert trainer.n_steps == 0


@pytest.mark.parametrize("head", HEADS, ids="-".join)
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "softplus", "relu"])
def test_pixels(make_case, head, hidden):
    """Inputs from 0 to 255 go to the direct kernel in the first layer, where they must."""
    case = make_case(head, (hidden, 2))
    case.x = np.round(np.abs(case.x) * 100).clip(0, 255)
    for w in case.network.weights[:1]:
        w /= 100
    for eps in (1e-4, 1e-2):
        truth, sizes = case.truth(eps=eps)
        allowed = bound(case, sizes, eps) + gradients.TOLERANCE * len(case.x) * max(float(s.max()) for s in sizes)
        assert largest_difference(case.gradient(fastnn.Perturbation(eps)), truth) <= allowed


@pytest.mark.parametrize("hidden", ["sigmoid", "tanh", "softplus"])
def test_saturated_units(make_case, hidden):
    case = make_case(("squared_error", "identity"), (hidden, 2))
    for w in case.network.weights[:1]:
        w *= 30
    truth, sizes = case.truth()
    allowed = bound(case, sizes, 1e-4) + gradients.TOLERANCE * len(case.x) * max(float(s.max()) for s in sizes)
    assert largest_difference(case.gradient(fastnn.Perturbation(1e-4)), truth) <= allowed


@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_only_units_at_a_kink_are_measured_directly(make_case, hidden):
    case = make_case(("squared_error", "identity"), (hidden, 2), n_samples=40)
    method = fastnn.Perturbation(1e-4)
    assert count_marks(case, method) < 0.02 * 40 * (4 + 3 + 3)
    z = case.network.forward(case.x).pre_activations[0][7]
    case.network.weights[1][0] -= z[0]  # put unit 0 of sample 7 on its kink
    marked = marks(case, method, 0)
    assert marked[7, 0] < 1e-10  # of rounding, over eps
    assert np.isinf(marked[7, 1:]).all()
    case.gradient(fastnn.Perturbation(1e-4, evaluate="series"))  # a kink is no reason to refuse


@pytest.mark.parametrize(
    ("hidden", "kink"), [("relu", 0.0), ("leaky_relu", 0.0), *(("hard_sigmoid", z) for z in (-3, 3))]
)
@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("place", [0.0, 0.99, -0.99, 1.01])
def test_kinks_in_any_level_are_exact(make_case, hidden, kink, level, place):
    """A unit stands at a kink, where a nudge just reaches, or where it just does not."""
    eps = 1e-3
    for output in ("identity", hidden):
        case = make_case(("squared_error", output), (hidden, 3), n_samples=8)
        for unit in range(case.network.layers[level - 1].n_units):  # the first at the kink in sample 0, and so on
            z = case.network.forward(case.x).pre_activations[level - 1][unit, unit]
            reach = max(1.0, np.abs(case.x[unit]).max()) if level == 1 else 1.0
            case.network.weights[2 * level - 1][unit] += kink + place * eps * reach - z
        if place == 0.0 or (level == 1 and abs(place) < 1.0):
            assert count_marks(case, fastnn.Perturbation(eps)) > 0
        for scheme in ("forward", "central"):
            truth, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps) + gradients.TOLERANCE * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), truth) <= allowed


@pytest.mark.parametrize("loss", [code for code in Loss if np.isfinite(MODULES[code].KINK)], ids=lambda code: code.name)
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("place", [0.0, 0.99, -0.99, 1.01])
def test_kinks_of_a_loss_are_exact(make_case, loss, depth, place):
    """An output's error stands at the kink, where a nudge just reaches it, or where it just does not."""
    eps = 1e-3
    for output in ("identity", "silu"):
        case = make_case((loss.name.lower(), output), ("tanh", depth))
        count = count_marks(case, fastnn.Perturbation(eps))
        for unit, a in enumerate(np.diag(case.network.predict(case.x))):  # the first's in sample 0, and so on
            case.y[unit, unit] = a - (MODULES[loss].KINK + place * eps)
        if output == "identity" and abs(place) < 1.0:  # silu moves less than its z
            assert count_marks(case, fastnn.Perturbation(eps)) >= count + 3
        for scheme in ("forward", "central"):
            truth, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps) + gradients.TOLERANCE * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), truth) <= allowed


SIZES = np.array([300.0, 1e-3, 1.0])  # of columns


@pytest.mark.grid
@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body[1]}x{body[0]}")
@pytest.mark.parametrize("head", HEADS, ids="-".join)
def test_columns_of_very_different_sizes(make_case, head, body):
    """Each input goes the way that its own nudge asks for."""
    for dtype, tolerance in (("float64", gradients.TOLERANCE), ("float32", gradients.TOLERANCE32)):
        case = make_case(head, body, dtype)
        case.x = (case.x * SIZES).astype(dtype)
        case.network.weights[0][:] /= SIZES[:, None]
        for scheme, eps in (("forward", 1e-4), ("central", 1e-4), ("forward", 1e-2)):
            truth, sizes = case.truth(eps=eps, scheme=scheme)
            allowed = bound(case, sizes, eps, dtype) + tolerance * len(case.x) * max(float(s.max()) for s in sizes)
            assert largest_difference(case.gradient(fastnn.Perturbation(eps, scheme)), truth) <= allowed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_inputs_leave_the_others_their_series(make_case, dtype):
    """Three samples with one large input each: only that is measured directly, in every unit."""
    case = make_case(("squared_error", "identity"), ("tanh", 1), dtype, n_samples=40)
    case.x[case.x == 0.0] = 0.5
    case.x[:3, 0] = 2000.0
    case.network.weights[0][0] = 0.0
    reach = marks(case, fastnn.Perturbation(1e-4), 0).min(axis=1)
    assert np.isinf(reach[3:]).all()
    assert (np.abs(case.x[:3, 1:]).max(axis=1) < reach[:3]).all()
    assert (reach[:3] <= 2000.0).all()
    # As if it were the largest: the bound of such a nudge is what is allowed.
    work, _ = measure(case, fastnn.Perturbation(1e-4))
    allowed = work.checks[SIZE, 0].sum()
    case.x[:3, 0] = reach[:3]
    fewer, _ = measure(case, fastnn.Perturbation(1e-4))
    tolerance = gradients.TOLERANCE if dtype == "float64" else gradients.TOLERANCE32
    assert (len(case.x) * fewer.checks[BOUND, 0, :3] <= tolerance * allowed).all()


@pytest.mark.parametrize("hidden", ["relu", "leaky_relu"])
def test_a_kink_is_reached_by_the_inputs_that_are_large_enough(make_case, hidden):
    """One nudge of three takes a unit's z to its kink; by half, one of the level above."""
    case = make_case(("squared_error", "identity"), (hidden, 2), n_samples=1)
    case.x[0] = [100.0, 1.0, -10.0]
    W1, b1, W2, b2, *_ = case.network.weights
    W1[0] = 0.0
    b1[:], W2[:], b2[:] = 5.0 - case.x[0] @ W1, 0.5, 1.0
    b1[1] += 2e-3 - 5.0
    b2[2] -= case.network.forward(case.x).pre_activations[1][0, 2] - 4e-3
    wanted = np.full(4, 80.0)  # half of it is 4e-3
    wanted[1] = 20.0
    np.testing.assert_allclose(marks(case, fastnn.Perturbation(1e-4), 0)[0], wanted, rtol=1e-5)
    truth, sizes = case.truth(eps=1e-4)
    allowed = bound(case, sizes, 1e-4)
    assert largest_difference(case.gradient(fastnn.Perturbation(1e-4)), truth) <= allowed


@pytest.mark.skipif(JIT_DISABLED, reason="plain Python takes chunks in turn, and BLAS's bits vary")
@pytest.mark.parametrize("hidden", ["relu", "tanh"])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_bits_of_large_inputs_do_not_depend_on_the_chunks(chunks, make_case, hidden, depth):
    case = make_case(("categorical_cross_entropy", "softmax"), (hidden, depth), n_samples=20)
    case.x = case.x * SIZES
    results = []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        results.append(case.gradient(fastnn.Perturbation(1e-3)))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("body", [(100, 60, 10), (100, 60, 40, 10)])
def test_pixels_keep_their_series(body):
    """In float32, with rectifiers and the usual loss, 0 to 255 are no reason to measure many weights directly."""
    network = fastnn.mlp(*body, hidden="relu", output="softmax", seed=0, dtype="float32")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 100)) * (rng.random((20, 100)) < 0.2)
    case = SimpleNamespace(network=network, loss="categorical_cross_entropy", x=x, y=rng.integers(0, 10, 20))
    assert count_marks(case, fastnn.Perturbation(1e-4)) <= 0.02 * len(x) * sum(body[1:])


def test_a_series_that_would_cancel_is_not_put_in(make_case):
    """Its third term is so much larger than the first that to take it off again would leave rounding alone."""
    case = make_case(("squared_error", "identity"), ("tanh", 1))
    case.x[0, 0] = 1e7
    case.network.weights[0][0] = 0.0
    work, measured = measure(case, fastnn.Perturbation(1e-4))
    direct = workspace.view(case.network._layout, work, DIRECT, 1, len(case.x))
    assert not direct[0].any()
    assert np.isinf(direct[1:]).all()
    truth, sizes = case.truth(eps=1e-4)
    allowed = bound(case, sizes, 1e-4) + gradients.TOLERANCE * len(case.x) * max(float(s.max()) for s in sizes)
    assert largest_difference(measured, truth) <= allowed


def fit(hidden, x, method):
    network = fastnn.mlp(x.shape[1], 6, 1, hidden=hidden, seed=0)
    trainer = fastnn.Trainer(network, gradient=method, optimizer=fastnn.SGD(1e-9), batch_size=6)
    trainer.fit(x, x[:, 0], epochs=2)
    trainer.fit(x, x[:, 0], epochs=2)


def test_a_fit_that_measures_directly_warns_once(monkeypatch):
    x = np.random.default_rng(0).normal(size=(12, 8))
    monkeypatch.setattr(loop, "PATIENCE", 0.0)
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)  # a call a step
    large = r"a step takes \d+ times as long .* with inputs up to [\d.e+]+, nudges of eps=0.0001 .* Scale the inputs"
    with pytest.warns(UserWarning, match=large) as caught:
        fit("tanh", 1000 * x, fastnn.Perturbation(1e-4))
    assert [warning.filename for warning in caught] == [__file__] * 2  # once a fit
    with pytest.warns(UserWarning, match="eps=1 are too large"):
        fit("tanh", x, fastnn.Perturbation(1.0))
    with pytest.warns(UserWarning, match="eps=1 are too large"):
        fastnn.update_weights(
            x, x[:, :1], [np.ones((8, 6)), np.zeros(6), np.ones((6, 1)), 0.0], 4, lr=1e-9, eps=1.0, hidden="tanh"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit("tanh", x, fastnn.Perturbation(1e-4))
        fit("relu", 1000 * x, fastnn.Perturbation())
        fit("relu", x, fastnn.Perturbation(1e-4))  # a kink now and then
        fit("tanh", 1000 * x, fastnn.Perturbation(1e-4, evaluate="direct"))
        fit("tanh", 1000 * x, fastnn.Backprop())
        monkeypatch.setattr(loop, "PATIENCE", 1000.0)  # so short a fit is no trouble
        fit("tanh", 1000 * x, fastnn.Perturbation(1e-4))


def test_training_by_series_and_directly_is_the_same(make_case):
    results = []
    for evaluate in ("auto", "direct"):
        case = make_case(("categorical_cross_entropy", "softmax"), ("tanh", 2), n_samples=20)
        gradient = fastnn.Perturbation(1e-4, evaluate=evaluate)
        fastnn.Trainer(case.network, loss=case.loss, gradient=gradient, batch_size=8).fit(case.x, case.y, epochs=20)
        results.append(np.concatenate([w.ravel() for w in case.network.weights]))
    np.testing.assert_allclose(*results, atol=40 * gradients.TOLERANCE)
