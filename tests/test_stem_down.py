"""Convolutions below straight ones, whose perturbations meet what is pulled down: exact, chosen by price."""

import dataclasses

import numpy as np
import pytest
from test_layers import DTYPES, ROUNDINGS, Average, Case, Conv, Dense, Flatten, Max

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import loop, program
from fastnn._engine.plan import find_plan
from fastnn._engine.workspace import make_data, make_work
from fastnn.kernels.layers.maps import DOUBTS
from fastnn.kernels.losses import Loss
from fastnn.kernels.stem_down import run_stem_down, run_stem_found
from fastnn.kernels.work import Block

# Stacks, and which of their layers meet what is pulled down.
PULLED = {
    "pools": (((8, 8, 1), [Conv(4, 3, "relu"), Max(2), Conv(6, 2, "relu", padding="same"), Max(2, 1)]), (0,)),
    "every kind": ("pulled", (0, 2)),
    # The lowest may bend; windows that overlap or leave something out, and no kinks but theirs.
    "windows": (
        (
            (8, 10, 1),
            [
                *(Max((1, 2), 1), Conv(3, 3, "tanh", padding="same"), Average(2, 1), Max(3, 2)),
                *(Conv(8, 3, "identity", strides=(1, 2), padding="same"), Max((2, 1), 1)),
            ],
        ),
        (1,),
    ),
    # That of the one in the middle does not pay by itself.
    "between": (((5, 5, 1), [Conv(4, 2, "relu"), Conv(1, 1, "relu"), Conv(4, 3, "relu", padding="same")]), (0, 1)),
}


def count_doubts(case, eps):
    """Return how many kinks rows are pulled down for in the last sample, -1 if all is carried up."""
    layout, theta, method = case.network._layout, case.network._theta, fastnn.Perturbation(eps)
    n = len(case.x)
    task = method.make_task(Loss.CATEGORICAL_CROSS_ENTROPY, theta.dtype, 1)
    work = make_work(layout, n, method.method, theta.dtype, 1)
    work.stem.n_doubts[:] = -1
    data = make_data(case.x.reshape(n, -1), case.y)
    loop.take_steps(layout, theta, data, task, loop.rest(theta), work, n, 0, 1, 0, np.zeros((1, 2)))
    return work.stem.n_doubts[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack", PULLED)
def test_differences_are_the_naive_ones(stack, dtype):
    layers, pulled = PULLED[stack]
    case = Case(layers, dtype=dtype)
    assert find_plan(case.network._layout).pulled == pulled
    n_exact = len(case.network.weights) - 2
    for eps, scheme in ((1e-6, "forward"), (1e-3, "central"), (0.03, "forward"), (1.0, "central")):
        case.check(("auto",), eps, scheme, n_exact)


@pytest.mark.parametrize("stack", ["pools", "every kind"])
def test_samples_that_count_differently(stack):
    case = Case(PULLED[stack][0], n_samples=4)
    case.check(("auto",), 1e-3, n_exact=4, sample_weight=[0.0, 1.0, 3.0, 0.5])


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("offset", [0.0, 0.5, -0.5, 1.0, -1.0, 2.0])
@pytest.mark.parametrize(("activation", "kink"), [("relu", 0.0), ("hard_sigmoid", -3.0), ("hard_sigmoid", 3.0)])
def test_kinks_are_exact(activation, kink, offset):
    """A unit of the second convolution within reach of some perturbations of the first, or just not."""
    eps = 1e-3
    shape, (first, pool, second, _) = PULLED["pools"][0]
    case = Case((shape, [first, pool, dataclasses.replace(second, activation=activation)]), n_samples=1)
    z = case.network.forward(case.x).pre_activations[2][0]
    place = np.unravel_index(z.reshape(-1, z.shape[-1]).argmax(axis=0), z.shape[:2])
    case.network.weights[3][:] += kink + offset * eps - z[(*place, np.arange(z.shape[-1]))]
    case.network.weights[3][2:] = -9.0  # far off
    assert count_doubts(case, eps) >= 2
    for scheme in ("forward", "central"):
        truth, sizes = case.truth(eps=eps, scheme=scheme)
        # As in test_layers.py: z's own rounding, over eps, where a kink is crossed.
        allowed = ROUNDINGS * np.finfo(float).eps * (1 / eps + max(float(s.max()) for s in sizes))
        found = case.gradient(fastnn.Perturbation(eps, scheme))
        for ours, theirs in zip(found[:4], truth[:4], strict=True):
            assert np.abs(ours - theirs).max() <= allowed


def test_ties_are_exact():
    """A flat image, all of whose windows tie: their units move together, or apart at the edges."""
    case = Case(PULLED["pools"][0], n_samples=1)
    case.x[:] = 0.5
    case.network.weights[3][:2], case.network.weights[3][2:] = 9.0, -9.0
    assert count_doubts(case, 1e-6) >= 6
    for eps, scheme in ((1e-6, "forward"), (1e-3, "central"), (0.25, "forward")):
        case.check(("auto",), eps, scheme, 4)


def test_with_too_many_kinks_all_is_carried_up():
    case = Case("pulled", n_samples=1)
    assert 0 <= count_doubts(case, 1e-6) <= DOUBTS
    assert count_doubts(case, 1.0) == -1
    found, direct = (case.gradient(fastnn.Perturbation(1.0, evaluate=way)) for way in ("auto", "direct"))
    for ours, theirs in zip(found[:6], direct[:6], strict=True):
        # The same changes of the loss; divided by eps sooner or later.
        np.testing.assert_allclose(ours, theirs, rtol=1e-15, atol=0)


CONV = Conv(8, 3, "relu", padding="same")


@pytest.mark.parametrize(
    ("layers", "pulled"),
    [
        ([CONV, CONV], (0,)),
        ([CONV, Max(2), CONV, Max(2), CONV], (0, 2)),
        ([CONV], ()),
        ([Conv(8, 3, "tanh", padding="same"), CONV], (0,)),  # what bends is below
        ([CONV, Conv(8, 3, "tanh", padding="same")], ()),
        ([CONV, CONV, Conv(8, 3, "tanh", padding="same"), CONV], (2,)),
        ([Conv(1, 1, "relu"), CONV], ()),  # of few weights
        ([CONV, CONV, Flatten(), Dense(10, "tanh")], (0,)),  # dense layers keep their own way
        ([CONV, Conv(1, 1, "relu")], ()),  # what is above has next to nothing to do
    ],
    ids=str,
)
def test_the_cheaper_way_is_taken(layers, pulled):
    network = fastnn.Network((8, 8, 3), [*layers, Dense(10, "softmax")], seed=0)
    assert find_plan(network._layout).pulled == pulled
    for evaluate in ("auto", "direct"):
        task = fastnn.Perturbation(evaluate=evaluate).make_task(Loss.SQUARED_ERROR, network.dtype, 1)
        units = [unit for phase in program.list_units(network._layout, task, False, False).values() for unit in phase]
        assert (run_stem_down in units) == (run_stem_found in units) == (bool(pulled) and evaluate == "auto")


def test_without_room_all_is_carried_up(monkeypatch):
    assert find_plan(Case("pulled").network._layout).pulled
    monkeypatch.setattr("fastnn._engine.workspace.BUDGET", 10_000)
    assert not find_plan(Case("pulled").network._layout).pulled


def test_sequences():
    """Dense layers at each step are convolutions; if each step is a sample, or one is recurrent, all is carried up."""
    relu = [Dense(8, "relu"), Dense(8, "relu")]
    for layers, pulled in (
        ([*relu, Flatten()], (0,)),
        (relu, ()),
        ([fastnn.RNN(8, "relu", return_sequences=True), *relu, Flatten()], ()),
    ):
        network = fastnn.Network((4, 3), [*layers, Dense(2, "identity")], seed=0)
        assert find_plan(network._layout).pulled == pulled
    case = Case(((4, 3), [*relu, Flatten()]), n_samples=2)
    case.check(("auto",), 1e-3, n_exact=4)


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
def test_a_step_that_nobody_wants_ends():
    case = Case("pulled")
    layout, theta, method = case.network._layout, case.network._theta, fastnn.Perturbation()
    task = method.make_task(Loss.CATEGORICAL_CROSS_ENTROPY, theta.dtype, 1)
    work = make_work(layout, 3, method.method, theta.dtype, 1)
    data = make_data(case.x.reshape(3, -1), case.y)
    loop.take_steps(layout, theta, data, task, loop.rest(theta), work, 3, 0, 1, 0, np.zeros((1, 2)))
    assert work.stem.found[0].any()
    work.stop[0] = 1
    run_stem_down.function(
        ((layout, theta, data, loop.rest(theta), work), work.stem), Block(0, 0, 3, 3, True, True), task, 1, 0
    )
    assert not work.stem.found[0].any()
