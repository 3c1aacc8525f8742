"""fastnn beside its peers on this machine: JAX, PyTorch, the plain NumPy loop.

    python -m pip install -e ".[compare]"
    python asv_bench/compare.py            prints the tables
    python asv_bench/compare.py --save     and writes them into README.md

How peers are raced is in `races.py`.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import numpy as np
from layers import table as layers_table
from races import CROSS_ENTROPY, SQUARED, describe, environment, milliseconds, race, ratio
from schemes import table as schemes_table

README = Path(__file__).parents[1] / "README.md"


def product_rate(dtype):
    """Return what NumPy's matrix product reaches on all cores, in flop a second."""
    a = np.random.default_rng(0).random((2048, 2048)).astype(dtype)
    a @ a
    times = []
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    return 2 * 2048**3 / statistics.median(times)


def step_floor(case, rate):
    """Return the seconds that a step's products take at a rate: forward, back, and one a term of the series."""
    sizes = [int(n) for n in case[0].partition(", ")[0].split("-")]
    products = [2 * case[1] * a * b for a, b in pairwise(sizes)]
    n_terms = 3 if case[3] == "float64" else 2
    flops = (1 + n_terms) * sum(products) + sum(products[1:])
    # Past the next level, each unit's line goes up by itself.
    for layer in range(len(sizes) - 3):
        units = sizes[layer + 1]
        flops += (n_terms - 1) * units * sum(products[layer + 2 :])
    return flops / rate


def table_of_steps():
    """Return the table of single steps."""
    rates = {dtype: product_rate(dtype) for dtype in ("float64", "float32")}
    lines = [
        "| one step, ms | fastnn perturbation | fastnn Backprop | JAX | PyTorch | PyTorch compiled "
        "| perturbation / JAX | perturbation / PyTorch | Backprop / JAX | perturbation / own Backprop "
        "| perturbation / floor | wanted |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    peers = ["fastnn", "fastnn Backprop", "JAX", "PyTorch", "PyTorch compiled"]
    for sizes, batch, loss, wanted in (
        ("784-100-10", 32, SQUARED, "1.0 JAX, 0.5 PyTorch; Backprop 0.7 JAX"),
        ("784-100-10, 20 % not zero", 32, SQUARED, "0.6 JAX; Backprop 0.4 JAX"),
        ("784-100-10, digits", 32, SQUARED, "0.6 JAX; Backprop 0.4 JAX"),
        ("5000-100-10, 1 % not zero", 32, SQUARED, "0.1 JAX; Backprop 0.1 JAX"),
        ("64-32-10", 32, SQUARED, "0.5 JAX"),
        ("784-128-64-10", 32, CROSS_ENTROPY, "3 own Backprop"),
        ("784-512-512-10", 128, CROSS_ENTROPY, "8 own Backprop"),
    ):
        for dtype in ("float64", "float32"):
            case = (sizes, batch, loss, dtype)
            times = race(peers, *case)
            cells = [describe(*case), *(milliseconds(times, peer) for peer in peers)]
            cells += [ratio(times, "fastnn", "JAX"), ratio(times, "fastnn", "PyTorch")]
            cells += [ratio(times, "fastnn Backprop", "JAX"), ratio(times, "fastnn", "fastnn Backprop")]
            cells += [f"{np.median(times['fastnn']) / step_floor(case, rates[dtype]):.1f}", wanted]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    rate = " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in rates.items())
    return "\n".join(lines), f"The floor is the step's products at the rate of NumPy's own (2048 x 2048: {rate})."


def time_program(program, cache):
    """Return the seconds that a new Python process reports on its last line, of modules whose bytecode is kept."""
    kept = {"NUMBA_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**environment(), **kept}
    )
    return float(done.stdout.splitlines()[-1])


IMPORT = "import time; started = time.perf_counter(); import {}; print(time.perf_counter() - started)"
FIT = """
import time, numpy, fastnn
trainer = fastnn.Trainer(fastnn.mlp(64, 32, 10, seed=0))
x, y = numpy.random.default_rng(0).random((64, 64)), numpy.ones((64, 10))
started = time.perf_counter()
trainer.fit(x, y)
print(time.perf_counter() - started)
"""


def long_run(peer):
    """Return the seconds of 12 epochs over 60,000 x 784, 100 hidden, float32, and the last epoch's loss."""
    program = f"""
import time
import numpy as np
import races
case = races.Case("784-100-10", 32, races.CROSS_ENTROPY, "float32")
rng = np.random.default_rng(0)
labels = rng.integers(0, 10, 60000)
case.x = (rng.random((10, 784))[labels] + rng.normal(scale=0.3, size=(60000, 784))).astype("float32")
case.y = np.eye(10, dtype="float32")[labels]
case.n_steps, case.rate = 1875, 0.01
run = races.PEERS[{peer!r}](case)
started = time.perf_counter()
print(run(12))
print(time.perf_counter() - started)
"""
    command = [sys.executable, "-c", program]
    folder = Path(__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), cwd=folder)
    loss, seconds = map(float, done.stdout.splitlines()[-2:])
    return seconds, loss


def table_of_the_rest():
    """Return the table of what is no step."""
    rows = []

    def add(what, measured, wanted):
        rows.append(f"| {what} | {measured} | {wanted} |")
        print(rows[-1], flush=True)

    case = ("784-100-10", 32, SQUARED, "float64")
    times = race(["fastnn", "fastnn direct"], *case, rounds=7)
    loop = race(["NumPy loop"], *case, rounds=1)["NumPy loop"][0]
    add("plain NumPy loop, one step of 784-100-10, batch 32", f"{loop:.1f} s", "")
    add("the same, direct kernel", f"{loop / np.median(times['fastnn direct']):,.0f} times faster", "500")
    add("the same, series", f"{loop / np.median(times['fastnn']):,.0f} times faster", "25,000")
    weights, seconds = [], []
    for hidden in (13, 128, 1270, 12700):
        sizes = f"68-{hidden}-10"
        weights.append(79 * hidden + 10)
        seconds.append(np.median(race(["fastnn"], sizes, 32, SQUARED, "float64", rounds=7)["fastnn"]))
    exponent = np.polyfit(np.log(weights), np.log(seconds), 1)[0]
    add("growth of a step's time from 1e3 to 1e6 weights, one hidden layer", f"weights^{exponent:.2f}", "1.1")
    times = race(["fastnn", "fastnn, 1 thread"], "784-100-10", 128, SQUARED, "float64")
    gain = ratio(times, "fastnn, 1 thread", "fastnn")
    add(f"{os.cpu_count()} threads against 1, 784-100-10, batch 128", f"{gain} times faster", "1.6")
    from benchmarks.dropin import CALLS, DropIn

    example = DropIn()
    example.setup()
    gain = example.track_speedup_over_numpy()
    what = f"the tutorial's y = 3x, 1,000 epochs, {CALLS} calls in a row, against its NumPy loop"
    add(what, f"{gain:.0f} times faster", "40")
    with tempfile.TemporaryDirectory() as cache:
        imports = [[time_program(IMPORT.format(name), cache) for name in ("fastnn", "numba")] for _ in range(8)]
        add("import fastnn / import numba", f"{np.median([a / b for a, b in imports[1:]]):.2f}", "1.25")
        add("first fit in a new process, nothing compiled before", f"{time_program(FIT, cache):.1f} s", "15 s")
        add("the same, compiled before", f"{time_program(FIT, cache):.2f} s", "0.5 s")
    ours, loss = long_run("fastnn")
    _, own = long_run("fastnn Backprop")
    add("60,000 x 784, 100 hidden, 12 epochs, batch 32, float32", f"{ours:.1f} s", "")
    add("the same, its last loss against Backprop's", f"{100 * abs(loss / own - 1):.3f} % apart", "1 %")
    for peer in ("PyTorch", "PyTorch compiled"):
        try:
            add(f"the same, {peer}", f"{long_run(peer)[0]:.1f} s", "not faster")
        except subprocess.CalledProcessError:
            add(f"the same, {peer}", "-", "not faster")
    return "\n".join(["| what | measured | wanted |", "|---|---|---|", *rows])


def table_of_accuracy():
    """Return the table of errors at eps = 1e-4, against the naive loop in extended precision."""
    import fastnn

    sys.path.insert(0, str(README.parent / "tests"))
    import naive

    methods = {"series": fastnn.Perturbation(1e-4), "direct kernel": fastnn.Perturbation(1e-4, evaluate="direct")}
    lines = [
        "| largest error / largest entry, 20 networks | plain NumPy loop | fastnn, series | fastnn, direct kernel |",
        "|---|---|---|---|",
    ]
    for dtype in ("float64", "float32"):
        errors = {name: [] for name in ("plain", *methods)}
        for seed in range(20):
            rng = np.random.default_rng(seed)
            network = fastnn.mlp(20, 10, 3, seed=seed, dtype=dtype)
            x, y = rng.normal(size=(32, 20)).astype(dtype), rng.normal(size=(32, 3)).astype(dtype)
            about = ["sigmoid", "identity"], "squared_error"
            wide = [w.astype(np.longdouble) for w in network.weights]
            truth, _ = naive.differences(wide, *about, x.astype(np.longdouble), y.astype(np.longdouble))
            found = {"plain": naive.differences(network.weights, *about, x, y)[0]}
            found |= {name: fastnn.gradient(network, x, y, method=method) for name, method in methods.items()}
            largest = max(np.abs(t).max() for t in truth)
            for name, gradient in found.items():
                off = max(np.abs(g - t).max() for g, t in zip(gradient, truth, strict=True))
                errors[name].append(float(off / largest))
        lines.append(f"| {dtype}, eps = 1e-4 | {' | '.join(f'{max(e):.0e}' for e in errors.values())} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def find_processor():
    """Return the processor's name, and what its widest vectors are called."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "neon": "NEON"}
    vectors = next((name for feature, name in names.items() if features.get(feature)), "no vectors")
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", about)
    return model[1] if model else platform.machine(), vectors


def save(text, vectors):
    """Write tables into README.md, in place of those that were made with such vectors."""
    old, (first, last) = README.read_text(), (f"<!-- {vectors} -->", f"<!-- /{vectors} -->")
    if first not in old:
        old = old.replace("<!-- /compare -->", f"\n{first}\n{last}\n<!-- /compare -->")
    README.write_text(f"{old[: old.index(first)]}{first}\n{text}\n{old[old.index(last) :]}")


def main():
    """Measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="write the tables into README.md")
    options = parser.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if name in os.environ:  # read when NumPy loads its OpenBLAS: start again without
            os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    steps, note = table_of_steps()
    layers = layers_table()
    schemes = schemes_table()
    rest = table_of_the_rest()
    accuracy = table_of_accuracy()
    versions = []
    for name in ("fastnn-numba", "numba", "numpy", "jax", "torch"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    name, vectors = find_processor()
    where = f"{name} with {vectors}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"
    text = f"**{where}:**\n\n{steps}\n\n{note}\n\n{layers}\n\n{schemes}\n\n{rest}\n\n{accuracy}"
    print(f"\n{text}")
    if options.save:
        save(text, vectors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
