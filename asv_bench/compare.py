"""fastnn beside its peers on this machine: JAX, PyTorch, the plain NumPy loop.

    python -m pip install -e ".[compare]"
    python asv_bench/compare.py            prints the tables
    python asv_bench/compare.py --save     and writes them into README.md

Each peer trains in a process of its own, at its best settings (JAX: the whole epoch in
one jitted `lax.scan`; PyTorch: eager and `torch.compile`), on the same data in the same
order. Rounds go from peer to peer, so that whatever else the machine does meets all of
them; a time is the median of the rounds, a ratio the median of the rounds' ratios.
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

README = Path(__file__).parents[1] / "README.md"
ROUNDS = 9
EPOCHS = 4  # a round: the Trainer looks at the data once a call
REST = 0.3  # seconds before each round, for the threads of the peer before to fall asleep
SQUARED, CROSS_ENTROPY = "squared error", "cross-entropy"


class Case:
    """Sigmoid hidden layers, outputs without an activation, plain SGD; sizes as in "784-100-10"."""

    def __init__(self, sizes, batch, loss, dtype):
        self.sizes = [int(n) for n in sizes.split("-")]
        self.batch, self.loss, self.dtype = batch, loss, dtype
        self.rate = 1e-4  # the widest layer here diverges at 0.01
        per_step = 6 * batch * sum(a * b for a, b in pairwise(self.sizes))
        self.n_steps = int(np.clip(3e9 / per_step, 20, 2000))  # an epoch of about 50 ms
        rng = np.random.default_rng(0)
        self.x = rng.random((self.n_steps * batch, self.sizes[0])).astype(dtype)
        labels = rng.integers(0, self.sizes[-1], len(self.x))
        self.y = np.eye(self.sizes[-1], dtype=dtype)[labels]
        self.weights = []
        for n_in, n_out in pairwise(self.sizes):
            self.weights += [rng.normal(size=(n_in, n_out)).astype(dtype) / n_in**0.5, np.zeros(n_out, dtype)]


def fastnn_epoch(case, method="perturbation", threads=None):
    """Return a function that trains for so many epochs."""
    import numba

    import fastnn

    if threads:
        numba.set_num_threads(threads)
    output = "identity" if case.loss == SQUARED else "softmax"
    network = fastnn.mlp(*case.sizes, output=output, dtype=case.dtype)
    network.weights = case.weights
    gradient = {
        "perturbation": fastnn.Perturbation(),
        "direct": fastnn.Perturbation(evaluate="direct"),
        "backprop": fastnn.Backprop(),
    }[method]
    loss = "squared_error" if case.loss == SQUARED else "categorical_cross_entropy"
    optimizer = fastnn.SGD(case.rate)
    trainer = fastnn.Trainer(
        network, loss=loss, gradient=gradient, optimizer=optimizer, batch_size=case.batch, shuffle=False
    )
    return lambda epochs=EPOCHS: trainer.fit(case.x, case.y, epochs=epochs)


def jax_epoch(case):
    """Return a function that trains for so many epochs."""
    import jax

    jax.config.update("jax_enable_x64", case.dtype == "float64")
    import jax.numpy as jnp

    def loss(weights, x, y):
        for k in range(0, len(weights), 2):
            z = x @ weights[k] + weights[k + 1]
            x = jax.nn.sigmoid(z)
        if case.loss == SQUARED:
            return ((z - y) ** 2).sum() / len(x)
        return -(y * jax.nn.log_softmax(z)).sum() / len(x)

    def step(weights, batch):
        value, gradient = jax.value_and_grad(loss)(weights, *batch)
        return [w - case.rate * g for w, g in zip(weights, gradient, strict=True)], value

    epoch = jax.jit(lambda weights, x, y: jax.lax.scan(step, weights, (x, y)))
    x, y = (jnp.asarray(a.reshape(case.n_steps, case.batch, -1)) for a in (case.x, case.y))
    state = [[jnp.asarray(w) for w in case.weights]]

    def run(epochs=EPOCHS):
        for _ in range(epochs):
            state[0], losses = epoch(state[0], x, y)
        jax.block_until_ready((state[0], losses))

    return run


def torch_epoch(case, compiled=False):
    """Return a function that trains for so many epochs."""
    import torch

    torch.set_num_threads(os.cpu_count())
    layers = []
    for n_in, n_out in pairwise(case.sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Sigmoid()]
    layers.pop()
    model = torch.nn.Sequential(*layers).to(getattr(torch, case.dtype))
    with torch.no_grad():
        for k, layer in enumerate(layers[::2]):
            layer.weight[:] = torch.from_numpy(case.weights[2 * k].T)
            layer.bias[:] = torch.from_numpy(case.weights[2 * k + 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=case.rate)

    def loss(x, y):
        if case.loss == SQUARED:
            return ((model(x) - y) ** 2).sum() / len(x)
        return torch.nn.functional.cross_entropy(model(x), y)

    measure = torch.compile(loss) if compiled else loss
    x = torch.from_numpy(case.x).split(case.batch)
    y = torch.from_numpy(case.y).split(case.batch)

    def run(epochs=EPOCHS):
        for batch in [*zip(x, y, strict=True)] * epochs:
            optimizer.zero_grad(set_to_none=True)
            measure(*batch).backward()
            optimizer.step()

    return run


def numpy_loop(case):
    """Return a function that takes one step with the plain loop over every weight of one hidden layer."""
    from benchmarks.common import numpy_step

    x, y = case.x[: case.batch], case.y[: case.batch]

    def run():
        for w, g in zip(case.weights, numpy_step(case.weights, x, y), strict=True):
            w -= case.rate * g

    return run


PEERS = {
    "fastnn": fastnn_epoch,
    "fastnn, 1 thread": lambda case: fastnn_epoch(case, threads=1),
    "fastnn direct": lambda case: fastnn_epoch(case, "direct"),
    "fastnn Backprop": lambda case: fastnn_epoch(case, "backprop"),
    "JAX": jax_epoch,
    "PyTorch": torch_epoch,
    "PyTorch compiled": lambda case: torch_epoch(case, compiled=True),
    "NumPy loop": numpy_loop,
}


def work(peer, *case):
    """In a process of its own: set a peer up, then time one run a line of input."""
    sizes, batch, loss, dtype = case
    case = Case(sizes, int(batch), loss, dtype)
    if peer == "fastnn direct":
        case.n_steps = 1
        case.x, case.y = case.x[: case.batch], case.y[: case.batch]
    run = PEERS[peer](case)
    run()  # compile
    n_steps = 1 if peer == "NumPy loop" else case.n_steps * EPOCHS
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        run()
        print((time.perf_counter() - started) / n_steps, flush=True)


def environment():
    """Return the environment of peers: what tells OpenBLAS to be another processor's is left out."""
    return {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


def race(peers, *case, rounds=ROUNDS):
    """Return each peer's seconds a step, an array of rounds; None for a peer that is not installed."""
    processes, times = {}, {}
    for peer in peers:
        command = [sys.executable, __file__, "--work", peer, *map(str, case)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        if process.stdout.readline() == "ready\n":
            processes[peer] = process
        else:
            reason = process.communicate()[1].strip().splitlines() or ["no reason given"]
            print(f"{peer}: {reason[-1]}", file=sys.stderr)
        times[peer] = []
    for _ in range(rounds):
        for peer, process in processes.items():
            time.sleep(REST)
            print(file=process.stdin, flush=True)
            times[peer].append(float(process.stdout.readline()))
    for process in processes.values():
        process.communicate()
    return {peer: np.array(values) if values else None for peer, values in times.items()}


def ratio(times, peer, other):
    """Return the median of the rounds' ratios of two peers, as text."""
    if times[peer] is None or times[other] is None:
        return "-"
    return f"{np.median(times[peer] / times[other]):.2f}"


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
    sizes = [int(n) for n in case[0].split("-")]
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
        "| perturbation / JAX | perturbation / own Backprop | perturbation / floor |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    peers = ["fastnn", "fastnn Backprop", "JAX", "PyTorch", "PyTorch compiled"]
    for sizes, batch, loss in (
        ("784-100-10", 32, SQUARED),
        ("64-32-10", 32, SQUARED),
        ("784-128-64-10", 32, CROSS_ENTROPY),
        ("784-512-512-10", 128, CROSS_ENTROPY),
    ):
        for dtype in ("float64", "float32"):
            case = (sizes, batch, loss, dtype)
            times = race(peers, *case)
            cells = [f"{sizes}, batch {batch}, {loss}, {dtype}"]
            cells += ["-" if times[p] is None else f"{1e3 * np.median(times[p]):.3f}" for p in peers]
            cells += [ratio(times, "fastnn", "JAX"), ratio(times, "fastnn", "fastnn Backprop")]
            cells.append(f"{np.median(times['fastnn']) / step_floor(case, rates[dtype]):.1f}")
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    rate = " and ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in rates.items())
    return "\n".join(lines), f"The floor is the step's products at the rate of NumPy's own (2048 x 2048: {rate})."


def time_program(program, cache):
    """Return the seconds that a new Python process reports on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**environment(), "NUMBA_CACHE_DIR": cache},
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
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
import compare
case = compare.Case("784-100-10", 32, compare.CROSS_ENTROPY, "float32")
rng = np.random.default_rng(0)
labels = rng.integers(0, 10, 60000)
case.x = (rng.random((10, 784))[labels] + rng.normal(scale=0.3, size=(60000, 784))).astype("float32")
case.y = np.eye(10, dtype="float32")[labels]
case.n_steps, case.rate = 1875, 0.01
run = compare.PEERS[{peer!r}](case)
started = time.perf_counter()
result = run(epochs=12)
print(result.loss[-1] if result else 0.0)
print(time.perf_counter() - started)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
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
    from benchmarks.common import numpy_update_weights, paired_ratio

    import fastnn

    x = np.array([[1], [3], [4], [8], [10]])
    arguments = x, 3 * x, np.array([[[2.269]], [[1.01]]]), 1000
    fastnn.update_weights(*arguments)
    gain = paired_ratio(lambda: numpy_update_weights(*arguments), lambda: fastnn.update_weights(*arguments), ROUNDS)
    add("the tutorial's y = 3x, 1,000 epochs, against its NumPy loop", f"{gain:.0f} times faster", "40")
    with tempfile.TemporaryDirectory() as cache:
        imports = [[time_program(IMPORT.format(name), cache) for name in ("fastnn", "numba")] for _ in range(7)]
        add("import fastnn / import numba", f"{np.median([a / b for a, b in imports]):.2f}", "1.3")
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

    methods = {"series": fastnn.Perturbation(), "direct kernel": fastnn.Perturbation(evaluate="direct")}
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


def main():
    """Measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help="write the tables into README.md")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if name in os.environ:  # read when NumPy loads its OpenBLAS: start again without
            os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    steps, note = table_of_steps()
    rest = table_of_the_rest()
    accuracy = table_of_accuracy()
    versions = []
    for name in ("fastnn-numba", "numba", "numpy", "jax", "torch"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}"
    text = f"{steps}\n\n{note}\n\n{rest}\n\n{accuracy}\n\nMeasured on {where}."
    print(f"\n{text}")
    if options.save:
        old = README.read_text()
        new = re.sub(r"(<!-- compare -->\n).*(\n<!-- /compare -->)", lambda m: f"{m[1]}{text}{m[2]}", old, flags=re.S)
        README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
