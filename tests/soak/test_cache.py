"""The cache of compiled code under faults: fastnn still computes, at worst after compiling again."""

import compileall
import os
import shutil
import textwrap
import zipfile
from pathlib import Path

import pytest

TIMEOUT = 600
ROUNDS = 30
KILLS = 150
SECONDS = 20
TRAIN = """
import sys, numpy as np, fastnn
network = fastnn.mlp(3, 4, 2, seed=0, dtype=sys.argv[1] if sys.argv[1:] else "float64")
trainer = fastnn.Trainer(network, gradient=fastnn.Backprop())
trainer.fit(np.ones((4, 3)), np.ones((4, 2)), 3)
print(network._theta.tobytes().hex())
"""
PREDICT = """
import numpy as np, fastnn
print(fastnn.mlp(3, 4, 2, seed=0).predict(np.ones((4, 3))).tobytes().hex())
"""
# A function that is cached the way fastnn's are; a process that is forked starts with none compiled.
SMALL = """
import contextlib, os, random, shutil, signal, sys, time, warnings
from pathlib import Path
import numba, numpy as np
from fastnn._compiler import jit

VALUES = [3, 3.0, np.float32(3), 3j]

def double(x):
    return x + x

def run(values):
    jit.open_folder.cache_clear()
    jit._warn_once.cache_clear()
    dispatcher = jit.entry_point(double)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for value in values:
            assert dispatcher(value) == value + value
            assert numba.typeof(value) in [signature.args[0] for signature in dispatcher.nopython_signatures]
    return sum(dispatcher.stats.cache_hits.values()), len(warned)

def fork(function, *arguments):
    pid = os.fork()
    if pid:
        return pid
    code = 99
    with contextlib.suppress(BaseException):
        code = function(*arguments)
    os._exit(code)

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

numba.njit(double)(3)  # what a compiler imports is imported once
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")


@pytest.fixture(scope="module")
def wanted():
    import numpy as np

    import fastnn

    results = {}
    for dtype in ("float64", "float32"):
        network = fastnn.mlp(3, 4, 2, seed=0, dtype=dtype)
        fastnn.Trainer(network, gradient=fastnn.Backprop()).fit(np.ones((4, 3)), np.ones((4, 2)), 3)
        results[dtype] = network._theta.tobytes().hex()
    return results


@pytest.fixture(scope="module")
def predicted():
    import numpy as np

    import fastnn

    return fastnn.mlp(3, 4, 2, seed=0).predict(np.ones((4, 3))).tobytes().hex()


def test_four_first_runs_at_once(start, report, tmp_path, wanted):
    """Half of them in each precision."""
    runs = [(dtype, start(TRAIN, dtype, NUMBA_CACHE_DIR=str(tmp_path))) for dtype in [*wanted] * 2]
    right = 0
    for dtype, process in runs:
        out, error = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, error
        right += out.strip() == wanted[dtype]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.code")}
    for dtype in wanted:
        out, error = start(TRAIN, dtype, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
        assert (out.strip(), error) == (wanted[dtype], "")
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.code")}  # nothing was compiled again
    report(f"cache: 4 first runs at once in two precisions, {right} with the right bits, {4 - right} lost")
    assert right == 4


@forks
def test_types_compiled_at_once(start, report, tmp_path):
    program = """
    def begin(ready, value):
        os.read(ready, 1)
        hits, warned = run([value])
        return warned

    lost = 0
    for k in range(int(sys.argv[2])):
        numba.config.CACHE_DIR = os.path.join(sys.argv[1], str(k))
        ready, go = os.pipe()
        children = [fork(begin, ready, value) for value in VALUES]
        os.write(go, bytes(len(VALUES)))
        lost += sum(wait(pid) != 0 for pid in children)
        os.close(ready)
        os.close(go)
        # Then there is a file of each.
        lost += wait(fork(lambda: run(VALUES) != (len(VALUES), 0))) != 0
    print(lost)
    """
    process = start(SMALL + textwrap.dedent(program), tmp_path, ROUNDS)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    report(f"cache: {ROUNDS} times 4 types compiled at once, {out.strip()} lost")
    assert out.strip() == "0"


@forks
def test_kills_in_the_middle_of_writing(start, report, tmp_path):
    program = """
    numba.config.CACHE_DIR = sys.argv[1]
    kills = int(sys.argv[2])

    def write(began):
        run([3.0])
        folder, _ = jit.open_folder(jit.user_cache_folder())
        (path,) = folder.glob("*.code")
        content = path.read_bytes()
        os.write(began, b"1")
        while True:
            jit.replace(path, content)
            jit.make_folder(folder)

    lost = left = 0
    for k in range(kills):
        if k % 10 == 0:
            left += len(list(jit.user_cache_folder().rglob("*.tmp")))
            shutil.rmtree(jit.user_cache_folder(), ignore_errors=True)
        ready, began = os.pipe()
        pid = fork(write, began)
        if k % 10:  # else while the folders are made, or before
            os.read(ready, 1)
        time.sleep(random.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        wait(pid)
        os.close(ready)
        os.close(began)
        lost += wait(fork(lambda: run([3.0])[1])) != 0
    print(lost, left)
    """
    process = start(SMALL + textwrap.dedent(program), tmp_path, KILLS)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    lost, left = out.split()
    report(f"cache: {KILLS} kills while it is written, {lost} lost, {left} temporary files left")
    assert lost == "0"


@forks
def test_versions_that_delete_each_others_folders(start, report, tmp_path):
    program = """
    numba.config.CACHE_DIR = sys.argv[1]
    until = time.monotonic() + float(sys.argv[2])
    precious = Path(sys.argv[1], "fastnn-compiled", "0123456789abcdef", "notes.txt")

    def work(newest):
        runs = warned = 0
        while time.monotonic() < until:
            if newest or runs % 20 == 0:  # a version of its own, each time or for a while
                jit.DIGEST = f"{random.getrandbits(64):016x}"
            warned += run([3.0])[1]
            runs += 1
        Path(sys.argv[1], f"{os.getpid()}.txt").write_text(f"{runs} {warned}")
        return 0

    os.makedirs(precious.parent, mode=0o700)
    precious.touch()
    failed = sum(wait(pid) != 0 for pid in [fork(work, k < 2) for k in range(4)])
    runs, warned = np.sum([np.loadtxt(path, int) for path in Path(sys.argv[1]).glob("*.txt")], axis=0)
    print(runs, warned, failed, len(os.listdir(precious.parent.parent)), precious.exists())
    """
    process = start(SMALL + textwrap.dedent(program), tmp_path, SECONDS)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    runs, warned, failed, folders, is_kept = out.split()
    report(f"cache: {runs} runs of versions that delete each other's folders, {failed} failed, {warned} not kept")
    assert (failed, is_kept) == ("0", "True")
    assert int(folders) <= 4 + 4 + 1  # what processes at once may each have made, and the one that is not fastnn's


@pytest.mark.parametrize("form", ["zip", "bytecode"])
def test_two_versions_without_sources(start, report, tmp_path, form):
    """The sigmoid of the second is another: it runs its own code, not what the first compiled."""
    import fastnn

    program = """
    import sys
    sys.path.remove("")  # the sources, if the tests run beside them
    import numpy as np, fastnn
    network = fastnn.mlp(3, 4, 2, hidden="sigmoid", output="sigmoid", seed=0)
    print(fastnn.__file__)
    print(*network.predict(np.ones((1, 3))).ravel())
    """
    results = []
    for version in (1, 2):
        place = tmp_path / f"version {version}"
        shutil.copytree(Path(fastnn.__file__).parent, place / "fastnn", ignore=shutil.ignore_patterns("__pycache__"))
        if version == 2:
            path = place / "fastnn" / "kernels" / "elementary.py"
            source = path.read_text()
            path.write_text(source.replace("def logistic(z):", "def logistic(z):\n    z = -133.0 * z", 1))
            assert path.read_text() != source
        if form == "bytecode":
            compileall.compile_dir(place, quiet=1, legacy=True)
            for path in place.rglob("*.py"):
                path.unlink()
        else:
            path = tmp_path / f"version {version}.zip"
            with zipfile.ZipFile(path, "w") as file:
                for source in sorted(place.rglob("*.py")):
                    file.write(source, source.relative_to(place))
            place = path
        for _ in range(2):
            process = start(program, PYTHONPATH=str(place), NUMBA_CACHE_DIR=str(tmp_path / "cache"))
            out, error = process.communicate(timeout=TIMEOUT)
            assert (process.returncode, error) == (0, "")
            where, numbers = out.splitlines()
            assert where.startswith(str(place))
            results.append(numbers)
    assert results[0] == results[1] != results[2] == results[3]
    report(f"cache: two versions from {form}, {results[0]} and {results[2]}: each its own")


def test_files_cut_and_overwritten(start, report, tmp_path, predicted):
    start(PREDICT, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    files = sorted(tmp_path.rglob("*.code"))
    assert files
    for k, path in enumerate(files):
        content = path.read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]
        path.write_bytes([b"", content[:middle], b"garbage" * 100, flipped][k % 4])
    out, error = start(PREDICT, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == predicted, error
    assert error.count("compiling again") == len(files)
    out, error = start(PREDICT, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert (out.strip(), error) == (predicted, "")
    report(f"cache: {len(files)} files damaged, compiled again once, whole afterwards")


@pytest.mark.parametrize("home", ["/proc/none", "/dev/null", "/dev/full"])
def test_a_home_that_cannot_be_written(start, report, predicted, home):
    environment = {"HOME": home, "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
    process = start(PREDICT, **environment)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, error
    assert out.strip() == predicted
    assert error.count("Set NUMBA_CACHE_DIR to a folder that only you can write") == 1
    report(f"cache: HOME={home} compiles in each process, and says so once")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no file size limit here")
def test_a_full_disk(start, report, tmp_path, predicted):
    """A limit on the size of files stands for a disk that is full in the middle of a write."""
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n" + PREDICT
    out, error = start(limited, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert out.strip() == predicted, error
    assert error.count("compiled code is not kept") == 1
    assert not list(tmp_path.rglob("*.tmp"))
    out, error = start(PREDICT, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=TIMEOUT)
    assert (out.strip(), error) == (predicted, "")
    report("cache: a disk that is full costs a compilation, and leaves nothing wrong")
