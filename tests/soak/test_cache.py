"""The cache of compiled code under faults: fastnn still computes, at worst after compiling again."""

import os

import pytest

TIMEOUT = 400
TRAIN = """
import sys, numpy as np, fastnn
network = fastnn.mlp(3, 4, 2, seed=0)
trainer = fastnn.Trainer(network, gradient=fastnn.Backprop())
trainer.fit(np.ones((4, 3)), np.ones((4, 2)), 3)
print(network._theta.tobytes().hex())
"""


@pytest.fixture(scope="module")
def wanted():
    import numpy as np

    import fastnn

    network = fastnn.mlp(3, 4, 2, seed=0)
    fastnn.Trainer(network, gradient=fastnn.Backprop()).fit(np.ones((4, 3)), np.ones((4, 2)), 3)
    return network._theta.tobytes().hex()


def test_eight_first_runs_at_once(start, report, tmp_path, wanted):
    processes = [start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(8)]
    right = 0
    for process in processes:
        out, error = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, error
        right += out.strip() == wanted
    out, error = start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == wanted, error
    assert error == ""
    report(f"cache: 8 first runs at once, {right} with the right bits, {8 - right} lost")
    assert right == 8


def test_files_cut_and_overwritten(start, report, tmp_path, wanted):
    start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    files = sorted(tmp_path.rglob("*.nb?"))
    assert files
    for k, path in enumerate(files):
        content = path.read_bytes()
        path.write_bytes([b"", content[: len(content) // 2], b"garbage" * 100][k % 3])
    out, error = start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == wanted, error
    assert "compiling again" in error
    out, error = start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert (out.strip(), error) == (wanted, "")
    report(f"cache: {len(files)} files damaged, compiled again once, whole afterwards")


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null", "/dev/full"])
def test_a_home_that_cannot_be_written(start, report, wanted, home):
    environment = {"HOME": home, "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
    process = start(TRAIN, **environment)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    assert out.strip() == wanted
    assert "Set NUMBA_CACHE_DIR to a folder that can be written" in error
    report(f"cache: HOME={home} compiles in each process, and says so")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no file size limit here")
def test_a_full_disk(start, report, tmp_path, wanted):
    """A limit on the size of files stands for a disk that is full in the middle of a write."""
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n" + TRAIN
    out, error = start(limited, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == wanted, error
    assert "compiled code cannot be kept" in error
    out, error = start(TRAIN, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == wanted, error
    report("cache: a disk that is full costs a compilation, and leaves nothing wrong")
