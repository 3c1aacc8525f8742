"""Files: what is saved comes back bit for bit, and nothing else is taken for it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import fastnn
from fastnn import _files

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_comes_back_bit_for_bit(path, dtype):
    network = fastnn.Network(3, [fastnn.Dense(4, "leaky_relu"), fastnn.Dense(2, "softmax")], 0, dtype)
    network.weights[1][:] = -0.0, 5e-324, 1e30, 1.0
    network.save(path)
    back = fastnn.load(str(path))
    assert repr(back) == repr(network)
    assert back._theta.tobytes() == network._theta.tobytes()
    assert os.listdir(path.parent) == [path.name]


def test_a_file_of_format_version_1_stays_readable():
    network = fastnn.load(GOLDEN / "network-1.safetensors")
    assert [(layer.n_units, layer.activation) for layer in network.layers] == [(3, "tanh"), (2, "softmax")]
    assert network.dtype == np.float32
    flat = np.concatenate([w.ravel() for w in network.weights])
    np.testing.assert_array_equal(flat, np.arange(17, dtype=np.float32) / 8)


def test_every_truncation_and_every_flipped_bit_is_refused(path):
    fastnn.mlp(1, 1, seed=0).save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=path.name):
            fastnn.load(path)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=path.name):
            fastnn.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="damaged"):
        fastnn.load(path)


def forge(path, description, tensors, **changes):
    """Write a file with a right checksum, as an attacker can."""
    if not isinstance(description, str):
        description = json.dumps(description)
    metadata = {"format": "fastnn", "version": "1", "kind": "network", "description": description, **changes}
    path.write_bytes(save(tensors, {**metadata, "sha256": _files._digest(metadata, tensors)}))


GOOD = {"n_inputs": 1, "layers": [[2, "tanh"]], "dtype": "float64"}
TENSORS = {"layers.0.weight": np.ones((1, 2)), "layers.0.bias": np.ones(2)}


def test_the_forger_can_write_a_good_file(path):
    forge(path, GOOD, TENSORS)
    assert fastnn.load(path).n_parameters == 4


FORGERIES = [
    (GOOD, TENSORS, {"format": "other"}, "was not written by fastnn"),
    (GOOD, TENSORS, {"version": "2"}, "format version '2', and this fastnn reads 1; update fastnn"),
    (GOOD, TENSORS, {"kind": "checkpoint"}, "holds a checkpoint, not a network"),
    ("{", TENSORS, {}, "no readable description"),
    ("[" * 100_000, TENSORS, {}, "no readable description"),
    ("[1]", TENSORS, {}, "no readable description"),
    ({}, TENSORS, {}, "does not hold a network: 'layers'"),
    ({**GOOD, "layers": 3}, TENSORS, {}, "does not hold a network"),
    ({**GOOD, "layers": []}, {}, {}, "layers is empty"),
    ({**GOOD, "layers": [[2, "os.system"]]}, TENSORS, {}, "activation must be one of"),
    ({**GOOD, "layers": [[10**12, "tanh"]]}, TENSORS, {}, "its arrays are not those of the network"),
    ({**GOOD, "n_inputs": 10**15}, TENSORS, {}, "its arrays are not those of the network"),
    ({**GOOD, "n_inputs": True}, TENSORS, {}, "n_inputs must be an integer"),
    ({**GOOD, "dtype": "float16"}, TENSORS, {}, "dtype must be float64 or float32"),
    ({**GOOD, "dtype": "float32"}, TENSORS, {}, "its arrays are not those of the network"),
    (GOOD, {**TENSORS, "more": np.ones(1)}, {}, "its arrays are not those of the network"),
    (GOOD, {**TENSORS, "layers.0.bias": np.array([1.0, np.nan])}, {}, "has NaN or infinity"),
]


@pytest.mark.parametrize(("description", "tensors", "changes", "message"), FORGERIES)
def test_a_forged_file_is_refused(path, description, tensors, changes, message):
    forge(path, description, tensors, **changes)
    with pytest.raises(ValueError, match=message):
        fastnn.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x80\x04\x95", b"\xff" * 100, (2**60).to_bytes(8, "little")])
def test_a_foreign_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged, or no safetensors file"):
        fastnn.load(path)


def test_a_safetensors_file_of_somebody_else_is_refused(path):
    path.write_bytes(save(TENSORS))
    with pytest.raises(ValueError, match="was not written by fastnn"):
        fastnn.load(path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastnn.load(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ValueError, match=f"{other} is not a regular file"):
            fastnn.load(other)


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    fastnn.mlp(1, 1, seed=0).save(link)
    assert link.is_symlink()
    assert fastnn.load(path).n_parameters == 2


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path, monkeypatch, call):
    fastnn.mlp(1, 1, seed=0).save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="No space left"):
        fastnn.mlp(1, 1, seed=1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_weights_that_are_not_finite_are_not_saved(path):
    network = fastnn.mlp(1, 1, seed=0)
    network.weights[0][:] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        network.save(path)
    assert not path.exists()


def test_without_safetensors(path, monkeypatch):
    fastnn.mlp(1, 1, seed=0).save(path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: fastnn.mlp(1, 1).save(path), lambda: fastnn.load(path)):
        with pytest.raises(ImportError, match=r"pip install 'fastnn-numba\[save\]'"):
            call()


def test_loading_unpickles_nothing(path):
    """In a process of its own, where every unpickler and every call of exec is an error."""
    fastnn.mlp(2, 3, 1, seed=0).save(path)
    program = """
import sys, fastnn, safetensors.numpy
def hook(event, arguments):
    if event in ("pickle.find_class", "exec", "os.system", "subprocess.Popen", "socket.connect"):
        raise RuntimeError(event)
sys.addaudithook(hook)
fastnn.load(sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=120)
