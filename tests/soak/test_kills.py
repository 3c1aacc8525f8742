"""kill -9 and Ctrl-C at random moments."""

import ast
import os
import random
import signal
import time

import numpy as np
import pytest

import fastnn

KILLS = 40
INTERRUPTS = 12

# Trains with a checkpoint after every compiled call, from the checkpoint if there is one.
TRAIN = """
import sys, pathlib, numpy as np, fastnn
from fastnn._engine import loop
loop.CALL_SECONDS = 0.002  # many checkpoints, also within epochs
path, epochs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(6000, 20)), rng.integers(0, 5, 6000)

def make():
    network = fastnn.mlp(20, 30, 5, hidden="tanh", output="softmax", seed=0)
    return fastnn.Trainer(
        network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(0.001), gradient=fastnn.Backprop()
    )

make().fit(X, y)  # compiled
trainer = fastnn.Trainer.resume(path) if path.exists() else make()
print("training", flush=True)
trainer.fit(X, y, epochs - trainer.n_epochs, callbacks=[fastnn.callbacks.Checkpoint(path, seconds=0)])
print("done", trainer.n_epochs)
"""


def test_kill_9_at_random_moments(start, report, tmp_path):
    """The run that is killed again and again ends with the bits of the one that nobody disturbs."""
    epochs = 200
    calm = tmp_path / "calm"
    process = start(TRAIN, calm, epochs)
    assert process.communicate(timeout=300)[0].split()[-1] == str(epochs)

    path = tmp_path / "killed"
    draw = random.Random(0)
    survived = within = kills = litter = 0
    while kills < KILLS:
        process = start(TRAIN, path, epochs)
        assert process.stdout.readline() == "training\n", process.communicate()
        time.sleep(draw.uniform(0.0, 0.06))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        if path.exists():
            trainer = fastnn.Trainer.resume(path)  # raises if the file is not whole
            survived += 1
            within += trainer._position is not None
    litter = sum(name.endswith(".tmp") for name in os.listdir(tmp_path))
    process = start(TRAIN, path, epochs)
    out, error = process.communicate(timeout=300)
    assert out.split()[-1] == str(epochs), error
    one, two = fastnn.Trainer.resume(calm), fastnn.Trainer.resume(path)
    assert one.network._theta.tobytes() == two.network._theta.tobytes()
    np.testing.assert_array_equal(one.history.loss, two.history.loss)
    report(
        f"kill -9: {kills} kills, {survived} times a whole checkpoint ({within} within an epoch), "
        f"{kills - survived} before the first one, 0 lost; {litter} temporary files left behind"
    )
    assert kills > 20
    assert survived > 10
    assert within > 5


INTERRUPTED = """
import sys, signal, numpy as np, fastnn
rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 20)), rng.integers(0, 5, 2000)

def make():
    network = fastnn.mlp(20, 40, 5, hidden="tanh", output="softmax", seed=0)
    return fastnn.Trainer(network, loss="categorical_cross_entropy")

make().fit(X, y)  # compiled
trainer, epochs = make(), 0
print("training", flush=True)
history = trainer.fit(X, y, 10**6)
print("back", history.interrupted, flush=True)
twin = make()
twin.fit(X, y, trainer.n_epochs + 1)
trainer.fit(X, y)
print(trainer.network._theta.tobytes() == twin.network._theta.tobytes() and trainer.n_steps == twin.n_steps)
"""


def test_ctrl_c_at_random_moments(start, report):
    """Control is back within half a second; the next fit gives the bits of one that nobody interrupted."""
    draw, seconds = random.Random(0), []
    for _ in range(INTERRUPTS):
        process = start(INTERRUPTED)
        assert process.stdout.readline() == "training\n", process.communicate()
        time.sleep(draw.uniform(0.2, 1.0))
        pressed = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "back True\n", process.communicate()
        seconds.append(time.perf_counter() - pressed)
        assert process.stdout.read() == "True\n", process.stderr.read()
        assert process.stderr.read() == ""
    took = f"the slowest took {max(seconds):.2f} s"
    report(f"Ctrl-C: {INTERRUPTS} interrupts, {INTERRUPTS} continued bit for bit; {took}")
    assert np.median(seconds) < 0.5  # of all: a machine may stand still now and then


LONG = """
import sys, time, numpy as np, fastnn
rng = np.random.default_rng(0)
X, y = rng.normal(size=(4000, 100)), rng.normal(size=(4000, 10))

def make(seed):
    network = fastnn.mlp(100, *[120] * 6, 10, hidden="tanh", seed=seed)
    return fastnn.Trainer(network, gradient=fastnn.Perturbation(evaluate="direct"), batch_size=None)

make(0).fit(X[:8], y[:8])  # compiled
trainer = make(1)
before = trainer.network._theta.tobytes()
print("training", flush=True)
history = trainer.fit(X, y, 3)
print("back", history.interrupted, flush=True)
print(trainer.n_steps == 0 and trainer.network._theta.tobytes() == before)
small, twin = make(2), make(2)
small.fit(X[:8], y[:8])  # while the step that was left goes on
twin.fit(X[:8], y[:8])
print(small.network._theta.tobytes() == twin.network._theta.tobytes())
"""


def test_ctrl_c_in_the_middle_of_a_long_step(start, report):
    """One step, minutes long: every weight of a deep network on thousands of samples, directly."""
    seconds = []
    for wait in (0.1, 1.0, 5.0):
        process = start(LONG)
        assert process.stdout.readline() == "training\n", process.communicate()
        time.sleep(wait)
        pressed = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "back True\n", process.communicate()
        seconds.append(time.perf_counter() - pressed)
        assert process.stdout.read().split() == ["True", "True"], process.stderr.read()
        assert process.wait(120) == 0
    took = f"the slowest took {max(seconds):.2f} s"
    report(f"Ctrl-C in a step of minutes: 3 interrupts, 3 with the weights before it; {took}")
    assert np.median(seconds) < 0.5


# Calls something again and again, with Ctrl-C at random moments, and looks what goes on afterwards.
PRESSED = """
import os, pathlib, random, signal, sys, tempfile, threading, time, numpy as np, fastnn
kind, presses, times, seed = sys.argv[1], *map(int, sys.argv[2:])
draw, rng = random.Random(seed), np.random.default_rng(0)
X, y = rng.normal(size=(2000, 20)), rng.integers(0, 5, 2000)
big, labels = rng.normal(size=(400_000, 20)), rng.integers(0, 5, 400_000)
folder = pathlib.Path(tempfile.mkdtemp())
loss = "categorical_cross_entropy"

def make(seed=0):
    network = fastnn.mlp(20, 100, 5, hidden="tanh", output="softmax", seed=seed)
    return fastnn.Trainer(network, loss=loss, optimizer=fastnn.Adam(0.001))

def same(one, two):
    return (
        one.n_steps == two.n_steps
        and one.network._theta.tobytes() == two.network._theta.tobytes()
        and one._update.moments.tobytes() == two._update.moments.tobytes()
        and one._rng.bit_generator.state == two._rng.bit_generator.state
        and all(
            np.array_equal(a, b)
            for (n, a), (_, b) in zip(one.history.to_dict().items(), two.history.to_dict().items())
            if n != "seconds"
        )
    )

class Fitting:
    # Fits of some epochs; afterwards they are finished, and compared with fits that nobody disturbed.
    epochs, held_out = 8, None

    def __init__(self):
        self.twin = make()
        self.twin.fit(X, y, self.epochs, self.held_out, callbacks=self.callbacks("twin"))
        self.begin()

    def begin(self):
        # Ctrl-C may come between any two of these: a trainer that has ended would miss the log that is deleted.
        self.trainer = make()
        self.called = self.callbacks("own")

    def callbacks(self, name):
        return []

    def __call__(self):
        history = self.trainer.fit(X, y, self.epochs - self.trainer.n_epochs, self.held_out, callbacks=self.called)
        if history.interrupted:
            raise KeyboardInterrupt
        self.begin()

    def check(self):
        self.trainer.fit(X, y, self.epochs - self.trainer.n_epochs, self.held_out, callbacks=self.called)
        good = same(self.trainer, self.twin)
        self.begin()
        return good

class Validated(Fitting):
    epochs, held_out = 3, (big, labels)

class Watched(Fitting):
    held_out = X[:50], y[:50]

    def callbacks(self, name):
        path = folder / f"{name}.csv"
        path.unlink(missing_ok=True)
        rate = fastnn.callbacks.LearningRateSchedule.cosine(0.01, 8)
        kinds = fastnn.callbacks
        return [kinds.Checkpoint(folder / name), kinds.EarlyStopping(patience=100), kinds.CSVLogger(path), rate]

    def check(self):
        files = [fastnn.Trainer.resume(folder / "own")] if (folder / "own").exists() else []  # whole, or it raises
        path, called = folder / "own.csv", self.called
        resumed = [(t, self.callbacks("resumed")) for t in files]
        good = True
        for trainer, callbacks in [(self.trainer, called), *resumed]:
            trainer.fit(X, y, self.epochs - trainer.n_epochs, self.held_out, callbacks=callbacks)
            good &= same(trainer, self.twin)
        epochs = [line.partition(",")[0] for line in path.read_text().splitlines()[1:]]
        good &= epochs == [str(k + 1) for k in range(8)] or times > 1 and len(set(epochs)) == len(epochs)
        self.begin()
        return good

class Repeated:
    # What gives the same each time.
    def __init__(self, call):
        self.call = call
        self.wanted = call()

    def __call__(self):
        return self.call()

    def check(self):
        found = self.call()
        return all(np.array_equal(a, b) for a, b in zip(found, self.wanted, strict=True))

class Estimator:
    def __init__(self):
        import warnings
        warnings.filterwarnings("ignore", message=".* was still improving")  # four epochs are enough here
        self.wanted = self.make().fit(X, y)._trainer

    def make(self):
        from fastnn.sklearn import PerturbationClassifier
        return PerturbationClassifier((20,), max_iter=4, random_state=0, early_stopping=True, n_iter_no_change=9)

    def __call__(self):
        self.model = self.make()
        self.model.fit(X, y)

    def check(self):
        trainer = self.make().fit(X, y)._trainer
        return same(trainer, self.wanted)

class Files:
    def __init__(self):
        self.trainer = make()
        self.trainer.fit(X, y)
        self()

    def __call__(self):
        self.trainer.save(folder / "run")
        fastnn.Trainer.resume(folder / "run")
        self.trainer.network.save(folder / "network")
        fastnn.load(folder / "network")

    def check(self):
        good = same(fastnn.Trainer.resume(folder / "run"), self.trainer)
        fastnn.load(folder / "network")
        return good

trainer = make()
direct = fastnn.Perturbation(evaluate="direct")
weights = [rng.normal(size=s) for s in ((20, 30), (30,), (30, 5), (5,))]
hot = np.eye(5)[y]
kinds = {
    "fit": Fitting,
    "fit, validated": Validated,
    "fit, with callbacks": Watched,
    "evaluate": lambda: Repeated(lambda: trainer.evaluate(big, labels)),
    "evaluate, small": lambda: Repeated(lambda: trainer.evaluate(X[:20], y[:20])),
    "gradient": lambda: Repeated(lambda: fastnn.gradient(trainer.network, big[:20000], labels[:20000], loss=loss)),
    "gradient, small": lambda: Repeated(lambda: fastnn.gradient(trainer.network, X[:20], y[:20], loss=loss)),
    "gradient, direct": lambda: Repeated(lambda: fastnn.gradient(trainer.network, X, y, loss=loss, method=direct)),
    "predict": lambda: Repeated(lambda: [trainer.network.predict(big)]),
    "forward": lambda: Repeated(lambda: trainer.network.forward(X).activations),
    "feed_forward": lambda: Repeated(lambda: [fastnn.feed_forward(X, hot, weights)]),
    "update_weights": lambda: Repeated(lambda: fastnn.update_weights(X, hot, weights, 5)),
    "estimator": Estimator,
    "files": Files,
}
task = kinds[kind]()
began = time.perf_counter()
task()
within = 1.2 * (time.perf_counter() - began) + 1e-4
main, when, delays, outcomes, bad = threading.main_thread().ident, [], [], {}, 0

def press():
    for k in range(times):
        time.sleep(draw.uniform(0, within if k == 0 else 0.2))
        when.append(time.perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

for _ in range(presses):
    when.clear()
    thread = threading.Thread(target=press)
    raised = []
    while not raised or thread.is_alive():
        try:
            if not raised:
                if thread.ident is None:
                    thread.start()
                task()
            else:
                time.sleep(0.001)
        except BaseException as error:
            back = time.perf_counter()
            raised.append(type(error).__name__)
            if len(raised) == 1:
                delays.append(back - when[0])
    for name in raised:
        outcomes[name] = outcomes.get(name, 0) + 1
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        bad += 1
        signal.signal(signal.SIGINT, signal.default_int_handler)
    bad += not task.check()
print(outcomes, "|", bad, "|", np.median(delays), "|", max(delays))
"""
PRESSED_KINDS = [
    "fit",
    "fit, validated",
    "fit, with callbacks",
    "evaluate",
    "evaluate, small",
    "gradient",
    "gradient, small",
    "gradient, direct",
    "predict",
    "forward",
    "feed_forward",
    "update_weights",
    "estimator",
    "files",
]


# How often each is pressed. With PRESSES=200 it takes half an hour.
PRESSES = int(os.environ.get("PRESSES", 20))


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", PRESSED_KINDS)
def test_ctrl_c_in_each_call(start, report, kind, times):
    """Once or twice: it is KeyboardInterrupt or an interrupted history, and what goes on is as if it had not come."""
    process = start(PRESSED, kind, PRESSES // times, times, times)
    out, error = process.communicate(timeout=1200)
    assert out, error
    outcomes, bad, median, slowest = out.split("|")
    outcomes = ast.literal_eval(outcomes.strip())
    report(
        f"{kind}: {PRESSES // times} times Ctrl-C x {times}: {outcomes}, {int(bad)} went on otherwise; "
        f"median {float(median):.2f} s, slowest {float(slowest):.2f} s"
    )
    assert set(outcomes) == {"KeyboardInterrupt"}
    assert int(bad) == 0
    assert float(median) < 0.5
    assert error == ""
