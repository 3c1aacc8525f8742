"""Several threads at once, and forks after use, under every threading layer that is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

TIMEOUT = 120
LAYERS = ["omp", "workqueue", "tbb"]

SETUP = """
import sys, threading, multiprocessing, numba, numpy as np, fastnn, fastnn.training.trainer
fastnn.training.trainer.count_chunks = lambda *_: 2  # on threads, however small
fastnn._engine.threads.Pace.plan = lambda self: (True, 10**9)  # and however slow
rng = np.random.default_rng(0)
X, y = rng.normal(size=(200, 10)), rng.integers(0, 3, 200)

def train(seed):
    network = fastnn.mlp(10, 20, 3, hidden="tanh", output="softmax", seed=seed)
    fastnn.Trainer(network, loss="categorical_cross_entropy").fit(X, y, 20)
    return network._theta.tobytes()

wanted = [train(seed) for seed in range(4)]
assert numba.threading_layer() == sys.argv[1]
"""
REPORT = """
print(sum(one == other for one, other in zip(wanted * rounds, got)), len(got))
"""
THREADS = """
rounds = 15
got = [None] * 4 * rounds
def work(seed):
    for k in range(seed, len(got), 4):
        got[k] = train(seed)
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
FORK = """
rounds = 5
with multiprocessing.get_context("fork").Pool(2) as pool:
    got = pool.map_async(train, list(range(4)) * rounds).get(timeout=60)
"""
FORK_WHILE_TRAINING = """
rounds = 3
stop = threading.Event()
def busy():
    while not stop.is_set():
        train(0)
thread = threading.Thread(target=busy)
thread.start()
got = []
for _ in range(rounds):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        got += pool.map_async(train, range(4)).get(timeout=60)
stop.set()
thread.join()
"""
JOBLIB = """
import joblib
rounds = 2
tasks = lambda: (joblib.delayed(train)(seed) for seed in list(range(4)) * rounds)
got = joblib.Parallel(n_jobs=2, backend=sys.argv[2], timeout=60)(tasks())
"""
PROGRAMS = {
    "threads": (THREADS, ""),
    "fork": (FORK, ""),
    "fork while training": (FORK_WHILE_TRAINING, ""),
    "joblib loky": (JOBLIB, "loky"),
    "joblib threading": (JOBLIB, "threading"),
    "joblib multiprocessing": (JOBLIB, "multiprocessing"),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_right_results_and_no_abort(start, report, layer, name):
    environment = {"NUMBA_THREADING_LAYER": layer}
    if layer == "tbb":
        if not importlib.util.find_spec("tbb") and not list(Path(sys.prefix, "lib").glob("libtbb.so*")):
            pytest.skip("tbb is not installed")
        environment["LD_LIBRARY_PATH"] = f"{sys.prefix}/lib"  # where its wheel puts the library
    program, option = PROGRAMS[name]
    if "joblib" in program:
        pytest.importorskip("joblib")
    process = start(SETUP + program + REPORT, layer, option, **environment)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    right, total = map(int, out.splitlines()[-1].split())  # tbb may say something before
    report(f"{layer}, {name}: {total} trainings, {right} with the right bits, {total - right} lost")
    assert right == total
