"""The demonstration, in front of nobody, and what starts it."""

import gzip
import hashlib
import re
import struct
import subprocess
import sys

import numba
import numpy as np
import pytest

from fastnn.__main__ import main
from fastnn._cli import demo


@pytest.fixture
def call(monkeypatch, capsys):
    """Return a function that runs a command line and returns its exit code, output and errors."""
    pytest.importorskip("typer")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fastnn", *arguments])
        code = main()
        return code, *capsys.readouterr()

    return run


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="takes hours without the JIT")
def test_the_demonstration(call):
    code, text, errors = call("demo")
    assert (code, errors) == (0, "")
    accuracy, perturbations = re.search(r"test accuracy ([\d.]+)% after ([\d,]+) weight", text).groups()
    assert float(accuracy) >= 96.0
    # 30 epochs of 45 steps, each of which measures 2,410 weights.
    assert perturbations == f"{30 * 45 * 2410:,}"
    # The plain loop's rounding: a dozen units in the last place of a loss of order 0.1, over eps.
    assert float(re.search(r"the numbers agree to (\S+)", text).group(1)) <= 1e-10
    numpy_result, our_result = re.findall(r"w = (\S+)  b = (\S+)", text)
    for theirs, ours in zip(numpy_result, our_result, strict=True):
        assert float(ours) == pytest.approx(float(theirs), abs=1e-10)
    assert re.search(r"the same numbers, \d+ times faster", text)
    third = text.index("3. The same digits, by a network of which most weights work all over an image")
    accuracy, perturbations = re.search(r"test accuracy ([\d.]+)% after ([\d,]+) weight", text[third:]).groups()
    assert float(accuracy) > 98.0
    assert perturbations == f"{20 * 90 * 2986:,}"


def test_without_arguments(call):
    code, text, errors = call()
    assert (code, errors) == (0, "")
    assert "fastnn train data.csv --target COLUMN" in text


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("sklearn", "scikit-learn", "demo"), ("pooch", "pooch", "demo"), ("pyarrow", "pyarrow", "tables")],
)
def test_without_an_extra(call, monkeypatch, module, package, extra):
    for name in [name for name in sys.modules if name.startswith("fastnn.tables")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    command = {"sklearn": ["demo"], "pooch": ["demo", "--data", "mnist"], "pyarrow": ["train", "x", "--target", "y"]}
    code, text, errors = call(*command[module])
    assert (code, text) == (1, "")
    assert f" needs {package}: pip install {package}, or in fastnn's folder pip install -e '.[{extra}]'" in errors


def test_without_typer(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "fastnn._cli.commands", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "needs typer: pip install typer" in captured.err


def test_a_module_that_is_broken_is_no_missing_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "fastnn._cli.commands", raising=False)
    monkeypatch.setitem(sys.modules, "fastnn._cli.demo", None)
    pytest.importorskip("typer")
    with pytest.raises(ModuleNotFoundError, match="_cli.demo"):
        main()


def test_importing_fastnn_imports_no_extra():
    program = (
        "import sys, fastnn; print({'typer', 'pandas', 'pyarrow', 'sklearn', 'pooch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_idx_files_are_read(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (7, 5, 3))
    write_idx(tmp_path / "images.gz", array)
    np.testing.assert_array_equal(demo.read_idx(tmp_path / "images.gz"), array)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x0b\1\0\0\0\1a", b"\0\0\x08\1\0\0", b"\0\0\x08\1\0\0\0\2a", b"\0\0\x08\0a"]
)
def test_what_is_no_idx_file_is_refused(tmp_path, content):
    (tmp_path / "file.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="is no array of bytes in the format IDX"):
        demo.read_idx(tmp_path / "file.gz")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return where MNIST is kept, an empty folder with no network around it."""
    pooch = pytest.importorskip("pooch")

    def refuse(*arguments, **options):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr("requests.get", refuse)
    return tmp_path / "fastnn"


def test_mnist_is_read_from_the_files_that_are_there(folder, monkeypatch):
    folder.mkdir()
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 28, 28)), rng.integers(0, 10, 12)
    arrays = [images, labels, images[:5], labels[:5]]
    digests = {}
    for name, array in zip(demo.MNIST_FILES, arrays, strict=True):
        write_idx(folder / name, array)
        digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(demo, "MNIST_FILES", digests)
    digits = demo.load_mnist()
    np.testing.assert_array_equal(digits.X_train, images.reshape(12, 784) / 255)
    np.testing.assert_array_equal(digits.y_train, labels)
    np.testing.assert_array_equal(digits.X_test, images[:5].reshape(5, 784) / 255)
    np.testing.assert_array_equal(digits.y_test, labels[:5])


@pytest.mark.parametrize("content", [None, b"another file"])
def test_mnist_without_a_network(call, folder, content):
    if content:
        folder.mkdir()
        (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    code, text, errors = call("demo", "--data", "mnist")
    assert (code, text) == (1, "")
    assert "cannot get MNIST's train-images-idx3-ubyte.gz from https://" in errors
    assert f"put the file into {folder}" in errors


def test_the_demonstration_of_mnist_in_small(call, monkeypatch):
    """All that `demo` prints, on a network that the plain loop measures in no time."""
    X = np.random.default_rng(0).random((40, 4))
    filters = demo.Filters((1, 1), 1, "same", "float64", lr=0.01, weight_decay=0.1, batch_size=20, n_epochs=2)
    small = demo.Digits(X, np.arange(40) % 10, X[:10], np.arange(10), n_hidden=2, n_epochs=2, filters=filters)
    # Two pools leave one pixel of 4 x 4, none of 2 x 2.
    large = small._replace(X_train=np.tile(X, 4), X_test=np.tile(X[:10], 4))
    monkeypatch.setattr(demo, "TUTORIAL_EPOCHS", 3)
    for data, network, digits in (("mnist", None, small), ("mnist", "conv", large), ("digits", None, large)):
        monkeypatch.setitem(demo.LOADERS, data, lambda digits=digits: digits)
        code, text, _ = call("demo", "--data", data, *(["--network", network] if network else []))
        assert code == 0
        has_dense, has_filters = network is None, data == "digits" or network == "conv"
        assert ("1. Handwritten digits" in text) == has_dense
        assert ("Conv2D(1, 1, relu, padding=same)" in text) == has_filters
        assert text.count(f"40 images of {'2x2' if digits is small else '4x4'} pixels to train on, 10 held out") == (
            has_dense + has_filters
        )
        assert ("each on a batch of 20" in text) == has_filters
        if has_dense:
            assert float(re.search(r"the numbers agree to (\S+)", text).group(1)) <= 1e-10
            assert re.search(r"the same numbers, \d+ times faster", text)
