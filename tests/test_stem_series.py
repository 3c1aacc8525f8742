"""Series of weights that are met at every step: which of them are taken, and how right those are."""

import numpy as np
import pytest
from test_layers import DTYPES, LSTM, RNN, Case, Dense, Embedding, Max, Repeat

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import loop, workspace
from fastnn._engine.workspace import make_data, make_work
from fastnn.kernels.layers.maps import MEASURED, ONE_TERM, TWO_TERMS
from fastnn.kernels.losses import Loss
from fastnn.kernels.stem_series import run_recurrent
from fastnn.kernels.work import Block, Method

MANY = {"return_sequences": True}
CROSS_ENTROPY, SQUARED = ("categorical_cross_entropy", "softmax"), ("squared_error", "identity")
# Name: layers and head, and what is found of each layer's weights by two terms of a forward difference.
SECOND = {
    "last step": (((6, 3), [RNN(4, "tanh")]), CROSS_ENTROPY, [TWO_TERMS]),
    "every step": (((5, 3), [RNN(4, "sigmoid", **MANY)]), ("squared_error", "softmax"), [TWO_TERMS]),
    "one step": (((1, 3), [RNN(4, "softplus")]), SQUARED, [TWO_TERMS]),
    "deep head": (
        ((4, 2), [RNN(3, "tanh", **MANY), Dense(5, "tanh"), Dense(2, "sigmoid")]),
        ("binary_cross_entropy", "sigmoid"),
        [TWO_TERMS],
    ),
    "straight": (((4, 3), [RNN(3, "identity")]), SQUARED, [TWO_TERMS]),
    "below": (((4, 3), [Dense(3, "tanh"), RNN(4, "silu")]), SQUARED, [MEASURED, TWO_TERMS]),
    "two": (((3, 2), [RNN(3, "tanh", **MANY), RNN(3, "tanh")]), CROSS_ENTROPY, [MEASURED, TWO_TERMS]),
    "from one": ((3, [Repeat(4), RNN(3, "tanh", **MANY)]), CROSS_ENTROPY, [MEASURED, TWO_TERMS]),
    "tokens": ((4, [Embedding(5, 3), RNN(3, "tanh")]), CROSS_ENTROPY, [MEASURED, TWO_TERMS]),
    "gates": (((4, 3), [LSTM(3)]), CROSS_ENTROPY, [MEASURED]),
    "flattened": (((3, 2), [RNN(3, "tanh", **MANY), fastnn.Flatten()]), SQUARED, [MEASURED]),
    "kink": (((3, 2), [RNN(3, "relu")]), SQUARED, [MEASURED]),
    "kink above": (((3, 2), [RNN(3, "tanh"), Dense(3, "leaky_relu")]), SQUARED, [MEASURED]),
    "kink of the loss": (((3, 2), [RNN(3, "tanh")]), ("huber", "identity"), [MEASURED]),
    "image": (((4, 4, 1), [fastnn.Conv2D(2, 2, "tanh"), Max(2)]), SQUARED, [MEASURED, MEASURED]),
}


@pytest.fixture
def verdicts(monkeypatch):
    """What was found in the last step, of each layer below the dense ones, by the first thread."""
    monkeypatch.setattr(workspace, "_kept", {})

    def find():
        *_, work = workspace._kept.values()
        return work.stem.verdicts[0].tolist()

    return find


def errors(case, found, truth):
    """Return the largest error of each array, as a share of what is largest in its layer."""
    sizes = [max(float(np.abs(t).max()) for t in truth)] * len(truth)
    return [float(np.abs(f - t).max()) / size for f, t, size in zip(found, truth, sizes, strict=True)]


@pytest.mark.parametrize("name", SECOND)
def test_two_terms(verdicts, name):
    """At this eps one term is a thousand tolerances off, and three would be no better than two."""
    stack, head, wanted = SECOND[name]
    case, eps = Case(stack, head), 1e-5
    found = case.gradient(fastnn.Perturbation(eps))
    assert verdicts() == wanted
    truth, _ = case.truth(eps=eps)
    # The third term: eps**2 times derivatives of these small networks, of the size of the first. And the rounding of
    # the truth's own losses, of size 1, over eps.
    allowed = 20 * eps**2 + 200 * np.finfo(float).eps + 100 * float(np.finfo(np.longdouble).eps) / eps
    assert max(errors(case, found, truth)) <= allowed
    if TWO_TERMS in wanted and name != "straight":
        n_arrays = 2 if name == "tokens" else 3 * len(wanted)
        one = errors(case, case.gradient(fastnn.Backprop()), truth)
        assert max(one[:n_arrays]) > 100 * allowed


@pytest.mark.parametrize("name", SECOND)
def test_central_differences_take_one_term(verdicts, name):
    stack, head, wanted = SECOND[name]
    case, eps = Case(stack, head), 1e-5
    found = case.gradient(fastnn.Perturbation(eps, "central"))
    is_smooth = name in ("gates", "flattened") or TWO_TERMS in wanted
    assert verdicts() == [(ONE_TERM if is_smooth else MEASURED) if n else MEASURED for n in count_weights(case)]
    truth, _ = case.truth(eps=eps, scheme="central")
    allowed = 20 * eps**2 + 200 * np.finfo(float).eps + 100 * float(np.finfo(np.longdouble).eps) / eps
    assert max(errors(case, found, truth)) <= allowed


def count_weights(case):
    """Return of each layer below the dense ones how many weights it has."""
    return [level.n_inputs for level in case.network._layout.plan.levels[1:]]


@pytest.mark.late
def test_small_perturbations_of_float32_take_one_term(verdicts):
    """At eps = 1e-7 the second term is below the rounding of float32."""
    case = Case(((6, 3), [RNN(4, "tanh")]), dtype="float32")
    found = case.gradient(fastnn.Perturbation(1e-7))
    assert verdicts() == [ONE_TERM]
    truth, _ = case.truth(eps=1e-7)
    assert max(errors(case, found, truth)) <= 20 * np.finfo("float32").eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_perturbations_are_measured(verdicts, dtype):
    case = Case(((4, 3), [RNN(3, "tanh")]), dtype=dtype)
    for scheme in ("forward", "central"):
        found = case.gradient(fastnn.Perturbation(0.5, scheme))
        assert verdicts() == [MEASURED]
        direct = case.gradient(fastnn.Perturbation(0.5, scheme, "direct"))
        for ours, theirs in zip(found[:3], direct[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_does_not_count_is_not_asked(verdicts):
    """Samples whose weight is 0 say nothing; of inputs that are all zero the biases do."""
    for seed in range(4):
        case = Case(((3, 40), [RNN(3, "tanh")]), SQUARED, n_samples=4, seed=seed)
        case.x[:] = 0.0
        weights = [0.0] * 4
        weights[seed] = 4.0
        found = case.gradient(fastnn.Perturbation(1e-5), sample_weight=weights)
        assert verdicts() == [TWO_TERMS]
        truth, _ = case.truth(eps=1e-5, sample_weight=weights)
        assert max(errors(case, found, truth)) <= 1e-8
    # Nothing at all: outputs that are right, of every sample.
    case.network.weights[-2][:] = 0.0
    case.y[:] = case.network.weights[-1]
    for ours in case.gradient(fastnn.Perturbation(1e-5))[:3]:
        assert not ours.any()
    assert verdicts() == [ONE_TERM]


def test_blocks_and_threads(monkeypatch, chunks):
    """Blocks of few samples give the same sums in another order; chunks the same bits."""
    case = Case(((5, 3), [RNN(4, "tanh", **MANY)]), n_samples=7)
    found = []
    for n_chunks in (1, 2, 3):
        chunks(n_chunks)
        found.append(case.gradient(fastnn.Perturbation(1e-5)))
        for ours, theirs in zip(found[-1], found[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 15_000)
    assert 1 < len(make_work(case.network._layout, 7, Method.SERIES, case.network.dtype, 1).stem.second) < 7
    for ours, theirs in zip(case.gradient(fastnn.Perturbation(1e-5)), found[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14 * max(np.abs(t).max() for t in found[0]))


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
def test_a_step_that_nobody_wants_is_left():
    case = Case(((4, 3), [RNN(3, "tanh")]), SQUARED)
    layout, theta, method = case.network._layout, case.network._theta, fastnn.Perturbation(1e-5)
    work = make_work(layout, 3, method.method, theta.dtype, 1)
    task = method.make_task(Loss.SQUARED_ERROR, theta.dtype, 1)
    data = make_data(case.x.reshape(3, -1), case.y)
    packed = (layout, theta, data, loop.rest(theta), work), work.stem
    loop.take_steps(layout, theta, data, task, loop.rest(theta), work, 3, 0, 1, 0, np.zeros((1, 2)))
    work.stem.second[:] = 0.0
    work.stop[0] = 1
    run_recurrent.function(packed, Block(0, 0, 3, 3, True, True), task, 1, 0)
    assert not work.stem.second.any()
