"""kill -9 and Ctrl-C at random moments."""

import os
import random
import signal
import time

import numpy as np

import fastnn

KILLS = 40
INTERRUPTS = 12

# Trains with a checkpoint after every compiled call, from the checkpoint if there is one.
TRAIN = """
import sys, pathlib, numpy as np, fastnn
from fastnn import _loop
_loop.CALL_SECONDS = 0.002  # many checkpoints, also within epochs
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
    draw = random.Random(0)
    slowest = 0.0
    for _ in range(INTERRUPTS):
        process = start(INTERRUPTED)
        assert process.stdout.readline() == "training\n", process.communicate()
        time.sleep(draw.uniform(0.2, 1.0))
        pressed = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "back True\n", process.communicate()
        slowest = max(slowest, time.perf_counter() - pressed)
        assert process.stdout.read() == "True\n", process.stderr.read()
        assert process.stderr.read() == ""
    report(f"Ctrl-C: {INTERRUPTS} interrupts, {INTERRUPTS} continued bit for bit; the slowest took {slowest:.2f} s")
    assert slowest < 0.5


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
    slowest = 0.0
    for wait in (0.1, 1.0, 5.0):
        process = start(LONG)
        assert process.stdout.readline() == "training\n", process.communicate()
        time.sleep(wait)
        pressed = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "back True\n", process.communicate()
        slowest = max(slowest, time.perf_counter() - pressed)
        assert process.stdout.read().split() == ["True", "True"], process.stderr.read()
        assert process.wait(120) == 0
    report(f"Ctrl-C in a step of minutes: 3 interrupts, 3 with the weights before it; the slowest took {slowest:.2f} s")
    assert slowest < 0.5
