"""Ctrl-C at any moment leaves whole steps, and the next fit goes on bit for bit."""

import asyncio
import contextlib
import math
import signal
import sys
import threading

import numpy as np
import pytest
from conftest import HEADS

import fastnn
from fastnn import _loop, _workspace, gradients
from fastnn._interrupt import Interrupt, call_apart
from fastnn._jit import JIT_DISABLED
from fastnn.callbacks import Callback
from fastnn.kernels.direct import run_direct
from fastnn.kernels.losses import Loss
from fastnn.kernels.series import run_deep_expansion
from fastnn.kernels.training import End
from fastnn.kernels.work import DIRECT, SECOND, Block


@pytest.fixture
def at_call(monkeypatch):
    """Return a function that sends Ctrl-C to, or raises in, one of the compiled calls, each of one step."""
    real = _loop.run_steps
    monkeypatch.setattr(_loop, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(_loop, "LONG_SECONDS", math.inf)  # a step in plain Python on a busy machine is long

    def install(number, act, after=True):
        calls = []

        def run_steps(*arguments):
            if arguments[6] == arguments[7]:  # no step: it is only to be compiled
                return real(*arguments)
            calls.append(1)
            if len(calls) == number and not after:
                act()
            result = real(*arguments)
            if len(calls) == number and after:
                act()
            return result

        monkeypatch.setattr(_loop, "run_steps", run_steps)

    return install


def press():
    signal.raise_signal(signal.SIGINT)


def make_trainer(make_case, shuffle=True, optimizer=fastnn.Adam(0.01)):  # noqa: B008 (frozen)
    case = make_case(HEADS[-1], ("tanh", 1), n_samples=11)
    return case, fastnn.Trainer(case.network, loss=case.loss, optimizer=optimizer, batch_size=4, shuffle=shuffle)


def same_bits(one, two):
    assert one.n_steps == two.n_steps
    assert one.network._theta.tobytes() == two.network._theta.tobytes()
    assert one._update.moments.tobytes() == two._update.moments.tobytes()
    np.testing.assert_array_equal(one.history.loss, two.history.loss)
    np.testing.assert_array_equal(one.history.accuracy, two.history.accuracy)


@pytest.mark.parametrize("callbacks", [(), (Callback(),)], ids=["drawn ahead", "an epoch at a time"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("step", range(1, 13))
def test_ctrl_c_after_any_step(make_case, at_call, step, shuffle, callbacks):
    case, whole = make_trainer(make_case, shuffle)
    whole.fit(case.x, case.y, epochs=4)
    case, trainer = make_trainer(make_case, shuffle)
    at_call(step, press)
    history = trainer.fit(case.x, case.y, epochs=4, callbacks=callbacks)
    assert trainer.n_steps == step
    assert history.interrupted
    assert len(history) == trainer.n_epochs == step // 3
    assert "interrupted" in repr(history)
    assert not trainer.history.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    history = trainer.fit(case.x, case.y, epochs=4 - trainer.n_epochs)
    assert not history.interrupted
    same_bits(trainer, whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("after", [False, True])
def test_what_is_raised_in_a_call_takes_back_its_steps(make_case, at_call, error, after):
    case, whole = make_trainer(make_case)
    whole.fit(case.x, case.y, epochs=4)
    case, trainer = make_trainer(make_case)

    def fail():
        raise error

    at_call(5, fail, after)
    if error is KeyboardInterrupt:
        assert trainer.fit(case.x, case.y, epochs=4).interrupted
    else:
        with pytest.raises(error):
            trainer.fit(case.x, case.y, epochs=4)
    assert trainer.n_steps == 4
    trainer.fit(case.x, case.y, epochs=3)
    same_bits(trainer, whole)


def test_fewer_epochs_than_were_drawn_ahead(make_case, at_call):
    case, whole = make_trainer(make_case)
    whole.fit(case.x, case.y, epochs=6)
    case, trainer = make_trainer(make_case)
    at_call(4, press)
    trainer.fit(case.x, case.y, epochs=6)
    for _ in range(5):
        trainer.fit(case.x, case.y)
    same_bits(trainer, whole)


def test_other_samples_begin_an_epoch_of_their_own(make_case, at_call):
    case, trainer = make_trainer(make_case)
    at_call(4, press)
    trainer.fit(case.x, case.y, epochs=2)
    history = trainer.fit(case.x[:6], case.y[:6])
    assert len(history) == 1
    assert trainer.n_steps == 4 + 2


class Press(Callback):
    def __init__(self, times):
        self.times = times
        self.reached_the_end = False

    def on_epoch_end(self, trainer, metrics):
        if self.times:
            times, self.times = self.times, 0
            for _ in range(times):
                press()
            self.reached_the_end = True


@pytest.mark.parametrize("times", [1, 2])
def test_the_second_ctrl_c_leaves_a_callback_at_once(make_case, times):
    case, whole = make_trainer(make_case)
    whole.fit(case.x, case.y, epochs=3)
    case, trainer = make_trainer(make_case)
    callback = Press(times)
    history = trainer.fit(case.x, case.y, epochs=3, callbacks=[callback])
    assert history.interrupted
    assert callback.reached_the_end == (times == 1)
    assert trainer.n_epochs == 1
    trainer.fit(case.x, case.y, epochs=2)
    same_bits(trainer, whole)


def test_early_stopping_does_not_go_back_when_interrupted(make_case, at_call):
    case, trainer = make_trainer(make_case, optimizer=fastnn.Adam(10.0))
    at_call(8, press)
    stopping = fastnn.callbacks.EarlyStopping()
    trainer.fit(case.x, case.y, epochs=4, callbacks=[stopping])
    case, twin = make_trainer(make_case, optimizer=fastnn.Adam(10.0))
    at_call(8, press)
    twin.fit(case.x, case.y, epochs=4)
    same_bits(trainer, twin)


def test_a_handler_of_ones_own_stays_in_charge(make_case, at_call):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        case, trainer = make_trainer(make_case)
        at_call(3, press)
        assert not trainer.fit(case.x, case.y, epochs=2).interrupted
        assert seen == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_trains_without_touching_signals(make_case):
    case, trainer = make_trainer(make_case)
    thread = threading.Thread(target=trainer.fit, args=(case.x, case.y, 2))
    thread.start()
    thread.join()
    assert trainer.n_epochs == 2


@pytest.mark.parametrize("optimizer", [fastnn.SGD(0.1), fastnn.Adam(0.01)])
def test_ctrl_c_does_not_wait_for_a_long_step(make_case, monkeypatch, optimizer):
    """The fourth step does not end before control is back; it has written nothing that is kept."""
    case, whole = make_trainer(make_case, optimizer=optimizer)
    whole.fit(case.x, case.y, epochs=3)
    real, calls, works, let_go, ended = _loop.run_steps, [], [], threading.Event(), threading.Event()

    def run_steps(*arguments):
        if arguments[6] == arguments[7]:
            return real(*arguments)
        calls.append(threading.current_thread())
        works.append(arguments[-2])
        result = real(*arguments)
        if len(calls) == 4:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            let_go.wait(60)
            ended.set()
        return result

    case, trainer = make_trainer(make_case, optimizer=optimizer)
    with monkeypatch.context() as patch:
        patch.setattr(_loop, "run_steps", run_steps)
        patch.setattr(_loop, "LONG_SECONDS", 0.0)
        patch.setattr(_loop, "CALL_SECONDS", 0.0)
        history = trainer.fit(case.x, case.y, epochs=3)
        assert not ended.is_set()
        let_go.set()
        assert ended.wait(60)
        calls[-1].join()
    assert history.interrupted
    assert trainer.n_steps == 3
    assert threading.main_thread() not in calls
    assert works[-1].stop[0] == 1
    trainer.fit(case.x, case.y, epochs=2)
    same_bits(trainer, whole)


def test_what_a_long_step_raises_is_raised(make_case, monkeypatch):
    monkeypatch.setattr(_loop, "LONG_SECONDS", 0.0)
    case, trainer = make_trainer(make_case)
    case.x[0, 0] = 1e308  # sums of it overflow
    with pytest.raises(FloatingPointError):
        fastnn.Trainer(fastnn.mlp(3, 3, seed=0), batch_size=None).fit(case.x, case.y)

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(_loop, "run_steps", fail)
    with pytest.raises(MemoryError, match="no room"):
        trainer.fit(case.x, case.y)


def test_what_takes_long_is_waited_for():
    assert call_apart(lambda: threading.Event().wait(0.5)) is False


def test_a_long_step_under_a_handler_of_ones_own(make_case, monkeypatch):
    monkeypatch.setattr(_loop, "LONG_SECONDS", 0.0)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        case, trainer = make_trainer(make_case)
        trainer.fit(case.x, case.y)
        assert trainer.n_epochs == 1
    finally:
        signal.signal(signal.SIGINT, before)


def prepare(sizes, method, n_samples):
    """Return what `take_steps` takes, for one step of that many samples, and what it leaves."""
    network = fastnn.mlp(*sizes, seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.random((n_samples, sizes[0])), rng.random((n_samples, sizes[-1]))
    data = gradients.check_data(network, Loss.SQUARED_ERROR, x, y)
    task = method.make_task(Loss.SQUARED_ERROR, network.dtype, 1)
    theta = network._theta
    work = _workspace.make_work(network._layout, n_samples, method.method, theta.dtype, 1)
    update = _loop.rest(theta)
    return work, (network._layout, theta, data, task, update, work, n_samples, 0, 1, 0, np.zeros((1, 2)))


@pytest.mark.skipif(JIT_DISABLED, reason="plain Python is too slow for a long step")
@pytest.mark.parametrize("evaluate", ["direct", "auto"])
def test_a_step_that_nobody_wants_ends(evaluate):
    """A step of 3 Tflop or more, half a minute at 100 GFLOP/s, ends when it is told to."""
    method = fastnn.Perturbation(1e-6, evaluate=evaluate)
    _loop.take_steps(*prepare([3, 4, 4, 2], method, 5)[1])  # compiled
    work, arguments = prepare([100, 2000, 2000, 2000, 2], method, 96)
    ends = []
    thread = threading.Thread(target=lambda: ends.append(_loop.take_steps(*arguments)), daemon=True)
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    work.stop[0] = 1
    thread.join(60)
    assert ends == [(0, End.STOPPED)]


@pytest.mark.skipif(not JIT_DISABLED, reason="Python cannot call compiled units")
def test_units_that_can_take_minutes_look_up():
    work, arguments = prepare([3, 4, 4, 2], fastnn.Perturbation(), 5)
    layout, theta, data, task, update, *_ = arguments
    work.stop[0] = 1
    assert _loop.take_steps(*arguments) == (0, End.STOPPED)
    for kind in (DIRECT, SECOND):
        work.values[kind] = 1.0
    block = Block(0, 0, 5, 5, True, True)
    for run in (run_direct, run_deep_expansion):
        run.function((layout, theta, data, update, work), block, task, 1, 0)
    assert not work.gradient.any()
    assert (work.values[SECOND] == 1.0).all()
