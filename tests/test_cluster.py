"""Batches in blocks: what they sum to, and the same bits from files, in parts, and on a Dask cluster."""

import asyncio
import importlib.util
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import test_layers
import test_resume
from conftest import OPTIMIZERS
from test_interrupt import press, same_bits

import fastnn
from fastnn._compiler.jit import JIT_DISABLED
from fastnn._engine import blocks
from fastnn.callbacks import Alignment, Callback, Checkpoint
from fastnn.hardware import Devices, Readout
from fastnn.training import parts

# Steps here take microseconds, and a cluster says so.
pytestmark = pytest.mark.filterwarnings("ignore:a step takes")
needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not installed")

METHODS = [
    fastnn.Perturbation(),
    fastnn.Perturbation(fraction=0.5, redraw=2, seed=3),
    fastnn.Backprop(),
    fastnn.RandomDirections(3),
    fastnn.RandomDirections(2, 0.1, "walsh", "forward"),
    fastnn.NodePerturbation(noise="gaussian"),
    fastnn.ForwardGradient(2),
    fastnn.ForwardGradient(2, of="units"),
]
OF_UNITS = (fastnn.NodePerturbation, fastnn.ForwardGradient)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(22, 3)), RNG.integers(0, 2, 22)


def make_trainer(gradient=METHODS[0], optimizer=OPTIMIZERS[3], batch_size=8, block_size=3, **options):
    return test_resume.make_trainer(optimizer, gradient, batch_size, block_size=block_size, **options)


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


# What a step is


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("method", [m for m in METHODS if not isinstance(m, OF_UNITS)], ids=repr)
def test_a_step_is_along_the_blocks_mean_in_float64(method, dtype):
    weights = np.linspace(0.5, 2.0, 8)
    trainer = make_trainer(method, fastnn.SGD(0.5), None, 3, dtype=dtype, shuffle=False)
    before = trainer.network._theta.copy()
    total = np.zeros(before.size)
    scaled = weights / weights.max() / (weights / weights.max()).mean()
    for start in (0, 3, 6):
        block = slice(start, min(start + 3, 8))
        size = block.stop - block.start
        options = {"loss": "categorical_cross_entropy", "method": method, "sample_weight": weights[block]}
        found = flat(fastnn.gradient(trainer.network, X[block], Y[block], **options))
        total += size / 8 * scaled[block].mean() * found.astype(float)
    trainer.fit(X[:8], Y[:8], sample_weight=weights)
    moved = (before.astype(float) - trainer.network._theta) / 0.5
    # A dozen roundings of the weights' shares and of losses, and that of a weight of up to 2.
    eps = np.finfo(dtype).eps
    assert np.abs(moved - total).max() <= 50 * eps * np.abs(total).max() + 4 * eps


@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=repr)
def test_one_block_is_a_step_as_without(optimizer):
    """But plain SGD's, which adds straight to the weights."""
    plain, whole = (make_trainer(optimizer=optimizer, block_size=size) for size in (None, 100))
    for trainer in (plain, whole):
        trainer.fit(X, Y, 3, (X[:5], Y[:5]))
    same_bits(plain, whole)
    np.testing.assert_array_equal(plain.history.validation_loss, whole.history.validation_loss)


@pytest.mark.late
@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_noise_on_units_goes_by_the_place_in_the_batch(block_size):
    """No two samples of a batch have the same; roundings as in `test_schemes`."""
    trainer = make_trainer(fastnn.NodePerturbation(0.1, seed=5), fastnn.SGD(1.0), None, block_size, shuffle=False)
    weights = [w.copy() for w in trainer.network.weights]
    noise = naive.unit_noise("rademacher", 5, 0, range(8), [4, 2])
    y = naive.one_hot(Y[:8], 2, float)
    wanted = naive.node_perturbation(weights, ["tanh", "softmax"], "categorical_cross_entropy", X[:8], y, noise, 0.1)
    trainer.fit(X[:8], Y[:8])
    moved = flat(weights) - flat(trainer.network.weights)
    assert np.abs(moved - flat(wanted)).max() <= 1e-11


@pytest.mark.late(kept=4)
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_history_and_the_number_of_queries(method):
    plain, whole = (make_trainer(method, fastnn.SGD(0.0), block_size=size) for size in (None, 3))
    for trainer in (plain, whole):
        trainer.fit(X, Y, 2)
    np.testing.assert_allclose(plain.history.loss, whole.history.loss, rtol=1e-13)
    np.testing.assert_array_equal(plain.history.accuracy, whole.history.accuracy)
    assert (plain.history.queries is None) == (whole.history.queries is None)
    if whole.history.queries is not None:
        np.testing.assert_array_equal(plain.history.queries, whole.history.queries)


def test_a_loss_that_is_not_finite_leaves_the_step_before():
    """As without blocks, up to roundings, which a run that grows this fast carries along."""
    trainers = []
    for block_size in (None, 3):
        network = fastnn.mlp(3, 2, 1, hidden="identity", seed=0)
        trainer = fastnn.Trainer(network, optimizer=fastnn.SGD(10.0), block_size=block_size, batch_size=8)
        with pytest.raises(FloatingPointError, match=r"the loss is not finite at epoch \d, batch \d of 3"):
            trainer.fit(X, Y, 50)
        assert np.isfinite(trainer.network._theta).all()
        trainers.append(trainer)
    plain, whole = trainers
    assert plain.n_steps == whole.n_steps > 1
    np.testing.assert_allclose(whole.network._theta, plain.network._theta, rtol=1e-6)


def test_a_checkpoint_has_the_block_size_and_goes_on_from_every_step(tmp_path):
    class SaveAll(Callback):
        def on_steps(self, trainer):
            trainer.save(tmp_path / f"{trainer.n_steps}")

    whole = make_trainer(METHODS[5])
    whole.fit(X, Y, 3, callbacks=[SaveAll()])
    assert len(os.listdir(tmp_path)) == whole.n_steps == 9
    for name in os.listdir(tmp_path):
        trainer = fastnn.Trainer.resume(tmp_path / name)
        assert trainer.block_size == 3
        assert "block_size  3" in repr(trainer)
        trainer.fit(X, Y, 3 - trainer.n_epochs)
        same_bits(trainer, whole)


# Parts


def test_orders_of_parts():
    """Every row once; whole blocks are of one part; the same, however many are drawn at a time."""
    sizes, n = [7, 2, 9, 4], 22
    theta = np.zeros(0)
    trainer = make_trainer()
    job = blocks.Job(trainer.network._layout, trainer.gradient.make_task(trainer._loss, theta.dtype, 1), None, 3)
    loop = blocks.BlockLoop(sizes, None, job, trainer.network._theta, trainer._update, 6, 0)
    orders = loop.draw_orders(40, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(orders, np.concatenate([loop.draw_orders(1, rng) for _ in range(40)]))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(n), (40, 1)))
    of = np.repeat(range(4), sizes)
    whole = of[orders[:, :18].reshape(-1, 3)]
    assert (whole == whole[:, :1]).all()
    assert len(np.unique(orders[:, 0])) > 10  # from anywhere
    np.testing.assert_array_equal(of[orders[:, 18:]], np.tile([0, 1, 1, 3], (40, 1)))
    np.testing.assert_array_equal(loop.draw_orders(3, None), [np.arange(n)])


def test_blocks_are_cut_where_the_part_changes():
    rows = np.array([5, 6, 7, 8, 0, 1, 2, 9, 21])
    pieces = blocks.cut(rows, 4, [7, 2, 9, 4])
    assert [(p.part, p.rows.tolist(), p.slot) for p in pieces] == [
        (0, [5, 6], 0), (1, [0, 1], 1), (0, [0, 1, 2], 2), (2, [0], 3), (3, [3], 4),
    ]  # fmt: skip


def save(folder, x, y, sizes):
    """Write parts as files; return their names."""
    edges = np.cumsum([0, *sizes])
    names = [], []
    for k, (a, b) in enumerate(pairwise(edges)):
        for array, letter, listed in zip((x, y), "xy", names, strict=True):
            listed.append(folder / f"{letter}{k}.npy")
            np.save(listed[-1], array[a:b])
    return names


def test_files(tmp_path):
    """In the order that they stand, the same bits as one array; float64 files are not read by whoever maps them."""
    xs, ys = save(tmp_path, X, Y.astype(float), [9, 6, 7])
    whole, trainer = make_trainer(batch_size=6, shuffle=False), make_trainer(batch_size=6, shuffle=False)
    whole.fit(X, Y, 2)
    trainer.fit(xs, [str(y) for y in ys], 2)
    same_bits(trainer, whole)
    one = make_trainer(batch_size=6)
    two = make_trainer(batch_size=6)
    one.fit(X, Y, 2, (X[:4], Y[:4]))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    two.fit(tmp_path / "x.npy", str(tmp_path / "y.npy"), 2, (X[:4], Y[:4]))
    same_bits(one, two)


def test_what_is_mapped_is_mapped_anew_elsewhere(tmp_path):
    xs, ys = save(tmp_path, X, Y.astype(float), [9, 6, 7])
    trainer = make_trainer()
    kept, targets = parts.open_part(0, str(xs[1]), str(ys[1]), trainer.network, trainer._loss)
    assert isinstance(kept, parts.Mapped)
    assert isinstance(targets, np.ndarray)  # one-hot rows
    sent = pickle.dumps(kept)
    assert len(sent) < 300
    np.testing.assert_array_equal(pickle.loads(sent).rows, X[9:15])
    np.testing.assert_array_equal(parts.find_rows(targets), naive.one_hot(Y[9:15], 2, float))


@pytest.mark.late
def test_a_network_over_sequences(tmp_path):
    """Of which y has a row for each step, in files, too."""
    case = test_layers.Case("caption" if not JIT_DISABLED else "lstm", n_samples=5)

    def train(x, y, block_size, method):
        network = pickle.loads(pickle.dumps(case.network))
        options = {"loss": case.loss, "batch_size": 4, "shuffle": False, "optimizer": fastnn.Adam(0.01)}
        trainer = fastnn.Trainer(network, gradient=method, block_size=block_size, **options)
        trainer.fit(x, y, 2)
        return trainer

    for method in (fastnn.Backprop(), fastnn.NodePerturbation()):
        whole = train(case.x, case.y, 2, method)
        np.testing.assert_allclose(train(case.x, case.y, None, method).history.loss[0], whole.history.loss[0], 1e-2)
        xs, ys = save(tmp_path, case.x, case.y, [2, 3])
        same_bits(train(xs, ys, 2, method), whole)


def save_tables(folder, x, y, sizes):
    """Write parts as Parquet, with labels of rows as pandas keeps them; return their names."""
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    edges, names = np.cumsum([0, *sizes]), ([], [])
    for k, (a, b) in enumerate(pairwise(edges)):
        for array, letter, listed in zip((x, y), "xy", names, strict=True):
            listed.append(folder / f"{letter}{k}.parquet")
            frame = pd.DataFrame(array[a:b].reshape(b - a, -1), index=pd.Index(range(b, 2 * b - a), name="label"))
            frame.rename(columns=str).to_parquet(listed[-1])
    return names


def test_parquet(tmp_path):
    """The same bits as from .npy files; also of integers, and together with them."""
    x = np.round(X * 10)
    tables, files = save_tables(tmp_path, x, Y, [9, 6, 7]), save(tmp_path, x, Y, [9, 6, 7])
    one, two, three = (make_trainer(batch_size=6) for _ in range(3))
    one.fit(*files, 2)
    two.fit(*tables, 2)
    three.fit(tables[0], files[1], 2)
    same_bits(two, one)
    same_bits(three, one)


def test_parquet_of_images_and_sequences(tmp_path):
    """A row has a sample's numbers one after another."""
    for stack in ("lstm", "caption") if JIT_DISABLED else ("lstm",):
        case = test_layers.Case(stack, n_samples=5)
        trainers = []
        for write in (save, save_tables):
            trainer = fastnn.Trainer(
                pickle.loads(pickle.dumps(case.network)), loss=case.loss, batch_size=4, block_size=2
            )
            trainer.fit(*write(tmp_path, case.x, case.y, [2, 3]), 2)
            trainers.append(trainer)
        same_bits(*trainers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pd, f: f.assign(**{"1": "text"}), r"x1.parquet: column '1' is of type (large_)?string, and numbers"),
        (
            lambda pd, f: f.assign(**{"1": pd.Categorical(["a"] * 13)}),
            "x1.parquet: column '1' is of type dictionary.*, and numbers",
        ),
        (lambda pd, f: f.assign(**{"1": pd.array([1, None, None, *range(10)])}), "lacks 2 values, the first in row 2"),
        (lambda pd, f: f.assign(**{"1": np.inf}), "x1.parquet: X"),
        (lambda pd, f: f[["0", "2", "1"]], r"x1.parquet: it has the columns \['0', '2', '1'\], and .*x0.parquet has"),
        (lambda pd, f: f[:5], "x1.parquet: X has 5 samples and y has 13"),
        (lambda pd, f: f[[]], "x1.parquet: it has the columns .*, and .*x0.parquet has"),
        (None, "x1.parquet: it is no Parquet"),
    ],
)
def test_parquet_that_is_refused(tmp_path, change, message):
    xs, ys = save_tables(tmp_path, X, Y, [9, 13])
    import pandas as pd

    if change is None:
        xs[1].write_bytes(b"PAR1, but no table")
    else:
        change(pd, pd.read_parquet(xs[1]).reset_index(drop=True)).to_parquet(xs[1])
    trainer = make_trainer(batch_size=6)
    before = trainer.network._theta.copy()
    with pytest.raises(ValueError, match=message):
        trainer.fit(xs, ys)
    assert (trainer.network._theta == before).all()


def test_parquet_without_columns_or_pyarrow(tmp_path, hide):
    xs, ys = save_tables(tmp_path, X[:, :0], Y, [9])
    with pytest.raises(ValueError, match="x0.parquet: it has no columns"):
        make_trainer(batch_size=6).fit(xs, ys)
    hide("pyarrow", "fastnn._support.parquet")
    with pytest.raises(ModuleNotFoundError, match="Parquet needs pyarrow: .*tables"):
        make_trainer(batch_size=6).fit(xs, ys)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": 0}, "block_size must be an integer >= 1, got 0"),
        ({"readout": Readout(noise=0.1)}, "block_size does not go with readout"),
        ({"devices": Devices(bits=8, rounding="stochastic")}, "block_size does not go with devices"),
        ({"gradient": fastnn.RandomDirections(2, shaping="ranks")}, "block_size does not go with shaping='ranks'"),
    ],
)
def test_trainers_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(**options)


@pytest.mark.parametrize(
    ("trainer", "fit", "error", "message"),
    [
        ({"block_size": None}, {}, ValueError, "samples in files takes batches in blocks"),
        ({"batch_size": 8}, {}, ValueError, "batch_size=8 is no multiple of block_size=3"),
        ({}, {"sample_weight": np.ones(22)}, ValueError, "sample_weight is for samples at hand"),
        ({}, {"class_weight": "balanced"}, ValueError, "class_weight is for samples at hand"),
        ({}, {"validation_split": 0.5}, ValueError, "validation_split is for samples at hand"),
        ({}, {"callbacks": [Alignment()]}, ValueError, "Alignment is for samples at hand"),
        ({}, {"y": Y}, TypeError, "X and y must both be .npy or .parquet files, each a list of one kind, or neither"),
        ({}, {"y": ["y0.npy", "y1.parquet"]}, TypeError, "each a list of one kind"),
        ({}, {"y": ["y0.npy"]}, ValueError, "X is 2 files, and y 1"),
        ({}, {"y": ["y0.npy", "x1.npy"]}, ValueError, "x1.npy: y must have shape"),
    ],
)
def test_fits_that_are_refused(tmp_path, monkeypatch, trainer, fit, error, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, X, Y, [9, 13])
    trainer = make_trainer(**{"batch_size": 6, **trainer})
    before = trainer.network._theta.copy()
    with pytest.raises(error, match=message):
        trainer.fit(**{"X": ["x0.npy", "x1.npy"], "y": ["y0.npy", "y1.npy"], **fit})
    assert (trainer.network._theta == before).all()


@pytest.mark.parametrize(
    "content", [b"hello", b"", b"\x93NUMPY\1\0", pickle.dumps([1, 2]), b"PK\3\4", "cut", "objects"]
)
@pytest.mark.parametrize("name", ["x1.npy", "y0.npy"])
def test_files_that_are_no_arrays_are_named(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, X, Y, [9, 13])
    path = tmp_path / name
    if content == "objects":
        np.save(path, np.array([1, None]), allow_pickle=True)
    else:
        path.write_bytes(path.read_bytes()[:-1] if content == "cut" else content)
    with pytest.raises(ValueError, match=f"^{path} does not hold a NumPy array of numbers: ") as caught:
        make_trainer(batch_size=6).fit(["x0.npy", "x1.npy"], ["y0.npy", "y1.npy"])
    assert "allow_pickle" not in str(caught.value)


@needs_dask
@pytest.mark.parametrize("client", ["scheduler:8786", None], ids=str)
def test_what_is_no_client(client):
    with pytest.raises(TypeError, match="client must be a dask.distributed.Client that waits, got 'scheduler:8786'"):
        make_trainer().fit(X, Y, client=client or "scheduler:8786")


def test_without_dask(hide):
    hide("distributed", "fastnn.training.cluster")
    with pytest.raises(ModuleNotFoundError, match=r"fit\(client=...\) needs distributed"):
        make_trainer().fit(X, Y, client=object())


# On a cluster, whose workers are threads


@pytest.fixture(scope="module")
def clients():
    """Return clients of one worker and of two."""
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(n_workers=1, **options) as one, distributed.Client(n_workers=2, **options) as two:
        yield one, two


@pytest.fixture
def client(clients):
    return clients[1]


@pytest.fixture
def cluster(clients):
    from fastnn.training import cluster

    return cluster


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_same_bits_on_any_number_of_workers(clients, method):
    here, *there = (make_trainer(method) for _ in range(3))
    here.fit(X, Y, 2, (X[:5], Y[:5]), sample_weight=np.linspace(0, 1, 22))
    for trainer, client in zip(there, clients, strict=True):
        trainer.fit(X, Y, 2, (X[:5], Y[:5]), sample_weight=np.linspace(0, 1, 22), client=client)
        same_bits(trainer, here)
        np.testing.assert_array_equal(trainer.history.validation_loss, here.history.validation_loss)


@pytest.mark.late
def test_sparse_samples(client):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(np.abs(X) < 1, 0.0, X)
    here, *there = (make_trainer() for _ in range(3))
    here.fit(x, Y)
    there[0].fit(sparse.csr_array(x), Y)
    there[1].fit(sparse.csr_array(x), Y, client=client)
    same_bits(*there)
    if not JIT_DISABLED:  # in which sums over all inputs are NumPy's
        same_bits(there[0], here)


@pytest.mark.parametrize("stack", test_layers.STACKS if JIT_DISABLED else ["caption"])  # compiled for half a minute
def test_layers_of_every_kind(client, stack):
    case = test_layers.Case(stack, n_samples=5)
    trainers = []
    for place in (None, client):
        network = pickle.loads(pickle.dumps(case.network))
        trainer = fastnn.Trainer(network, loss=case.loss, batch_size=4, block_size=2)
        trainer.fit(case.x, case.y, client=place)
        trainers.append(trainer)
    same_bits(*trainers)
    assert (trainers[0].network._theta != case.network._theta).any()


@pytest.mark.parametrize("shuffle", [False, True])
def test_files_and_collections_on_a_cluster(client, tmp_path, shuffle):
    """In parts as those of the files at home; of arrays that are cut across their columns, too."""
    import dask.array

    pytest.importorskip("dask.dataframe")
    sizes = (9, 6, 7)
    files, tables = save(tmp_path, X, Y, sizes), save_tables(tmp_path, X, Y, sizes)
    here, *there = (make_trainer(batch_size=6, shuffle=shuffle) for _ in range(5))
    here.fit(*files, 3)
    there[3].fit(*tables, 3, client=client)
    there[0].fit(*files, 3, client=client)
    there[1].fit(dask.array.from_array(X, (sizes, (2, 1))), dask.array.from_array(Y, (sizes,)), 3, client=client)
    frame = dask.dataframe.from_map(lambda k: cut_frame(X, sizes, k), range(3))
    labels = dask.dataframe.from_map(lambda k: cut_frame(Y, sizes, k)[0], range(3))
    there[2].fit(frame, labels, 3, client=client)
    for trainer in there:
        same_bits(trainer, here)


def cut_frame(array, sizes, k):
    import pandas as pd

    return pd.DataFrame(np.split(array, np.cumsum(sizes)[:-1])[k])


def test_collections_that_do_not_fit(client):
    import dask.array

    x, y = dask.array.from_array(X, (11, 3)), dask.array.from_array(Y, (8,))
    trainer = make_trainer(batch_size=6)
    with pytest.raises(ValueError, match="X has 2 partitions, and y 3"):
        trainer.fit(x, y, client=client)
    with pytest.raises(TypeError, match="X and y must both be Dask collections, or neither"):
        trainer.fit(x, Y, client=client)
    with pytest.raises(ValueError, match=r"part \d: X has 11 samples and y has \d+"):
        trainer.fit(x, dask.array.concatenate([y, y]).rechunk(22), client=client)
    with pytest.raises(ValueError, match="a cluster takes batches in blocks"):
        make_trainer(block_size=None).fit(X, Y, client=client)


def test_ctrl_c_on_a_cluster_and_on_at_home(client, tmp_path):
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 4)

    class Press(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps == 5:
                press()

    path = tmp_path / "run"
    history = trainer.fit(X, Y, 4, client=client, callbacks=[Press(), Checkpoint(path, seconds=0)])
    assert history.interrupted
    assert trainer.n_steps == 5
    pytest.importorskip("safetensors")
    resumed = fastnn.Trainer.resume(path)
    resumed.fit(X, Y, 4 - resumed.n_epochs)
    trainer.fit(X, Y, 4 - trainer.n_epochs, client=client)
    same_bits(trainer, whole)
    same_bits(resumed, whole)


def test_a_full_disk(client, tmp_path):
    """The old file is whole, and training goes on from it, or from where it stood: no file may grow beyond a limit."""
    resource = pytest.importorskip("resource")
    pytest.importorskip("safetensors")
    whole, trainer, path = make_trainer(), make_trainer(), tmp_path / "run"
    whole.fit(X, Y, 4)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Fill(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps == 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path) // 2, limits[1]))

    try:
        with pytest.raises(OSError, match="File too large"):
            trainer.fit(X, Y, 4, client=client, callbacks=[Fill(), Checkpoint(path, seconds=0)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["run"]
    resumed = fastnn.Trainer.resume(path)
    assert (resumed.n_steps, trainer.n_steps) == (4, 5)
    for left in (resumed, trainer):
        left.fit(X, Y, 4 - left.n_epochs, client=client)
        same_bits(left, whole)


def test_ctrl_c_while_workers_measure(client, cluster, monkeypatch):
    """It is not waited for them."""
    real, begun = cluster.measure_piece, threading.Event()

    def slow(*arguments):
        if arguments[-2:] == (0, 4):
            begun.set()
            time.sleep(1)
        return real(*arguments)

    monkeypatch.setattr(cluster, "measure_piece", slow)
    monkeypatch.setattr(cluster, "POLL", 0.05)
    threading.Thread(target=lambda: begun.wait() and press(), daemon=True).start()
    trainer = make_trainer()
    history = trainer.fit(X, Y, 4, client=client)
    assert history.interrupted
    assert trainer.n_steps == 4
    whole = make_trainer()
    whole.fit(X, Y, 4)
    trainer.fit(X, Y, 4 - trainer.n_epochs, client=client)
    same_bits(trainer, whole)


def test_what_is_lost_is_laid_out_again(client, cluster, monkeypatch):
    real, calls = cluster.Cluster._measure, []

    def lose(self, *arguments):
        calls.append(1)
        if len(calls) in (2, 3, 7):
            client.cancel([part for place in self._places for part in place.values()], force=True)
        return real(self, *arguments)

    monkeypatch.setattr(cluster.Cluster, "_measure", lose)
    monkeypatch.setattr(cluster, "POLL", 0.05)
    here, there = make_trainer(), make_trainer()
    here.fit(X, Y, 3)
    there.fit(X, Y, 3, client=client)
    same_bits(here, there)
    assert len(calls) > there.n_steps == 9


def test_workers_that_leave_while_they_measure(client, cluster, monkeypatch):
    real, here, there = cluster.measure_piece, make_trainer(), make_trainer()
    answers, begun, look = [*({"tcp://a": 1},) * 3, {}], threading.Event(), client.nthreads

    def slow(*arguments):
        begun.set()
        if answers:
            time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(cluster, "measure_piece", slow)
    monkeypatch.setattr(cluster, "POLL", 0.02)
    monkeypatch.setattr(client, "nthreads", lambda: answers.pop(0) if answers and begun.is_set() else look())
    here.fit(X, Y)
    there.fit(X, Y, client=client)
    assert not answers
    same_bits(here, there)


def test_an_answer_that_may_never_come(cluster, monkeypatch):
    """It is waited for as long as all are there that were, and somebody wants it."""
    monkeypatch.setattr(cluster, "POLL", 0.02)
    made, there = cluster.Cluster.__new__(cluster.Cluster), {"tcp://a": 1, "tcp://b": 1}
    made._client, made._threads = SimpleNamespace(nthreads=lambda: there), dict(there)
    assert made._ask(lambda: time.sleep(0.1) or 5, [0]) == 5
    del there["tcp://b"]
    never = threading.Event()
    with pytest.raises(TimeoutError, match="lost: tcp://b"):
        made._ask(never.wait, [0])
    with pytest.raises(ZeroDivisionError):
        made._ask(lambda: 1 // 0, [0])
    stop = [0]
    threading.Timer(0.1, lambda: stop.__setitem__(0, 1)).start()
    there["tcp://b"] = 1
    with pytest.raises(TimeoutError, match="nobody waits"):
        made._ask(never.wait, stop)
    never.set()


def test_what_is_lost_again_and_again(client, cluster, monkeypatch):
    trainer, real, sent = make_trainer(), client.scatter, []

    def lose(*arguments, **options):
        sent.append(1)
        if len(sent) > 2:  # a copy for each worker
            raise ValueError("Can not use replicate to delete data")
        return real(*arguments, **options)

    async def leave(*_):
        raise OSError("gone")

    monkeypatch.setattr(client, "scatter", lose)
    monkeypatch.setattr(cluster.Cluster, "_call", leave)
    monkeypatch.setattr(cluster, "POLL", 0.02)
    before = trainer.network._theta.copy()
    with pytest.raises(ConnectionError, match=r"10 times in one step .*delete data.*; the network keeps"):
        trainer.fit(X, Y, client=client)
    assert (trainer.network._theta == before).all()


def test_samples_that_end_workers(client, cluster, monkeypatch, tmp_path):
    def kill(*_):
        raise cluster.KilledWorker("part", SimpleNamespace(address="tcp://a"), 3)

    files = save(tmp_path, X, Y, [9, 13])
    monkeypatch.setattr(client, "gather", kill)
    with pytest.raises(RuntimeError, match="samples ended every worker that read them"):
        make_trainer(batch_size=6).fit(*files, client=client)


def test_what_a_worker_raises(client, cluster, monkeypatch):
    """Is raised as it is, also when it came through the scheduler."""

    def refuse(*_):
        raise ValueError("no such block")

    monkeypatch.setattr(cluster, "measure_piece", refuse)
    for direct in (False, True):
        monkeypatch.setattr(client, "direct_to_workers", direct)
        with pytest.raises(ValueError, match="no such block"):
            make_trainer().fit(X, Y, client=client)


@pytest.mark.parametrize("status", ["running", "paused", "closing", "closing_gracefully"])
def test_a_worker_that_is_closing(cluster, status):
    """What it cannot do any more is of a worker that is lost; an error of one that is there is raised."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    worker = SimpleNamespace(handlers={}, address="tcp://a", data={"part": (X, Y)}, executors={"default": pool})
    worker.status = SimpleNamespace(name=status)
    cluster.serve(worker)
    answer = asyncio.run(worker.handlers["fastnn_measure"]((None, X, 0, [("part", "tcp://a", np.arange(2), 0)])))
    assert type(answer["found"].data) is (ConnectionError if "closing" in status else RuntimeError)


def test_who_comes_late_is_handed_rows(cluster, monkeypatch):
    """And measures its share, though it has no samples; a scheduler that may end itself hears of every look."""
    from distributed import Client

    monkeypatch.setattr(cluster, "POLL", 0.0)
    real, seen, counts = cluster.Cluster._measure, [], []

    def look(self, *arguments):
        answers = real(self, *arguments)
        seen.append({worker for _, _, worker in answers})
        until = time.monotonic() + 10  # what a look sends comes some milliseconds later
        while counts and client.cluster.scheduler.transition_counter == counts[-1] and time.monotonic() < until:
            time.sleep(0.005)
        counts.append(client.cluster.scheduler.transition_counter)
        return answers

    class Grow(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps == 2:
                client.cluster.scale(2)
                client.wait_for_workers(2)

    monkeypatch.setattr(cluster.Cluster, "_measure", look)
    whole, trainer = make_trainer(METHODS[5]), make_trainer(METHODS[5])
    whole.fit(X, Y, 2)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        trainer.fit(X, Y, 2, client=client, callbacks=[Grow()])
    assert [len(workers) for workers in seen] == [1, 1, 2, 2, 2, 2]
    assert all(a < b for a, b in pairwise(counts))
    same_bits(trainer, whole)


def test_pieces_are_shared_out(cluster):
    everywhere = dict.fromkeys("abc")
    assert cluster.share_out([everywhere] * 6, {"a": 1, "b": 2, "c": 1}) == list("abbbcc")
    assert cluster.share_out([everywhere] * 2, dict.fromkeys("abcd", 1)) == list("bd")
    assert cluster.share_out([everywhere], {"late": 1}) == ["late"]
    first, second = {"a": None}, {"b": None}
    assert cluster.share_out([second, first, second, first], {"a": 1, "b": 1}) == list("baba")
    assert cluster.share_out([first, first, second, first], {"a": 1, "b": 1}) == list("aabb")


@pytest.mark.parametrize("loss", ["workers", "scheduler", "client", "client of a cluster that stays"])
def test_nobody_is_left(cluster, monkeypatch, loss):
    """The weights are those of the last whole step, and it goes on at home."""
    from distributed import Client, LocalCluster

    monkeypatch.setattr(cluster, "PATIENCE", 0.3)
    monkeypatch.setattr(cluster, "POLL", 0.05)
    whole, trainer = make_trainer(), make_trainer()
    whole.fit(X, Y, 4)

    def leave():
        client.cluster.scale(0)
        while client.nthreads():
            time.sleep(0.01)

    class Leave(Callback):
        def on_steps(self, trainer):
            if trainer.n_steps == 4:
                {"workers": leave, "scheduler": client.cluster.close}.get(loss, client.close)()

    why = r"none came in \d[\d.]* s" if loss == "workers" else "the client is closed, by itself if .*"
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with ExitStack() as stack:
        kept = [stack.enter_context(LocalCluster(**options))] if "stays" in loss else []
        client = stack.enter_context(Client(*kept) if kept else Client(**options))
        with pytest.raises(ConnectionError, match=rf"no worker has answered: {why} \(.+\); the network keeps"):
            trainer.fit(X, Y, 4, client=client, callbacks=[Leave()])
        assert trainer.n_steps == 4
        with pytest.raises(ConnectionError, match=f"the cluster has no worker: {why}"):
            trainer.fit(X, Y, 4, client=client)
    trainer.fit(X, Y, 4 - trainer.n_epochs)
    same_bits(trainer, whole)


@pytest.mark.parametrize("asked", ["wait_for_workers", "run"])
@pytest.mark.parametrize(
    ("status", "raised", "error", "message"),
    [
        ("closed", RuntimeError("ConnectionPool is closed"), ConnectionError, "the client is closed"),
        ("running", ZeroDivisionError("not of a connection"), ZeroDivisionError, "not of a connection"),
    ],
)
def test_a_client_that_closes_before_the_first_step(client, monkeypatch, asked, status, raised, error, message):
    def close(*_, **__):
        monkeypatch.setattr(client, "status", status)
        raise raised

    monkeypatch.setattr(client, asked, close)
    with pytest.raises(error, match=message):
        make_trainer().fit(X, Y, client=client)


def test_workers_that_have_just_left(client, monkeypatch):
    monkeypatch.setattr(client, "run", lambda *_, **__: {"tcp://a": OSError("gone")})
    with pytest.raises(ConnectionError, match="the cluster has no worker"):
        make_trainer().fit(X, Y, client=client)


def test_workers_that_have_something_else(client, cluster, monkeypatch):
    monkeypatch.setattr(cluster, "DIGEST", "another")
    with pytest.raises(RuntimeError, match="does not have what the trainer has, fastnn .* but: fastnn"):
        make_trainer().fit(X, Y, client=client)


def test_workers_without_fastnn_and_of_several_kinds(client, cluster, monkeypatch):
    answers = {"tcp://a": ("", "ModuleNotFoundError: No module named 'fastnn'", "", 0)}
    monkeypatch.setattr(client, "run", lambda *_, **__: answers)
    with pytest.raises(RuntimeError, match="worker tcp://a .* but: ModuleNotFoundError: No module named 'fastnn'"):
        make_trainer().fit(X, Y, client=client)
    answers["tcp://a"] = ValueError("no")
    with pytest.raises(RuntimeError, match=r"worker tcp://a .* but: ValueError\('no'\)"):
        make_trainer().fit(X, Y, client=client)
    answers = dict(zip(client.nthreads(), [(cluster.DIGEST, "", name, 1) for name in ("a", "b")], strict=True))
    answers["tcp://c"] = OSError("it has just left")
    with pytest.warns(UserWarning, match="processors of several kinds, a, b"):
        make_trainer().fit(X, Y, client=client)


def test_what_a_step_costs_is_said_once(client, cluster, monkeypatch):
    real, trainer = cluster.Cluster._measure, make_trainer()
    monkeypatch.setattr(cluster.Cluster, "_measure", lambda *arguments: time.sleep(0.1) or real(*arguments))
    with pytest.warns(UserWarning, match=r"a step takes .* ms on this cluster, and computes for") as caught:
        trainer.fit(X, Y, 5, client=client)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_worker_that_is_slow_is_named(client, cluster, monkeypatch):
    made = cluster.Cluster.__new__(cluster.Cluster)
    rows = blocks.Piece(0, np.arange(10), 0)
    quick, slow = (None, 0.02, "tcp://a"), (None, 0.5, "tcp://b")
    made._timed = [(0.5, [rows, rows], [quick, slow])] * 6
    with pytest.warns(UserWarning, match="worker tcp://b takes 25 times as long"):
        made._advise()
    made._timed = [(0.5, [rows, rows], [quick, quick])] * 6
    made._timed[0] = (0.5, [rows, rows], [quick, slow])  # it compiles
    with pytest.warns(UserWarning, match="a step takes 500 ms on this cluster, and computes for 40 ms"):
        made._advise()


# Beside training


def test_predictions_over_arrays(client):
    import dask.array

    trainer = make_trainer()
    x = dask.array.from_array(X, (9, 3))
    found = x.map_blocks(trainer.network.predict, dtype="float64", chunks=(x.chunks[0], 2))
    np.testing.assert_array_equal(found.compute(scheduler=client), trainer.network.predict(X))


PROGRAM = """
    import sys
    import numpy as np
    import fastnn
    from distributed import Client

    if __name__ == "__main__":
        x = np.random.default_rng(0).normal(size=(22, 3))
        y = (x[:, 0] > 0).astype(int)
        network = fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0)
        options = {"loss": "categorical_cross_entropy", "batch_size": 8, "block_size": 3}
        trainer = fastnn.Trainer(network, **options)
        with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
            trainer.fit(x, y, 2, client=client)
        here = fastnn.Trainer(fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0), **options)
        here.fit(x, y, 2)
        print(here.network._theta.tobytes() == trainer.network._theta.tobytes())
"""


@needs_dask
@pytest.mark.slow
def test_processes(tmp_path):
    """Started afresh: a fork is not safe where threads run."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    root = os.path.dirname(os.path.dirname(fastnn.__file__))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", path], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert run.stdout.strip() == "True", run.stderr


@needs_dask
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PerturbationClassifier took max_iter")
def test_a_search_on_joblibs_backend(client):
    joblib = pytest.importorskip("joblib")
    model_selection = pytest.importorskip("sklearn.model_selection")
    from fastnn.sklearn import PerturbationClassifier

    model = PerturbationClassifier((4,), max_iter=20, tol=0.0, n_iter_no_change=100, random_state=0)

    def search():
        found = model_selection.GridSearchCV(model, {"learning_rate_init": [0.01, 0.1]}, cv=2)
        return found.fit(X, Y).cv_results_["mean_test_score"]

    with joblib.parallel_config("dask", client=client):
        scores = search()
    np.testing.assert_array_equal(scores, search())
