"""The races: every peer takes the same steps, and tables say what was measured."""

import io
import sys

import numba
import numpy as np
import pytest
import races
from races import CROSS_ENTROPY, PEERS, SQUARED, Case

MODULES = {"JAX": "jax", "PyTorch": "torch"}


def last_loss(case, n_steps):
    """Return the loss before the last of some steps on one batch, by the formulas."""
    (w, b), (v, c) = (case.weights[0].copy(), case.weights[1].copy()), (case.weights[2].copy(), case.weights[3].copy())
    for _ in range(n_steps):
        a = 1 / (1 + np.exp(-(case.x @ w + b)))
        z = a @ v + c
        if case.loss == SQUARED:
            loss, delta = ((z - case.y) ** 2).sum() / len(z), 2 * (z - case.y) / len(z)
        else:
            shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            loss, delta = -(case.y * np.log(shares)).sum() / len(z), (shares - case.y) / len(z)
        back = delta @ v.T * a * (1 - a)
        v, c = v - case.rate * a.T @ delta, c - case.rate * delta.sum(axis=0)
        w, b = w - case.rate * case.x.T @ back, b - case.rate * back.sum(axis=0)
    return float(loss)


@pytest.mark.parametrize("loss", [SQUARED, CROSS_ENTROPY])
@pytest.mark.parametrize(
    "peer",
    [
        "fastnn",
        "fastnn, 1 thread",
        "fastnn direct",
        "fastnn Backprop",
        "JAX",
        pytest.param("PyTorch", marks=pytest.mark.torch),
        "NumPy loop",
    ],
)
def test_every_peer_takes_the_same_steps(peer, loss):
    if peer in MODULES:
        pytest.importorskip(MODULES[peer])
    if (peer, loss) == ("NumPy loop", CROSS_ENTROPY):
        pytest.skip("it is raced with squared error only")
    case = Case("6-4-3", 8, loss, "float64")
    case.rate = 0.01
    case.keep_one_step()
    before, expected = last_loss(case, 1), last_loss(case, 50)
    threads = numba.get_num_threads()
    try:
        found = PEERS[peer](case)(50)
    finally:
        numba.set_num_threads(threads)
    # A forward difference is off the derivative by eps / 2 times a curvature of order 1, and the
    # loss after a whole step of 50 * 0.01 by that times the gradient.
    assert found == pytest.approx(expected, rel=1e-4)
    assert found < before


@pytest.mark.parametrize(("peer", "loss"), [("fastnn", CROSS_ENTROPY), ("NumPy loop", SQUARED)])
def test_a_peer_times_a_run_a_line(monkeypatch, capsys, peer, loss):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    monkeypatch.setattr(Case, "__init__", make_small(Case.__init__))
    monkeypatch.setattr(races, "WARM", 0.1)
    races.work(peer, "3-2-2", "4", loss, "float32")
    ready, *seconds = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert len(seconds) == 2
    assert all(float(second) > 0 for second in seconds)


def make_small(init):
    def small(case, *arguments):
        init(case, *arguments)
        case.keep_one_step()

    return small


def test_a_race_of_processes(capfd):
    times = races.race(["NumPy loop", "nobody"], "3-2-2", 4, SQUARED, "float64", rounds=2)
    assert times["NumPy loop"].shape == (2,)
    assert (times["NumPy loop"] > 0).all()
    assert times["nobody"] is None
    assert capfd.readouterr().err == "nobody: KeyError: 'nobody'\n"


def test_inputs_that_are_mostly_zero():
    case = races.Case("300-2-2, 20 % not zero", 4, SQUARED, "float64")
    assert case.sizes == [300, 2, 2]
    share = np.count_nonzero(case.x) / case.x.size
    assert abs(share - 0.2) < 5 * (0.2 * 0.8 / case.x.size) ** 0.5  # standard deviations


def test_inputs_that_are_pixels():
    case = races.Case("784-2-10, digits", 4, SQUARED, "float32")
    assert case.x.shape == (case.n_steps * 4, 784)
    assert 0.1 < np.count_nonzero(case.x) / case.x.size < 0.25  # what is taken in lists, see asv_bench/compare.py


TIMES = {"fastnn": np.array([1e-3, 2e-3, 3e-3]), "NumPy loop": np.array([1.0]), "none": None}


def test_times_as_text():
    assert races.milliseconds(TIMES, "fastnn") == "2.000"
    assert races.milliseconds(TIMES, "none") == "-"
    assert races.ratio(TIMES, "NumPy loop", "fastnn") == "500.00"
    assert races.ratio(TIMES, "none", "fastnn") == races.ratio(TIMES, "fastnn", "none") == "-"
