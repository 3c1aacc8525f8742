"""Who may use threads; what goes wrong without it is in tests/soak/test_threads.py."""

import os
import threading

import numba
import numpy as np
import pytest
from conftest import HEADS

import fastnn
from fastnn._engine import loop, threads, workspace
from fastnn._support.cached import cached_property
from fastnn.kernels.work import Method, Task


@pytest.fixture
def dealt(monkeypatch, chunks):
    """Return the list of into how many chunks each call was dealt, two being wanted."""
    chunks(2)
    real, seen = loop.run_steps, []

    def run_steps(*arguments):
        seen.extend(argument.n_chunks for argument in arguments if isinstance(argument, Task))
        return real(*arguments)

    monkeypatch.setattr(loop, "run_steps", run_steps)
    return seen


def train(make_case):
    case = make_case(HEADS[-1], ("tanh", 2), n_samples=11)
    fastnn.Trainer(case.network, loss=case.loss, batch_size=4).fit(case.x, case.y, 3)
    return case.network._theta


def test_whoever_comes_second_computes_on_his_own(make_case, dealt):
    alone = train(make_case)
    assert set(dealt) == {2}
    dealt.clear()
    with threads.take_turn(2) as n_chunks:
        assert n_chunks == 2
        np.testing.assert_array_equal(train(make_case), alone)
    assert set(dealt) == {1}
    dealt.clear()
    train(make_case)
    assert set(dealt) == {2}


def test_the_turn_is_given_back_after_an_error():
    with pytest.raises(RuntimeError), threads.take_turn(2):
        raise RuntimeError
    with threads.take_turn(2) as n_chunks:
        assert n_chunks == 2


def test_the_turn_is_not_lost_to_ctrl_c(monkeypatch):
    """Which comes right after it was taken, before anybody can know that."""

    class Turns(list):
        def append(self, turn):
            super().append(turn)
            raise KeyboardInterrupt

    turns = Turns()
    monkeypatch.setattr(threads, "_turns", turns)
    with pytest.raises(KeyboardInterrupt), threads.take_turn(2):
        pass
    assert turns == []


@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child_computes_on_its_own_if_threads_were_used(make_case, dealt, monkeypatch, used):
    """The child's part is called here, while another thread holds the turn, as it may when a process forks."""
    monkeypatch.setattr(threads, "_is_forked", False)
    monkeypatch.setattr(threads, "_turns", [object()])

    def threading_layer():
        if not used:
            raise ValueError("Threading layer is not initialized.")
        return "omp"

    monkeypatch.setattr(numba, "threading_layer", threading_layer)
    threads._begin_child()
    train(make_case)
    assert set(dealt) == {1 if used else 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process")  # Python 3.12 warns of forking with threads
@pytest.mark.filterwarnings("ignore:os.fork")  # so does JAX, once a test has imported it
def test_a_fork_runs_the_childs_part(monkeypatch):
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    child = os.fork()
    if child == 0:  # pragma: no cover (another process)
        os._exit(int(threads._is_forked))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert not threads._is_forked


class Machine:
    """Says how long a run takes; steps of one sample. Threads that sleep take more for their first steps."""

    def __init__(self, alone, shared, *wake):
        self.pace = threads.Pace()
        self.alone, self.shared, self.wake = alone, shared, wake
        self.clock, self.awake = 0.0, 0

    def call(self, n_samples, pause=1.0):
        """Work through so many samples after a pause, in which threads fall asleep; return how many a second."""
        self.clock += pause
        self.pace.begin(n_samples, self.clock)
        begun = self.clock
        if pause > 1e-3:
            self.awake = 0
        left = n_samples
        while left:
            left -= self.take_run(left)
        return n_samples / (self.clock - begun)

    def take_run(self, most, batch_size=1):
        """Do what is planned, of so many samples; return of how many."""
        shares, n_samples = self.pace.plan()
        n_samples = min(most, max(1, n_samples // batch_size) * batch_size)
        taken = n_samples * (self.shared if shares else self.alone)
        last = self.awake + n_samples // batch_size
        taken += sum(self.wake[self.awake : last]) if shares else 0.0
        self.awake = last if shares else 0
        self.pace.note(n_samples, self.clock, self.clock + taken)
        self.clock += taken
        return n_samples

    def run(self, seconds, batch_size=1):
        """Work for some time; return how many samples a second were done."""
        begun, done = self.clock, 0
        while self.clock < begun + seconds:
            done += self.take_run(10**9, batch_size)
        return done / (self.clock - begun)


@pytest.mark.parametrize("alone", [1e-4, 4e-4, 3e-3])
def test_the_faster_way_is_taken_and_looks_are_cheap(alone):
    """Within 5 % of sharing when idle, 30 % of working alone when busy, where sharing takes twenty times as long."""
    idle, busy = Machine(alone, alone / 1.8), Machine(alone, 20 * alone)
    assert idle.run(1.0) * alone / 1.8 > 1 / 1.05
    assert idle.pace.shares
    assert busy.run(1.0) * alone > 1 / 1.3
    assert not busy.pace.shares
    assert busy.run(10.0) * alone > 1 / 1.1


def test_what_is_chosen_is_found_again_when_the_load_changes():
    machine = Machine(4e-4, 2e-4)
    for _ in range(3):
        machine.shared = 2e-4
        machine.run(3.0)
        assert machine.pace.shares
        machine.shared = 1e-2
        machine.run(1.2)  # a run of 20 ms becomes one of a second, and cannot be ended
        assert not machine.pace.shares


def test_a_look_that_was_too_good_is_paid_for():
    """Sharing is fast while it is looked at, and slow afterwards."""
    machine = Machine(4e-4, 2e-4)
    believed = 0
    for _ in range(20_000):
        machine.shared = 2e-2 if machine.pace.shares else 2e-4
        was = machine.pace.shares
        machine.run(1e-9)
        believed += machine.pace.shares > was
    assert believed > 1
    machine.clock, done = 0.0, 0.0
    while machine.clock < 10.0:
        machine.shared = 2e-2 if machine.pace.shares else 2e-4
        begun = machine.clock
        done += machine.run(1e-9) * (machine.clock - begun)
    assert done * 4e-4 > 10.0 / 1.1


def test_long_steps_are_shared_at_once():
    machine = Machine(1.0, 0.5)
    machine.run(1.0)
    assert machine.pace.shares
    assert machine.run(30.0) * 0.5 > 1 / 1.05


def test_a_gain_that_is_not_worth_two_cores():
    machine = Machine(4e-4, 3.9e-4)
    machine.run(1.0)
    assert not machine.pace.shares


@pytest.mark.parametrize("wake", [(0.01,), (0.01, 0.02)])
def test_threads_that_wake_slowly_share_what_is_long(wake):
    """All but a twentieth of what sharing gives, waking included."""
    machine = Machine(4e-4, 2.6e-4, *wake)
    for _ in range(20):
        machine.call(500)
    assert machine.pace.shares
    best = 500 / (sum(wake) + 500 * 2.6e-4)
    assert np.mean([machine.call(500) for _ in range(50)]) > 0.95 * best


@pytest.mark.parametrize("n_samples", [1, 2, 3, 30])
@pytest.mark.parametrize("pause", [1.0, 0.005])
def test_calls_that_are_too_short_to_wake_threads_are_done_alone(n_samples, pause):
    machine = Machine(4e-4, 2.6e-4, 0.01)
    for n in [500] * 10 + [n_samples] * 5:  # also where longer calls of the kind are shared
        machine.call(n)
    rates = [machine.call(n_samples, pause) for _ in range(20_000 // n_samples)]
    assert 4e-4 * len(rates) / np.sum(1 / np.array(rates)) > 1 / 1.1


@pytest.mark.parametrize("wake", [0.01, 0.03, 0.045])
def test_a_long_fit_is_shared_whose_calls_are_short(wake):
    """Steps of LeNet, one or three at a time: what waking takes is earned soon, and then the threads are awake."""
    machine = Machine(0.028, 0.013, wake)
    for k in range(4):  # calls after a first that compiles
        rate = machine.call(1, 1e-4)
        assert rate * (0.013 if k else 0.028) > (0.99 if k != 1 else 0.2)
    for _ in range(10):
        calls = [machine.call(n, pause) for n, pause in [(1, 1.0), *[(3, 1e-4)] * 5]]
        assert min(calls[3:]) * 0.013 > 0.99
    assert machine.pace.shares


def test_short_calls_are_shared_where_waking_takes_no_time():
    machine = Machine(4e-4, 2.6e-4)
    for _ in range(300):
        machine.call(10)
    assert machine.pace.shares
    assert machine.call(10) > 0.95 / 2.6e-4


def test_steps_go_as_planned_with_the_same_bits(make_case, monkeypatch, chunks):
    chunks(2)
    whole = train(make_case)
    plans, seen, real = [(True, 4), (False, 1), (True, 10**9)], [], loop.run_steps

    class Pace:
        def begin(self, n_samples, now):
            assert n_samples > 0
            self.now = now

        def plan(self):
            return plans[len(seen) % 3]

        def note(self, n_samples, began, ended):
            assert self.now <= began < ended
            self.now = ended
            assert seen[-1][1] * 4 == n_samples

    def run_steps(*arguments):
        n_chunks = next(argument.n_chunks for argument in arguments if isinstance(argument, Task))
        seen.append((n_chunks, arguments[6] - arguments[5]))
        return real(*arguments)

    monkeypatch.setattr(loop, "run_steps", run_steps)
    monkeypatch.setattr(loop, "find_pace", lambda *_: Pace())
    np.testing.assert_array_equal(train(make_case), whole)
    assert seen[:3] == [(2, 1), (1, 1), (2, 7)]


def test_threads_wait_briefly_and_the_environment_stays(monkeypatch):
    for name in (*threads.WAITS, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    seen = []
    monkeypatch.setattr(numba, "get_num_threads", lambda: seen.append({n: os.environ.get(n) for n in threads.WAITS}))
    before = dict(os.environ)
    load = threads.load_layer.__wrapped__
    load()
    assert seen == [threads.WAITS]
    assert dict(os.environ) == before
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")  # what the user has set stands
    load()
    assert seen[-1] == {**threads.WAITS, "GOMP_SPINCOUNT": "7"}
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    load()
    assert seen[-1] == {"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": None}


def test_room_is_allocated_once(make_case, monkeypatch):
    monkeypatch.setattr(workspace, "_kept", {})
    made, real = [], workspace.make_work

    def make_work(*arguments):
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(workspace, "make_work", make_work)
    case = make_case(HEADS[-1], ("tanh", 2))
    trainer = fastnn.Trainer(case.network, loss=case.loss)
    calls = [
        lambda: case.gradient(fastnn.Perturbation())[0].copy(),
        lambda: trainer.evaluate(case.x, case.y).loss,
        lambda: case.network.predict(case.x),
    ]
    for call in calls:
        first = call()
        n_made = len(made)
        for _ in range(3):
            np.testing.assert_array_equal(call(), first)
        assert len(made) == n_made
    mine = case.gradient(fastnn.Perturbation())
    copies = [array.copy() for array in mine]
    fastnn.gradient(case.network, 2 * case.x, case.y, loss=case.loss)
    for array, copy in zip(mine, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_room_is_lent_to_one_at_a_time_and_not_kept_without_end(make_case, monkeypatch):
    kept = {}
    monkeypatch.setattr(workspace, "_kept", kept)
    layout, float64 = make_case(HEADS[0], ("tanh", 1)).network._layout, np.dtype("float64")

    def borrow(n_samples):
        return workspace.borrow_work(layout, n_samples, Method.NONE, float64, 1)

    with borrow(5) as one, borrow(5) as other:
        assert one.values is not other.values
    with borrow(5) as again:
        assert again.values is one.values or again.values is other.values
    for n_samples in range(1, 30):
        with borrow(n_samples):
            pass
    assert len(kept) == workspace.N_KEPT
    monkeypatch.setattr(workspace, "KEPT", 0)
    with borrow(3):
        pass
    assert not kept
    with pytest.raises(KeyboardInterrupt), borrow(3):
        raise KeyboardInterrupt
    assert not kept


def test_predictions_are_shared_too(make_case, dealt):
    case = make_case(HEADS[0], ("tanh", 1))
    alone = case.network.predict(case.x)
    assert set(dealt) == {2}
    np.testing.assert_array_equal(case.network.predict(case.x), alone)


def test_what_is_computed_by_one_thread_keeps_no_other_waiting():
    """As a forked process would for ever, whose other threads are gone: functools' has a lock, before Python 3.12."""
    begun, may_end = threading.Event(), threading.Event()

    class Owner:
        @cached_property
        def value(self):
            """Return something."""
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                may_end.wait(60)
            return [self]

    first, second = Owner(), Owner()
    other = threading.Thread(target=lambda: first.value)
    other.start()
    try:
        assert begun.wait(60)
        assert second.value is second.value
        assert other.is_alive()  # it has not waited for the other thread
    finally:
        may_end.set()
        other.join()
    assert first.value == [first]
    assert Owner.value.__doc__ == "Return something."
