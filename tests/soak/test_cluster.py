"""Training on a Dask cluster of real processes that are killed, stopped and lost: the bits are those at home."""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

import fastnn

pytestmark = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")

COMMON = """
import contextlib, faulthandler, json, os, random, signal, sys, threading, time, warnings
faulthandler.dump_traceback_later(800, exit=True)
warnings.simplefilter("ignore")
import dask
dask.config.set({"distributed.scheduler.allowed-failures": 1000, "distributed.scheduler.worker-ttl": "5s"})
dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"})  # in which a busy machine starts one again
import numpy as np
from distributed import Client, LocalCluster
import fastnn
from fastnn.callbacks import Callback, Checkpoint

rng = np.random.default_rng(0)
X, y = rng.normal(size=(1000, 64)), rng.integers(0, 10, 1000)
SIZES = 64, 64, 10

def make():
    network = fastnn.mlp(*SIZES, hidden="tanh", output="softmax", seed=0)
    options = {"loss": "categorical_cross_entropy", "batch_size": 200, "block_size": 25, "optimizer": fastnn.Adam(1e-4)}
    return fastnn.Trainer(network, **options)

def start(n_workers):
    make().fit(X, y)  # compiled once, not by every worker
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    cluster = LocalCluster(**options)
    return cluster, Client(cluster)

def at_home(trainer):
    '''Return whether a trainer has what an undisturbed one has at home.'''
    whole = make()
    class Stop(Callback):
        def on_steps(self, whole):
            if whole.n_steps == trainer.n_steps:
                whole.stop()
    whole.fit(X, y, 10**6, callbacks=[Stop()])
    return whole.network._theta.tobytes() == trainer.network._theta.tobytes()

def report(**values):
    print(json.dumps(values), flush=True)
"""

KILLS = """
N_KILLS = int(sys.argv[1])

class Stop(Callback):
    def on_steps(self, trainer):
        if n_kills >= N_KILLS:
            trainer.stop()

def kill():
    global n_kills
    rng, reached = random.Random(0), 0
    while n_kills < N_KILLS:
        time.sleep(rng.uniform(0.0, 0.5))
        if len(cluster.workers) < 3:
            cluster.scale(3)
        if trainer.n_steps == reached:
            continue  # who is killed before it has loaded its code takes no step ever
        # A nanny gives up for good whose worker dies while it is being started.
        nannies = [nanny for nanny in cluster.workers.values() if nanny.worker_address in cluster.scheduler.workers]
        if nannies:
            with contextlib.suppress(AttributeError, TypeError, ProcessLookupError):  # it has just died
                os.kill(rng.choice(nannies).process.pid, signal.SIGKILL)
                n_kills, reached = n_kills + 1, trainer.n_steps

if __name__ == "__main__":
    from fastnn.training import cluster as module
    module.PATIENCE = 300.0  # all three may be dead at once, and a busy machine takes long to start one
    cluster, client = start(3)
    trainer, n_kills = make(), 0
    trainer.fit(X, y, 1, client=client)
    killer = threading.Thread(target=kill)
    killer.start()
    trainer.fit(X, y, 10**6, client=client, callbacks=[Stop()])
    killer.join()
    report(kills=n_kills, steps=trainer.n_steps, same=at_home(trainer))
    client.close()
    cluster.close()
"""

STOPPED = """
class StopOne(Callback):
    def on_steps(self, trainer):
        if trainer.n_steps == 12:
            self.pid = next(iter(cluster.workers.values())).process.pid
            os.kill(self.pid, signal.SIGSTOP)
            self.at = time.monotonic()
        if trainer.n_steps == 13:
            self.seconds = time.monotonic() - self.at

if __name__ == "__main__":
    cluster, client = start(2)
    trainer, stop = make(), StopOne()
    trainer.fit(X, y, 5, client=client, callbacks=[stop])
    report(steps=trainer.n_steps, same=at_home(trainer), seconds=stop.seconds)
    with contextlib.suppress(ProcessLookupError):  # its nanny ended it
        os.kill(stop.pid, signal.SIGKILL)
    client.close()
    cluster.close()
"""

RESTARTED = """
class Die(Callback):
    def on_steps(self, trainer):
        if trainer.n_steps == int(sys.argv[3]):
            for nanny in cluster.workers.values():
                os.kill(nanny.process.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    path, on_cluster = sys.argv[1], sys.argv[2] == "cluster"
    cluster, client = start(2) if on_cluster else (None, None)
    trainer = fastnn.Trainer.resume(path) if os.path.exists(path) else make()
    resumed = trainer.n_steps
    callbacks = [Die(), Checkpoint(path, seconds=0)]
    trainer.fit(X, y, 5 - trainer.n_epochs, client=client, callbacks=callbacks)
    report(resumed=resumed, steps=trainer.n_steps, same=at_home(trainer))
    if on_cluster:
        client.close()
        cluster.close()
"""

LOST = """
class Lose(Callback):
    def on_steps(self, trainer):
        if trainer.n_steps == 7:
            os.kill(int(sys.argv[2]), signal.SIGKILL)

if __name__ == "__main__":
    from fastnn.training import cluster
    cluster.PATIENCE = 5.0
    dask.config.set({"distributed.comm.timeouts.connect": "5s"})
    trainer, error = make(), None
    with Client(scheduler_file=sys.argv[1]) as client:
        try:
            trainer.fit(X, y, 3, client=client, callbacks=[Lose()])
        except ConnectionError as raised:
            error = str(raised)
        steps = trainer.n_steps
        trainer.fit(X, y, 3 - trainer.n_epochs)
        report(error=error, steps=steps, same=at_home(trainer))
        os._exit(0)
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(fastnn.__file__))}


def run(folder, program, *arguments, timeout=900):
    path = folder / "program.py"
    path.write_text(textwrap.dedent(COMMON + program))
    return subprocess.run(
        [sys.executable, str(path), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def read_report(process):
    lines = [line for line in process.stdout.splitlines() if line.startswith("{")]
    assert lines, process.stderr
    return json.loads(lines[-1])


def test_kills_at_random_moments(tmp_path, report):
    found = read_report(run(tmp_path, KILLS, 100))
    report(f"{found['kills']} workers killed in {found['steps']} steps, nothing lost, the same bits: {found['same']}")
    assert found["kills"] >= 100
    assert found["same"]


def test_a_worker_that_is_stopped(tmp_path, report):
    """It answers nothing, and is given up when it has not been heard of for `worker-ttl`, 5 s here."""
    found = read_report(run(tmp_path, STOPPED))
    report(f"a worker stopped, the step took {found['seconds']:.1f} s, the same bits: {found['same']}")
    assert found["steps"] == 25
    assert found["same"]


@pytest.mark.parametrize("places", ["cluster cluster cluster", "cluster home cluster"])
def test_everything_killed_in_mid_epoch(tmp_path, report, places):
    path, steps = tmp_path / "run", (7, 13, 0)
    first, second, third = places.split()
    assert run(tmp_path, RESTARTED, path, first, steps[0]).returncode == -9
    if second == "cluster":
        assert run(tmp_path, RESTARTED, path, second, steps[1]).returncode == -9
        found = read_report(run(tmp_path, RESTARTED, path, third, 0))
        assert found["resumed"] in (12, 13)
    else:
        found = read_report(run(tmp_path, RESTARTED, path, second, 0))
        assert found["resumed"] in (6, 7)
    report(f"killed with all workers, resumed at step {found['resumed']} of 25, the same bits: {found['same']}")
    assert found["steps"] == 25
    assert found["same"]


def test_the_scheduler_is_lost(tmp_path, report):
    """It says so, and training goes on at home from the last whole step."""
    file = tmp_path / "scheduler.json"
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--port", "0"],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not file.exists():
        time.sleep(0.1)
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", *options, "--nthreads", "1", "--no-nanny"],
        env=environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        found = read_report(run(tmp_path, LOST, file, scheduler.pid))
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    report(f"the scheduler killed at step {found['steps']}: {found['error']!r}; at home the same bits: {found['same']}")
    assert "no worker has answered" in found["error"]
    assert found["steps"] == 7
    assert found["same"]
