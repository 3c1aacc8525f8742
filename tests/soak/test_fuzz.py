"""Files that are wrong in random ways, and data of random kinds: a result or an error of ours, nothing else."""

import json
import random
import time
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save

import fastnn
from fastnn._support import files
from fastnn.callbacks import Callback, Checkpoint, EarlyStopping

SECONDS = 12.0


def mutate(draw, content):
    """Return the content with some bytes changed, cut, doubled or thrown in."""
    content = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at = draw.randrange(len(content) + 1)
        kind = draw.randrange(5)
        if kind == 0 and content:
            content[at % len(content)] = draw.randrange(256)
        elif kind == 1:
            del content[at : at + draw.randrange(64)]
        elif kind == 2:
            content[at:at] = draw.randbytes(draw.randrange(64))
        elif kind == 3:
            content[at:at] = content[at : at + draw.randrange(64)]
        else:
            content[:8] = draw.choice([0, 1, 99, 10**6, 2**40, 2**64 - 1, len(content)]).to_bytes(8, "little")
    return bytes(content)


def write_sound(kind, path):
    """Write a file of a kind, and return what reads it."""
    if kind == "network":
        fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0).save(path)
        return fastnn.load
    if kind == "model":
        tables = pytest.importorskip("fastnn.tables", exc_type=ImportError)
        Number, Category = tables._columns.Number, tables._columns.Category
        inputs = (Number("size", 2.5, 0.5), Category("colour", ("blue", "red")))
        notes = {"rows": 4, "gradient": "Backprop()", "training loss": 0.25}
        network = fastnn.mlp(3, 4, 2, output="softmax", seed=0)
        tables.Model(network, inputs, Category("kind", ("cat", "dog")), notes).save(path)
        return tables.load
    network = fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0)
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(), batch_size=2)
    trainer.fit(*DATA, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn._engine.loop.CALL_SECONDS", 0.0)  # one step a call
        trainer.fit(*DATA, 3, callbacks=[EarlyStopping(), SaveWithin(path)])
    return fastnn.Trainer.resume


class SaveWithin(Callback):
    """Save a run that has kept something in the middle of an epoch, and stop it."""

    def __init__(self, path):
        self.path = path

    def on_steps(self, trainer):
        if trainer.n_steps == 7:
            trainer.save(self.path)
            trainer.stop()


KINDS = ["network", "checkpoint", "model"]
DATA = np.eye(3), [0, 1, 0]


def use(loaded, path):
    """Do with what a file held what can be done: no error but those of data or of numbers."""
    if isinstance(loaded, fastnn.Trainer):
        try:
            loaded.fit(*DATA, callbacks=[EarlyStopping()])
            assert np.isfinite(loaded.network._theta).all()
        except (FloatingPointError, TypeError, ValueError):
            pass
        loaded.save(path)
        fastnn.Trainer.resume(path)
    else:
        network = getattr(loaded, "network", loaded)
        network.predict(np.eye(network.n_inputs))
        loaded.save(path)
        repr(loaded)


@pytest.mark.parametrize("kind", KINDS)
def test_files(tmp_path, report, kind):
    """Half of them with their checksum put right, as an attacker can do it."""
    draw = random.Random(0)
    path = tmp_path / "file"
    load = write_sound(kind, path)
    whole = path.read_bytes()
    began, refused, same, slowest = time.monotonic(), 0, 0, 0.0
    while time.monotonic() - began < SECONDS / 2:
        content = mutate(draw, whole)
        path.write_bytes(content)
        if draw.random() < 0.5:
            sign(path)
        started = time.perf_counter()
        verdict = ask(load, path)
        refused += verdict != "fine"
        same += verdict == "fine"
        slowest = max(slowest, time.perf_counter() - started)
    report(f"{kind} files: {refused + same} wrong ones, {refused} refused, {same} whose change says nothing wrong")
    assert refused > 100
    assert slowest < 5.0


def ask(load, path):
    """Return "fine", or the error, which must be one of ours and name the file."""
    verdict = "fine"
    try:
        load(path)
    except ValueError as error:
        verdict = str(error)
    assert verdict == "fine" or str(path) in verdict
    return verdict


def sign(path):
    """Put a file's checksum right, if it is a file of safetensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata.pop("sha256", None)
        content = save(tensors, {**metadata, "sha256": files._digest(metadata, tensors)})
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError):
        return
    path.write_bytes(content)


ODD = [
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 2**70, -(2**70), 10**400),
    *(-0.0, 0.5, 1.5, 5e-324, 1e300, 1.8e308, -1.8e308, float("nan"), float("inf")),
    *("", "tanh", "softmax", "\0", "\x1b[31m", "\u202e", "\ud800", "a" * 10**6, "\U0001f600" + "b" * 10**6),
    *([], {}, [[]], {"a": 1}, ["SGD", {}], [1] * 100_000, [[1, "relu"]] * 30_000, {str(k): k for k in range(30_000)}),
    *([[2, "tanh"]], [{"name": "a", "mean": 0.0, "scale": 1.0}] * 20_000, {"name": "a", "values": ["b"] * 100_000}),
]
ODD_ARRAYS = [
    *(
        np.zeros(shape)
        for shape in [(), (0,), (1,), (0, 0), (2, 0), (0, 2**40), (2**40, 0), (2, 26), (0, 5), (10**5, 5)]
    ),
    *(np.zeros((2, 3), dtype) for dtype in ["f4", "f2", "i8", "u1", "?", "i4"]),
    *(np.full(2, value) for value in [2**62, -(2**63), 2**53, 2**53 - 1]),
    *(np.array([order]) for order in [[0, 1, 2], [2, 1, 0], [0, 0, 0], [1, 2, 3], [-1, 0, 1]]),
    *(np.full((3, 4), value) for value in [np.nan, np.inf, 1e308, 5e-324]),
    np.full((2, 26), 1e308),
    np.tile(np.arange(3), (10**5, 1)),
    np.arange(10**5).reshape(1, -1),
]


def places(node):
    """Yield every place in a description, as what holds it and under what."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from places(value)


def write_forged(path, kind, text, arrays):
    metadata = {"format": "fastnn", "version": "1", "kind": kind, "description": text}
    path.write_bytes(save(arrays, {**metadata, "sha256": files._digest(metadata, arrays)}))


def ask_and_use(load, path):
    """Return whether a file is accepted; it takes few times its length, is refused in our words, or is of use."""
    tracemalloc.start()
    try:
        verdict = ask(load, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * path.stat().st_size + 32 * 2**20, verdict
    if verdict == "fine":
        use(load(path), path)
    return verdict == "fine"


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions(tmp_path, report, kind):
    """A right file around a description with odd values in each place in turn, every other one of them, or several."""
    draw = random.Random(0)
    path = tmp_path / "file"
    load = write_sound(kind, path)
    _, description, arrays = files.read(path, kind)
    n_single = len([*places(description)]) * (len(ODD) + 1)
    counts = {True: 0, False: 0}
    assert len(ODD) % 2 == 0  # so that what the one place leaves out, the next takes
    for n in [*range(0, n_single, 2), *range(n_single, n_single + 300)]:
        changed = json.loads(json.dumps(description))
        if n < n_single:
            node, key = [*places(changed)][n // (len(ODD) + 1)]
            odd = [*ODD, None][n % (len(ODD) + 1)]
            if n % (len(ODD) + 1) == len(ODD):
                del node[key]
            else:
                node[key] = odd
        else:
            for _ in range(draw.choice([2, 3])):
                node, key = draw.choice([*places(changed)])
                node[key] = json.loads(json.dumps(draw.choice(ODD)))
        write_forged(path, kind, json.dumps(changed), arrays)
        counts[ask_and_use(load, path)] += 1
    for depth in [*range(1, 900, 50), *range(900, 1010, 5)]:  # Python gives up at about 1000
        write_forged(path, kind, json.dumps(description)[:-1] + f', "deep": {"[" * depth}{"]" * depth}}}', arrays)
        counts[ask_and_use(load, path)] += 1
        key = next(iter(description))
        text = json.dumps({**description, key: "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
        write_forged(path, kind, text, arrays)
        counts[ask_and_use(load, path)] += 1
    report(
        f"descriptions of a {kind}: {sum(counts.values())} odd ones, {counts[False]} refused, {counts[True]} whose "
        "change says nothing wrong, and that were of use"
    )
    assert counts[False] > 500


@pytest.mark.parametrize("kind", KINDS)
def test_arrays(tmp_path, report, kind):
    """A right description with one odd array in the place of each, or beside them, or one left out."""
    path = tmp_path / "file"
    load = write_sound(kind, path)
    _, description, arrays = files.read(path, kind)
    counts = {True: 0, False: 0}
    for name in [*arrays, "more"]:
        for odd in [*ODD_ARRAYS, None]:
            changed = {key: array for key, array in {**arrays, name: odd}.items() if array is not None}
            write_forged(path, kind, json.dumps(description), changed)
            counts[ask_and_use(load, path)] += 1
    report(f"arrays of a {kind}: {sum(counts.values())} odd ones, {counts[False]} refused, {counts[True]} of use")
    assert counts[False] > 100


def test_divergences(tmp_path, report):
    """Runs at every scale of learning rate: after each, what was saved last can be resumed, and saved again."""
    path = tmp_path / "run"
    x, y = np.linspace(-30, 30, 12).reshape(-1, 1), np.linspace(-40, 50, 12)
    diverged = ended = 0
    for dtype, top in (("float64", 308), ("float32", 38)):
        for make in (
            fastnn.SGD,
            lambda lr: fastnn.SGD(lr, 0.9),
            lambda lr: fastnn.SGD(lr, 0.9, True),
            fastnn.Adam,
            fastnn.AdamW,
            fastnn.RMSprop,
        ):
            for gradient in (fastnn.Backprop(), fastnn.Perturbation(), fastnn.Perturbation(1e-3, "central", "direct")):
                for hidden in ("relu", "tanh", "softplus"):
                    for exponent in np.linspace(-2, top, 9):
                        network = fastnn.mlp(1, 4, 1, hidden=hidden, seed=0, dtype=dtype)
                        trainer = fastnn.Trainer(
                            network, gradient=gradient, optimizer=make(10.0**exponent), batch_size=4
                        )
                        try:
                            trainer.fit(x, y, 8, callbacks=[Checkpoint(path, seconds=0)])
                            ended += 1
                        except FloatingPointError:
                            diverged += 1
                        assert np.isfinite(trainer.network._theta).all()
                        fastnn.Trainer.resume(path)
                        trainer.save(path)
    report(f"divergences: {diverged} runs diverged, {ended} did not; {diverged + ended} checkpoints resumed")
    assert diverged > 200


def test_data(report):
    """Whatever comes as X and y: a history of finite numbers, or TypeError or ValueError with weights unchanged."""
    draw = np.random.default_rng(0)
    trainers = [
        fastnn.Trainer(fastnn.mlp(3, 4, 2, output=output, seed=0), loss=loss, batch_size=4)
        for output, loss in [
            ("identity", "squared_error"),
            ("sigmoid", "binary_cross_entropy"),
            ("softmax", "categorical_cross_entropy"),
        ]
    ]
    dtypes = [
        "f8", "f4", "f2", ">f8", "i8", "u1", "?", "i2", "c16", "O", "U3", "m8[s]", "M8[s]", "V3", "f8,f8", "longdouble",
    ]  # fmt: skip
    shapes = [(5, 3), (1, 3), (0, 3), (5, 0), (5,), (), (5, 3, 1), (3, 5), (8, 2), (5, 2), (5, 1)]
    values = [0.0, 1.0, -1.0, 2.0, np.nan, np.inf, 1e300, -1e-300]

    def make():
        shape = shapes[draw.integers(len(shapes)) if draw.random() < 0.3 else draw.integers(2)]
        array = draw.choice([0.0, 1.0] if draw.random() < 0.7 else values, size=shape)
        with np.errstate(all="ignore"):
            try:
                array = array.astype(dtypes[draw.integers(len(dtypes))] if draw.random() < 0.5 else "f8")
            except (TypeError, ValueError, OverflowError):
                array = np.zeros(shape, "V3")
        turn = draw.integers(6)
        if turn == 0 and array.ndim:
            array = array[::-1]
        elif turn == 1:
            array = np.asfortranarray(array)
        elif turn == 2:
            array.flags.writeable = False
        elif turn == 3:
            return array.tolist()
        elif turn == 4 and array.ndim == 2:
            return np.repeat(array, 2, axis=1)[:, ::2]
        return array

    trained = refused = diverged = 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        trainer = trainers[draw.integers(len(trainers))]
        x, y = make(), make()
        if draw.random() < 0.5:
            shape = np.shape(x)
            y = draw.integers(0, 2, size=(*shape[:1], 2)) if draw.random() < 0.5 else draw.integers(0, 3, shape[:1])
        before = trainer.network._theta.copy()
        try:
            history = trainer.fit(x, y, int(draw.integers(3)))
            assert np.isfinite(history.loss).all()
            trained += 1
        except (TypeError, ValueError):
            assert trainer.network._theta.tobytes() == before.tobytes()
            refused += 1
        except FloatingPointError:
            diverged += 1
        assert np.isfinite(trainer.network._theta).all()
        trainer.network.weights = [np.clip(w, -1, 1) for w in trainer.network.weights]
    report(f"data: {trained} trained on, {refused} refused, {diverged} diverged, 0 crashed")
    assert trained > 100
    assert refused > 100
