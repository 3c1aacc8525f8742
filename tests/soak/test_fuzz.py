"""Files that are wrong in random ways, and data of random kinds: a result or an error of ours, nothing else."""

import json
import random
import time

import numpy as np
import pytest

import fastnn

SECONDS = 20.0


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


@pytest.mark.parametrize("kind", ["network", "checkpoint"])
def test_files(tmp_path, report, kind):
    """Half of them with their checksum put right, as an attacker can do it."""
    draw = random.Random(0)
    network = fastnn.mlp(3, 4, 2, hidden="tanh", output="softmax", seed=0)
    trainer = fastnn.Trainer(network, loss="categorical_cross_entropy", optimizer=fastnn.Adam(), batch_size=2)
    path = tmp_path / "file"
    if kind == "network":
        network.save(path)
    else:
        trainer.fit(np.eye(3), [0, 1, 0], 2)
        trainer.save(path)
    load = fastnn.load if kind == "network" else fastnn.Trainer.resume
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
    from safetensors.numpy import save

    from fastnn import _files

    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata.pop("sha256", None)
        content = save(tensors, {**metadata, "sha256": _files._digest(metadata, tensors)})
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError):
        return
    path.write_bytes(content)


def test_descriptions(tmp_path, report):
    """A right file around a description with one value of another kind."""
    from safetensors.numpy import save

    from fastnn import _files

    draw = random.Random(0)
    trainer = fastnn.Trainer(fastnn.mlp(3, 4, 2, seed=0), optimizer=fastnn.SGD(0.1, 0.9))
    path = tmp_path / "file"
    trainer.save(path)
    _, description, tensors = _files.read(path, "checkpoint")
    odd = [None, True, -1, 0, 1.5, 2**70, -(2**70), 1e300, "", "tanh", [], {}, [[]], {"a": 1}, ["SGD", {}], "\0"]
    odd = [json.dumps(value) for value in odd]

    def places(node):
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            yield node, key
            yield from places(value)

    refused = accepted = 0
    for _ in range(4000):
        changed = json.loads(json.dumps(description))
        for _ in range(draw.choice([1, 1, 2, 3])):
            node, key = draw.choice(list(places(changed)))
            node[key] = json.loads(draw.choice(odd))
        metadata = {"format": "fastnn", "version": "1", "kind": "checkpoint", "description": json.dumps(changed)}
        path.write_bytes(save(tensors, {**metadata, "sha256": _files._digest(metadata, tensors)}))
        verdict = ask(fastnn.Trainer.resume, path)
        refused += verdict != "fine"
        accepted += verdict == "fine"
    report(f"descriptions: 4000 wrong ones, {refused} refused, {accepted} whose change says nothing wrong")


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
