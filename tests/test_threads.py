"""Who may use threads; what goes wrong without it is in tests/soak/test_threads.py."""

import os
import threading

import numba
import numpy as np
import pytest
from conftest import HEADS

import fastnn
from fastnn import _loop, _threads
from fastnn.kernels.work import Task


@pytest.fixture
def dealt(monkeypatch, chunks):
    """Return the list of into how many chunks each call was dealt, two being wanted."""
    chunks(2)
    real, seen = _loop.run_steps, []

    def run_steps(*arguments):
        seen.extend(argument.n_chunks for argument in arguments if isinstance(argument, Task))
        return real(*arguments)

    monkeypatch.setattr(_loop, "run_steps", run_steps)
    return seen


def train(make_case):
    case = make_case(HEADS[-1], ("tanh", 2), n_samples=11)
    fastnn.Trainer(case.network, loss=case.loss, batch_size=4).fit(case.x, case.y, 3)
    return case.network._theta


def test_whoever_comes_second_computes_on_his_own(make_case, dealt):
    alone = train(make_case)
    assert set(dealt) == {2}
    dealt.clear()
    with _threads.take_turn(2) as n_chunks:
        assert n_chunks == 2
        np.testing.assert_array_equal(train(make_case), alone)
    assert set(dealt) == {1}
    dealt.clear()
    train(make_case)
    assert set(dealt) == {2}


def test_the_turn_is_given_back_after_an_error():
    with pytest.raises(RuntimeError), _threads.take_turn(2):
        raise RuntimeError
    with _threads.take_turn(2) as n_chunks:
        assert n_chunks == 2


@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child_computes_on_its_own_if_threads_were_used(make_case, dealt, monkeypatch, used):
    """The child's part is called here, while another thread holds the turn, as it may when a process forks."""
    monkeypatch.setattr(_threads, "_is_forked", False)
    monkeypatch.setattr(_threads, "_turn", threading.Lock())
    _threads._turn.acquire()

    def threading_layer():
        if not used:
            raise ValueError("Threading layer is not initialized.")
        return "omp"

    monkeypatch.setattr(numba, "threading_layer", threading_layer)
    _threads._begin_child()
    train(make_case)
    assert set(dealt) == {1 if used else 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process")  # Python 3.12 warns of forking with threads
@pytest.mark.filterwarnings("ignore:os.fork")  # so does JAX, once a test has imported it
def test_a_fork_runs_the_childs_part(monkeypatch):
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        os._exit(int(_threads._is_forked))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert not _threads._is_forked
