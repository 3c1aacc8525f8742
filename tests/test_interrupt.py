"""Ctrl-C at any moment leaves whole steps, and the next fit goes on bit for bit."""

import asyncio
import contextlib
import math
import re
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HEADS

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import loop, program, workspace
from fastnn._support.interrupt import Interrupt, call_apart
from fastnn.callbacks import Callback
from fastnn.kernels import training
from fastnn.kernels.direct import run_direct
from fastnn.kernels.losses import Loss
from fastnn.kernels.series.carried import run_carried
from fastnn.kernels.training import End
from fastnn.kernels.work import DIRECT, SECOND, Block
from fastnn.training import gradients


@pytest.fixture
def at_call(monkeypatch):
    """Return a function that sends Ctrl-C to, or raises in, one of the compiled calls, each of one step."""
    real = loop.run_steps
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LONG_SECONDS", math.inf)  # a step in plain Python on a busy machine is long

    def install(number, act, after=True):
        calls = []

        def run_steps(*arguments):
            if arguments[5] == arguments[6]:  # no step: it is only to be compiled
                return real(*arguments)
            calls.append(1)
            if len(calls) == number and not after:
                act()
            result = real(*arguments)
            if len(calls) == number and after:
                act()
            return result

        monkeypatch.setattr(loop, "run_steps", run_steps)

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
    if one.history.accuracy is not None:
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


class Presser:
    """While it traces, Ctrl-C comes before the lines of fastnn's Python code that are counted out."""

    def __init__(self, *lines):
        self.lines = lines
        self.count = 0

    def __call__(self, frame, event, _):
        name = frame.f_code.co_filename.replace("\\", "/")
        if "/fastnn/" not in name or "/kernels/" in name:
            return None
        if event == "line":
            self.count += 1
            if self.count in self.lines:
                press()
        return self

    def run(self, function):
        """Return function(), and whether there was a KeyboardInterrupt."""
        before = sys.gettrace()
        try:
            sys.settrace(self)
            return function(), False
        except KeyboardInterrupt:
            return None, True
        finally:
            sys.settrace(before)


class Rows(Callback):
    def __init__(self):
        self.rows = []

    def on_epoch_end(self, trainer, metrics):
        self.rows.append({name: value for name, value in metrics.items() if name != "seconds"})


def press_in_fit(make_case, stride, *gaps):
    """Press at every so many lines of a fit, and again some lines later; return how many such presses there were."""

    def fit(trainer, epochs, callback):
        return trainer.fit(case.x, case.y, epochs, (case.x[:5], case.y[:5]), callbacks=[callback])

    case, whole = make_trainer(make_case)
    wanted, presses = Rows(), 0
    fit(whole, 3, wanted)
    line = 1
    while True:
        case, trainer = make_trainer(make_case)
        rows, presser = Rows(), Presser(line, *(line + gap for gap in gaps))
        history, was_raised = presser.run(lambda: fit(trainer, 3, rows))  # noqa: B023 (called at once)
        if presser.count < line:
            return presses
        presses += 1
        assert was_raised or history.interrupted, line
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not gaps:
            assert len(rows.rows) == trainer.n_epochs, line
        fit(trainer, 3 - trainer.n_epochs, rows)
        same_bits(trainer, whole)
        assert gaps or rows.rows == wanted.rows, line
        np.testing.assert_array_equal(trainer.history.validation_loss, whole.history.validation_loss)
        assert trainer._rng.bit_generator.state == whole._rng.bit_generator.state
        line += stride


@pytest.mark.late(kept=3)
@pytest.mark.parametrize("gaps", [(), (1,), (9,)])
@pytest.mark.parametrize("long", [math.inf, 0.0])
def test_ctrl_c_at_any_line(make_case, monkeypatch, long, gaps):
    """Once and twice; `tests/soak` presses at every line."""
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LONG_SECONDS", long)
    assert press_in_fit(make_case, 211 if JIT_DISABLED else 31, *gaps) > 5


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


def test_a_handler_that_raises_is_heard_when_all_is_whole(make_case, at_call):
    case, whole = make_trainer(make_case)
    whole.fit(case.x, case.y, epochs=2)
    case, trainer = make_trainer(make_case)
    at_call(4, press)

    def leave(*_):
        raise SystemExit("stop")

    before = signal.signal(signal.SIGINT, leave)
    try:
        with pytest.raises(SystemExit, match="stop"):
            trainer.fit(case.x, case.y, epochs=2)
        assert signal.getsignal(signal.SIGINT) is leave
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.n_steps == 4
    trainer.fit(case.x, case.y)
    same_bits(trainer, whole)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_no_handler_stays(make_case, handler):
    """An ignored Ctrl-C stays ignored, as in a script's background job."""
    case, trainer = make_trainer(make_case)
    before = signal.signal(signal.SIGINT, handler)
    try:
        seen = []

        class Look(Callback):
            def on_steps(self, trainer):
                seen.append(signal.getsignal(signal.SIGINT))

        trainer.fit(case.x, case.y, callbacks=[Look()])
        assert set(seen) == {handler}
    finally:
        signal.signal(signal.SIGINT, before)


def test_fit_in_a_coroutine(make_case, at_call):
    """asyncio's own handler only cancels the task, which hears of it when fit is back."""
    case, trainer = make_trainer(make_case)
    at_call(4, press)
    seen = []

    async def train():
        seen.append(trainer.fit(case.x, case.y, epochs=5))
        await asyncio.sleep(0)
        seen.append("not cancelled")

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(train())
    (history,) = seen
    assert history.interrupted
    assert trainer.n_steps == 4


def test_fit_under_a_handler_of_the_loops(make_case, at_call):
    """It is called by the loop, when fit is back."""
    case, trainer = make_trainer(make_case)
    at_call(4, press)
    seen = []

    async def train():
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, seen.append, "heard")
        seen.append(trainer.fit(case.x, case.y, epochs=5).interrupted)
        await asyncio.sleep(0.01)

    asyncio.run(train())
    assert seen == [True, "heard"]
    assert trainer.n_steps == 4


def test_what_takes_long_in_a_coroutine(make_case, monkeypatch):
    case, trainer = make_trainer(make_case)
    trainer.evaluate(case.x, case.y)
    with press_in_call(monkeypatch), pytest.raises(KeyboardInterrupt):
        asyncio.run(evaluate(trainer, case))


async def evaluate(trainer, case):
    trainer.evaluate(case.x, case.y)


@contextlib.contextmanager
def press_in_call(monkeypatch, number=1):
    """Have Ctrl-C come within a compiled call that takes long, and which ends when control is back."""
    real, calls, let_go, ended = loop.run_steps, [], threading.Event(), threading.Event()

    def run_steps(*arguments):
        if arguments[5] == arguments[6]:
            return real(*arguments)
        calls.append(arguments[-2].stop)
        if len(calls) == number:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            let_go.wait(60)
            ended.set()
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_steps", run_steps)
        patch.setattr(loop, "LONG_SECONDS", 0.0)
        yield
        assert not ended.is_set()
        assert calls[-1][0] == 1
        let_go.set()
        assert ended.wait(60)


@pytest.mark.parametrize("kind", ["evaluate", "gradient", "predict", "forward", "feed_forward", "update_weights"])
def test_ctrl_c_does_not_wait_for_what_takes_long(make_case, monkeypatch, kind):
    case, trainer = make_trainer(make_case)
    weights = [[[0.5]], 0.0]
    calls = {
        "evaluate": lambda: trainer.evaluate(case.x, case.y),
        "gradient": lambda: fastnn.gradient(case.network, case.x, case.y, loss=case.loss),
        "predict": lambda: case.network.predict(case.x),
        "forward": lambda: case.network.forward(case.x),
        "feed_forward": lambda: fastnn.feed_forward([1.0, 2.0], [2.0, 4.0], weights),
        "update_weights": lambda: fastnn.update_weights([1.0, 2.0], [2.0, 4.0], weights, 3),
    }
    wanted = calls[kind]()
    with press_in_call(monkeypatch), pytest.raises(KeyboardInterrupt):
        calls[kind]()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    np.testing.assert_equal(calls[kind](), wanted)


@pytest.mark.parametrize("kind", ["evaluate", "fit"])
def test_ctrl_c_in_a_callback_waits_for_what_it_does(make_case, monkeypatch, kind):
    """What a callback calls is a part of it: the first press is the outer fit's."""
    case, trainer = make_trainer(make_case)
    case, other = make_trainer(make_case)
    seen = []

    class Nested(Callback):
        def on_epoch_end(self, _, metrics):
            press()
            with monkeypatch.context() as patch:
                patch.setattr(loop, "LONG_SECONDS", 0.0)
                seen.append(other.fit(case.x, case.y) if kind == "fit" else other.evaluate(case.x, case.y))

    assert trainer.fit(case.x, case.y, epochs=3, callbacks=[Nested()]).interrupted
    assert trainer.n_epochs == len(seen) == 1
    assert kind == "evaluate" or not seen[0].interrupted


def test_who_holds_ctrl_c_back_hands_it_on(make_case, at_call):
    case, trainer = make_trainer(make_case)
    at_call(4, press)
    with Interrupt() as outer:
        assert trainer.fit(case.x, case.y, epochs=2).interrupted
        assert outer.presses == 1
        # It is not forgotten: what takes long is not begun.
        with pytest.raises(KeyboardInterrupt):
            call_apart(lambda: None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_is_not_lost_where_something_else_is_raised(make_case, at_call):
    case, trainer = make_trainer(make_case)

    def fail():
        press()
        raise MemoryError("no room")

    at_call(4, fail)
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.fit(case.x, case.y, epochs=2)
    assert isinstance(caught.value.__cause__, MemoryError)
    assert trainer.n_steps == 3


class AtEnd(Callback):
    """Press at the end, so many times, or raise there."""

    def __init__(self, times=0, error=None):
        self.times, self.error, self.seen = times, error, []

    def on_fit_end(self, trainer, history):
        self.seen.append(history)
        for _ in range(self.times):
            press()
        if self.error:
            raise self.error
        self.seen.append("whole")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_the_very_end(make_case, times):
    case, trainer = make_trainer(make_case)
    callbacks = [AtEnd(times), AtEnd()]
    assert trainer.fit(case.x, case.y, callbacks=callbacks).interrupted
    assert [len(callback.seen) for callback in callbacks] == [3 - times, 2]
    assert trainer.n_epochs == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")])
def test_all_callbacks_clean_up(make_case, error):
    case, trainer = make_trainer(make_case)
    callbacks = [AtEnd(), AtEnd(error=error), AtEnd()]
    if isinstance(error, KeyboardInterrupt):
        assert trainer.fit(case.x, case.y, callbacks=callbacks).interrupted
    else:
        with pytest.raises(ValueError, match="mine"):
            trainer.fit(case.x, case.y, callbacks=callbacks)
    assert [len(callback.seen) for callback in callbacks] == [2, 1, 2]


@pytest.mark.parametrize("long", [math.inf, 0.0])
def test_ctrl_c_while_steps_are_taken_back(make_case, monkeypatch, long):
    """Then training is as after the last call; the next fit finds the same divergence."""

    def make():
        network = fastnn.mlp(1, 1, seed=0)
        return fastnn.Trainer(network, optimizer=fastnn.SGD(1.0), batch_size=1, shuffle=False)

    x, y = [[1.0], [3.0], [4.0], [8.0]], [3.0, 9.0, 12.0, 24.0]
    whole = make()
    with pytest.raises(FloatingPointError) as wanted:
        whole.fit(x, y, 1000)
    monkeypatch.setattr(loop, "LONG_SECONDS", long)
    real = loop.Loop._rewind

    def rewind(loop, *arguments):
        press()
        real(loop, *arguments)

    trainer = make()
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_rewind", rewind)
        assert trainer.fit(x, y, 1000).interrupted
    assert trainer.n_steps < whole.n_steps
    with pytest.raises(FloatingPointError, match=re.escape(str(wanted.value))):
        trainer.fit(x, y, 1000)
    same_bits(trainer, whole)


def test_steps_that_take_longer_than_others_did_are_few(monkeypatch):
    """A run of steps ends early when much is measured directly; training is the same."""
    size = 3 if JIT_DISABLED else 300
    rng = np.random.default_rng(0)
    x, y = rng.random((48, size)), rng.random((48, 2))

    def train():
        network = fastnn.mlp(size, size, 2, seed=0)
        trainer = fastnn.Trainer(network, gradient=fastnn.Perturbation(evaluate="direct"), batch_size=16)
        trainer.fit(x, y, 4)
        return trainer

    # A pace cuts runs as well, to time them.
    uncut = SimpleNamespace(begin=lambda *_: None, plan=lambda: (False, 10**12), note=lambda *_: None)
    monkeypatch.setattr(loop, "find_pace", lambda *_: uncut)
    monkeypatch.setattr(loop, "LONG_SECONDS", math.inf)
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    whole = train()
    real, runs = loop.run_steps, []

    def run_steps(*arguments):
        first, last = arguments[5:7]
        reached, end = real(*arguments)
        runs.append((last - first, reached - first))
        return reached, end

    monkeypatch.setattr(loop, "run_steps", run_steps)
    monkeypatch.setattr(loop, "CALL_SECONDS", 1e9)
    if JIT_DISABLED:  # compiled code has it inside
        monkeypatch.setattr(training, "MOST_DIRECT", 2e7 * (3 / 300) ** 2)
    trainer = train()
    assert sum(taken for _, taken in runs) == 12
    assert all(taken < 8 for _, taken in runs)
    assert max(wanted for wanted, _ in runs) > 8
    same_bits(trainer, whole)


def test_a_long_validation_is_not_waited_for(make_case, monkeypatch, tmp_path):
    """It is made up for by the next fit, also in another process."""
    case, whole = make_trainer(make_case)
    held_out = case.x[:5], case.y[:5]
    wanted = Rows()
    whole.fit(case.x, case.y, 3, held_out, callbacks=[wanted])
    case, trainer = make_trainer(make_case)
    rows = Rows()
    # Three steps, a validation, three steps: in that order, a call each.
    monkeypatch.setattr(loop, "CALL_SECONDS", 0.0)
    with press_in_call(monkeypatch, number=8):
        assert trainer.fit(case.x, case.y, 3, held_out, callbacks=[rows]).interrupted
    assert (trainer.n_steps, trainer.n_epochs, len(rows.rows)) == (6, 1, 1)
    trainer.save(tmp_path / "run")
    for going in (fastnn.Trainer.resume(tmp_path / "run"), trainer):
        more = Rows()
        going.fit(case.x, case.y, 2, held_out, callbacks=[more])
        same_bits(going, whole)
        assert rows.rows + more.rows == wanted.rows
        np.testing.assert_array_equal(going.history.validation_loss, whole.history.validation_loss)
    # Without validation data there is nothing to make up for.
    going = fastnn.Trainer.resume(tmp_path / "run")
    going.fit(case.x, case.y, 2)
    same_bits(going, whole)
    assert np.isnan(going.history.validation_loss).tolist() == [False, True, True]


def test_early_stopping_goes_on_after_a_validation_that_was_left(make_case, monkeypatch, tmp_path):
    """An epoch of one step: what is monitored was measured with the weights before it, which are gone meanwhile."""

    def make():
        case = make_case(HEADS[0], ("tanh", 1), n_samples=11)
        trainer = fastnn.Trainer(case.network, optimizer=fastnn.SGD(0.02), batch_size=None)
        return case, trainer, fastnn.callbacks.EarlyStopping("loss", patience=2)

    case, whole, wanted = make()
    held_out = case.x[:5], case.y[:5]
    whole.fit(case.x, case.y, 6, held_out, callbacks=[wanted])
    case, trainer, stopping = make()
    with press_in_call(monkeypatch, number=4):  # a step, a validation, a step
        trainer.fit(case.x, case.y, 6, held_out, callbacks=[stopping])
    assert (trainer.n_steps, trainer.n_epochs) == (2, 1)
    trainer.save(tmp_path / "run")
    resumed, other = fastnn.Trainer.resume(tmp_path / "run"), make()[2]
    for going, called in ((trainer, stopping), (resumed, other)):
        going.fit(case.x, case.y, 5, held_out, callbacks=[called])
        same_bits(going, whole)
        assert (called.best, called.best_epoch) == (wanted.best, wanted.best_epoch)
        assert going.evaluate(case.x, case.y).loss == called.best


def test_ctrl_c_does_not_wait_for_the_compiler(make_case, monkeypatch):
    case, trainer = make_trainer(make_case)
    wanted = trainer.evaluate(case.x, case.y)
    let_go, ended = threading.Event(), threading.Event()
    real = program.run_forward

    class Slow:
        dispatcher, sign = getattr(real, "dispatcher", None), getattr(real, "sign", None)

        def address(self, arguments):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            let_go.wait(60)
            ended.set()
            return real.address(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(program, "run_forward", Slow())
        with pytest.raises(KeyboardInterrupt):
            trainer.evaluate(case.x, case.y)
        assert not ended.is_set()
        let_go.set()
        assert ended.wait(60)
        patch.setattr(program, "run_forward", real)
        assert trainer.evaluate(case.x, case.y) == wanted
        let_go.clear()
        ended.clear()
        patch.setattr(program, "run_forward", Slow())
        history = trainer.fit(case.x, case.y)
        assert history.interrupted
        assert (trainer.n_steps, ended.is_set()) == (0, False)
        let_go.set()
        assert ended.wait(60)


def test_no_python_code_runs_in_a_compiled_call(make_case, monkeypatch):
    """A handler that runs, and raises, while a result becomes an object of Python's is a SystemError."""
    real, ends = loop.run_steps, []

    def run_steps(*arguments):
        ends.append(real(*arguments))
        return ends[-1]

    monkeypatch.setattr(loop, "run_steps", run_steps)
    case, trainer = make_trainer(make_case)
    trainer.fit(case.x, case.y)
    assert {type(value) for end in ends for value in end} == {int}


@pytest.mark.skipif(JIT_DISABLED, reason="no call is compiled")
def test_ctrl_c_right_after_a_compiled_call(make_case):
    """Many times, from a thread, as a user's comes: it is a KeyboardInterrupt each time."""
    case, trainer = make_trainer(make_case)
    main, raised = threading.main_thread().ident, 0
    trainer.evaluate(case.x, case.y)

    def go_on():
        timer.start()
        while True:
            trainer.evaluate(case.x, case.y)
            fastnn.gradient(case.network, case.x, case.y, loss=case.loss)
            case.network.predict(case.x)

    for k in range(20):
        timer = threading.Timer(0.0005 * k, signal.pthread_kill, (main, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            go_on()
        timer.join()
        raised += 1
    assert raised == 20


def test_where_no_thread_can_be_started(monkeypatch):
    """As at the end of the process; a press is raised afterwards."""

    def fail(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert call_apart(lambda: 3) == 3
    with pytest.raises(KeyboardInterrupt):
        call_apart(press)


def test_weights_are_assigned_all_or_none(make_case):
    """Whatever line of it Ctrl-C comes at."""
    case, _ = make_trainer(make_case)
    old = [w.copy() for w in case.network.weights]
    new = [w + 1 for w in old]
    line = 1
    while True:
        case.network.weights = old
        presser = Presser(line)
        presser.run(lambda: setattr(case.network, "weights", new))
        if presser.count < line:
            break
        assert len({bool((w == after).all()) for w, after in zip(case.network.weights, new, strict=True)}) == 1, line
        line += 1
    assert line > 5


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
    real, calls, works, let_go, ended = loop.run_steps, [], [], threading.Event(), threading.Event()

    def run_steps(*arguments):
        if arguments[5] == arguments[6]:
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
        patch.setattr(loop, "run_steps", run_steps)
        patch.setattr(loop, "LONG_SECONDS", 0.0)
        patch.setattr(loop, "CALL_SECONDS", 0.0)
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
    monkeypatch.setattr(loop, "LONG_SECONDS", 0.0)
    case, trainer = make_trainer(make_case)
    case.x[0, 0] = 1e308  # sums of it overflow
    with pytest.raises(FloatingPointError):
        fastnn.Trainer(fastnn.mlp(3, 3, seed=0), batch_size=None).fit(case.x, case.y)

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(loop, "run_steps", fail)
    with pytest.raises(MemoryError, match="no room"):
        trainer.fit(case.x, case.y)


def test_what_takes_long_is_waited_for():
    assert call_apart(lambda: threading.Event().wait(0.5)) is False


def test_a_long_step_under_a_handler_of_ones_own(make_case, monkeypatch):
    monkeypatch.setattr(loop, "LONG_SECONDS", 0.0)
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
    work = workspace.make_work(network._layout, n_samples, method.method, theta.dtype, 1)
    update = loop.rest(theta)
    return work, (network._layout, theta, data, task, update, work, n_samples, 0, 1, 0, np.zeros((1, 2)))


@pytest.mark.skipif(JIT_DISABLED, reason="plain Python is too slow for a long step")
@pytest.mark.parametrize("evaluate", ["direct", "auto"])
def test_a_step_that_nobody_wants_ends(evaluate):
    """A step of 3 Tflop or more, half a minute at 100 GFLOP/s, ends when it is told to."""
    method = fastnn.Perturbation(1e-6, evaluate=evaluate)
    loop.take_steps(*prepare([3, 4, 4, 2], method, 5)[1])  # compiled
    work, arguments = prepare([100, 2000, 2000, 2000, 2], method, 96)
    ends = []
    thread = threading.Thread(target=lambda: ends.append(loop.take_steps(*arguments)), daemon=True)
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
    assert loop.take_steps(*arguments) == (0, End.STOPPED)
    for kind in (DIRECT, SECOND):
        work.values[kind] = 1.0
    block = Block(0, 0, 5, 5, True, True)
    for run in (run_direct, run_carried):
        run.function(((layout, theta, data, update, work), ()), block, task, 1, 0)
    assert not work.gradient.any()
    assert (work.values[SECOND] == 1.0).all()
