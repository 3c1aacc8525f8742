"""The compiled-code cache, start-up, and the house rules of compiled code."""

import ast
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest

import fastnn
from fastnn import _jit

PACKAGE = Path(fastnn.__file__).parent
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled with the JIT disabled")

# A package of two files with fastnn's own _jit.py: an entry point and, elsewhere, what it calls.
CALLER = """
from toy._jit import entry_point
from toy.callee import inner

@entry_point
def outer(x):
    return inner(x)
"""
CALLEE = """
from toy._jit import kernel

@kernel
def inner(x):
    return x + {constant}
"""
RUN = """
import sys, toy.caller
print(toy.caller.outer(1), sum(toy.caller.outer.stats.cache_hits.values()))
"""


class Toy:
    """A tiny package that is cached the way fastnn is."""

    def __init__(self, folder):
        self.folder = folder
        self.cache = folder / "cache"
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(self.cache)}
        (folder / "toy").mkdir()
        (folder / "toy" / "__init__.py").touch()
        shutil.copy(PACKAGE / "_jit.py", folder / "toy")
        (folder / "toy" / "caller.py").write_text(CALLER)
        self.write(constant=1)

    def write(self, constant):
        (self.folder / "toy" / "callee.py").write_text(CALLEE.format(constant=constant))

    def run(self, **environment):
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", RUN],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result, hits = done.stdout.split()
        return int(result), int(hits), done.stderr


@pytest.fixture
def toy(tmp_path):
    return Toy(tmp_path)


@compiled
def test_second_process_loads_what_the_first_compiled(toy):
    assert toy.run() == (2, 0, "")
    assert toy.run() == (2, 1, "")


@compiled
def test_an_edit_in_another_file_compiles_anew(toy):
    toy.run()
    toy.write(constant=100)
    assert toy.run() == (101, 0, "")
    toy.write(constant=1)
    assert toy.run() == (2, 1, "")


@compiled
def test_a_changed_setting_compiles_anew(toy):
    toy.run()
    assert toy.run(NUMBA_BOUNDSCHECK="1" if not numba.config.BOUNDSCHECK else "0")[1] == 0


@compiled
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_file_is_compiled_over(toy, suffix, damage):
    toy.run()
    for path in toy.cache.rglob(f"*{suffix}"):
        path.write_bytes(damage)
    result, hits, stderr = toy.run()
    assert (result, hits) == (2, 0)
    assert "cannot be read" in stderr
    assert toy.run() == (2, 1, "")


@compiled
def test_a_folder_that_cannot_be_written_only_warns(toy):
    toy.cache.write_text("a file where the folder should be")
    result, hits, stderr = toy.run()
    assert (result, hits) == (2, 0)
    assert "Set NUMBA_CACHE_DIR to a folder that can be written" in stderr


def double(x):
    """Return twice x: something to compile."""
    return x + x


@compiled
def test_neither_a_damaged_nor_a_missing_cache_stands_in_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    assert _jit.entry_point(double)(2) == 4
    again = _jit.entry_point(double)
    assert again(2) == 4
    assert sum(again.stats.cache_hits.values()) == 1
    for path in (tmp_path / "cache").rglob("*.nb?"):
        path.write_bytes(b"garbage")
    with pytest.warns(UserWarning, match="cannot be read .* compiling again"):
        assert _jit.entry_point(double)(2) == 4
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be kept .* Set NUMBA_CACHE_DIR"):
        assert _jit.entry_point(double)(2) == 4


def test_old_folders_are_pruned(tmp_path):
    for age in range(7):
        folder = tmp_path / f"digest{age}"
        folder.mkdir()
        (folder / "code.nbc").touch()
        os.utime(folder, (1000 - age, 1000 - age))
    _jit.prune(tmp_path, kept=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digest0", "digest1", "digest2"]
    _jit.prune(tmp_path / "not there")


def test_the_digest_covers_every_source(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "fastnn")
    before = _jit.source_digest(tmp_path / "fastnn")
    assert before == _jit.source_digest(tmp_path / "fastnn")
    seen = {before}
    for path in sorted((tmp_path / "fastnn").rglob("*.py")):
        path.write_text(path.read_text() + "\n")
        seen.add(_jit.source_digest(tmp_path / "fastnn"))
    assert len(seen) == 1 + len(list((tmp_path / "fastnn").rglob("*.py")))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/fastnn"),
        ("linux", {"HOME": "/home/u"}, "/home/u/.cache/fastnn"),
        ("darwin", {"HOME": "/Users/u"}, "/Users/u/Library/Caches/fastnn"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/fastnn"),
    ],
)
def test_where_the_cache_is(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _jit.user_cache_folder() == Path(expected)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/given")
    assert _jit.user_cache_folder() == Path("/given/fastnn")


def test_import_compiles_nothing_and_stays_light():
    program = """
    import sys, numba, numpy
    before = {name.partition(".")[0] for name in sys.modules}
    import fastnn
    from fastnn.kernels import training
    after = {name.partition(".")[0] for name in sys.modules}
    print(sorted(after - before - set(sys.stdlib_module_names)))
    print(len(getattr(training.run_steps, "signatures", [])))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["['fastnn']", "0"]


# ---------------------------------------------------------------- house rules

SOURCES = sorted(PACKAGE.rglob("*.py"))
KERNELS = sorted((PACKAGE / "kernels").glob("*.py"))


def decorators(function):
    """Return the names of a function's decorators, called or not."""
    for node in function.decorator_list:
        name = node.func if isinstance(node, ast.Call) else node
        yield ast.unparse(name)


def compiled_functions(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and {"kernel", "entry_point"} & set(decorators(node)):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_compiler_options_are_in_one_file(path):
    if path.name != "_jit.py":
        assert "njit" not in path.read_text()
        assert "cache=True" not in path.read_text()


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_kernels_say_what_they_do_and_stand_at_the_top_level(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for function in compiled_functions(path):
        assert ast.get_docstring(function), function.name
    for outer in ast.walk(tree):
        if isinstance(outer, ast.FunctionDef):
            assert not any(isinstance(inner, ast.FunctionDef) for inner in ast.walk(outer) if inner is not outer)


def test_kernels_neither_raise_nor_print_nor_draw():
    for path in KERNELS:
        for function in compiled_functions(path):
            for node in ast.walk(function):
                assert not isinstance(node, ast.Raise | ast.Assert), function.name
                assert "random" not in ast.unparse(node), function.name


def test_public_docstrings_name_every_parameter():
    import inspect

    for name in fastnn.__dict__:
        thing = getattr(fastnn, name)
        if name.startswith("_") or inspect.ismodule(thing):
            continue
        functions = [thing]
        if inspect.isclass(thing):
            assert inspect.getdoc(thing), name
            functions += [f for n, f in vars(thing).items() if inspect.isfunction(f) and not n.startswith("_")]
        for function in functions:
            document = inspect.getdoc(function) or ""
            if issubclass(function, tuple) if inspect.isclass(function) else function.__name__ == "make_task":
                continue
            if name == "History" or function.__name__ in ("make_update", "to_dict"):
                continue
            for parameter in inspect.signature(function).parameters:
                assert parameter == "self" or parameter in document, (name, function.__name__, parameter)


def test_every_entry_point_has_one_version_a_dtype():
    """The casts at the door let nothing else through: strided, read-only, integer or float32 input."""
    program = """
    import numpy as np
    import fastnn
    from fastnn.kernels import forward, training

    x, y = np.ones((8, 3)), np.ones((8, 2))
    for dtype in ("float64", "float32"):
        network = fastnn.mlp(3, 4, 2, seed=np.random.default_rng(0), dtype=dtype)
        for a, b in ((x, y), (x[::-1], y[::2].repeat(2, 0)), (x.astype(int), y.tolist()), (np.asfortranarray(x), y)):
            for lr in (1, 0.1, np.float32(0.1)):
                trainer = fastnn.Trainer(network, gradient=fastnn.Backprop(), optimizer=fastnn.SGD(lr))
                trainer.fit(a, b, epochs=np.int32(2))
            trainer.evaluate(a, b)
            network.predict(a)
            fastnn.gradient(network, a, b, method=fastnn.Backprop())
    print(len(training.run_steps.signatures), len(forward.run_forward._dispatcher.signatures))
    """
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled with the JIT disabled")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.split() == ["2", "2"]
