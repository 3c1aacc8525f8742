"""The compiled-code cache, start-up, and the house rules of compiled code."""

import ast
import compileall
import functools
import os
import pickle
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from enum import IntEnum
from pathlib import Path

import numba
import numpy as np
import pytest

import fastnn
from fastnn._compiler import ahead, jit
from fastnn.kernels import activations

PACKAGE = Path(fastnn.__file__).parent
compiled = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled with the JIT disabled")
owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners and modes here")
root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives files away")
OTHER = 65534

# A package of two files with fastnn's own compiler as its _jit.py: an entry point and, elsewhere, what it calls.
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
# Modules that come from no file, as in a program that is frozen into one.
FREEZE = """
import importlib.machinery, pathlib, sys

class Frozen:
    sources = {path.stem: path.read_text() for path in pathlib.Path(sys.path.pop(1), "toy").glob("*.py")}

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "toy":
            return importlib.machinery.ModuleSpec(name, self, origin="frozen", is_package=name == "toy")

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        exec(self.sources[module.__name__.partition(".")[2] or "__init__"], module.__dict__)

sys.meta_path.insert(0, Frozen())
"""


class Toy:
    """A tiny package that is cached the way fastnn is."""

    def __init__(self, folder):
        self.folder = folder
        self.cache = folder / "cache"
        self.path = folder
        (folder / "toy").mkdir()
        (folder / "toy" / "__init__.py").touch()
        shutil.copy(PACKAGE / "_compiler" / "jit.py", folder / "toy" / "_jit.py")
        (folder / "toy" / "caller.py").write_text(CALLER)
        self.write(constant=1)

    def write(self, constant):
        (self.folder / "toy" / "callee.py").write_text(CALLEE.format(constant=constant))

    def install(self, form):
        """Put the package where it is imported from, in place of what was there: without sources, or in a zip file."""
        place = self.folder / "site"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder / "toy", place / "toy", ignore=shutil.ignore_patterns("__pycache__"))
        if "bytecode" in form:
            compileall.compile_dir(place, quiet=1, legacy=True)
            for path in place.rglob("*.py"):
                path.unlink()
        self.path = place
        if "zip" in form:
            self.path = self.folder / "toy.zip"
            with zipfile.ZipFile(self.path, "w") as file:
                for path in sorted(place.rglob("*.py*")):
                    file.write(path, path.relative_to(place))

    def run(self, program=RUN, **environment):
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", program],
            env={**os.environ, "PYTHONPATH": str(self.path), "NUMBA_CACHE_DIR": str(self.cache), **environment},
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


@pytest.mark.late
@compiled
def test_an_edit_in_another_file_compiles_anew(toy):
    toy.run()
    toy.write(constant=100)
    assert toy.run() == (101, 0, "")
    toy.write(constant=1)
    assert toy.run() == (2, 1, "")


@pytest.mark.late
@compiled
def test_a_changed_setting_compiles_anew(toy):
    toy.run()
    assert toy.run(NUMBA_BOUNDSCHECK="1" if not numba.config.BOUNDSCHECK else "0")[1] == 0


@pytest.mark.late
@compiled
@pytest.mark.parametrize("form", ["zip", "bytecode", "zip of bytecode"])
def test_a_version_without_sources_runs_its_own_code(toy, form):
    for constant in (1, 100):
        toy.write(constant)
        toy.install(form)
        assert toy.run() == (1 + constant, 0, "")
    assert toy.run() == (101, 1, "")


@pytest.mark.late
@compiled
def test_what_is_imported_from_no_file_is_not_cached(toy):
    for constant in (1, 100):
        toy.write(constant)
        result, hits, stderr = toy.run(FREEZE + RUN)
        assert (result, hits) == (1 + constant, 0)
        assert stderr.count("UserWarning") == 1
        assert "the files that fastnn was imported from cannot be read" in stderr
    assert not toy.cache.exists()


def double(x):
    """Return twice x: something to compile."""
    return x + x


class Cache:
    """The cache of compiled code in a folder of its own."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
        self.root = folder / "fastnn-compiled"
        self.folder = self.root / jit.DIGEST

    def run(self, *values):
        """Double values as a new process would; return how many types of them were found compiled."""
        jit.open_folder.cache_clear()
        jit._warn_once.cache_clear()
        dispatcher = jit.entry_point(double)
        for value in values:
            result = dispatcher(value)
            assert (result, type(result)) == (value + value, type(value + value))
        return sum(dispatcher.stats.cache_hits.values())

    def files(self):
        return sorted(self.folder.glob("*.code"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    yield Cache(tmp_path / "cache", monkeypatch)
    jit.open_folder.cache_clear()
    jit._warn_once.cache_clear()


@compiled
def test_damaged_files_are_compiled_over(cache):
    assert cache.run(2) == 0
    assert cache.run(2) == 1
    (path,) = cache.files()
    whole = path.read_bytes()
    for damaged in (b"", b"garbage", whole[:-2000], whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="cannot be read .* compiling again"):
            assert cache.run(2) == 0
        assert cache.run(2) == 1


@compiled
def test_who_listens_is_told_before_something_is_compiled(cache, monkeypatch):
    told = []
    monkeypatch.setattr(jit, "listeners", [lambda: told.append(len(cache.files()))])
    assert cache.run(2, 2.0) == 0
    assert told == [0, 1]
    assert cache.run(2, 2.0) == 2
    assert told == [0, 1]


@compiled
def test_a_folder_that_cannot_be_used_is_warned_of_once(cache):
    cache.root.parent.mkdir()
    cache.root.touch()
    with pytest.warns(UserWarning, match="is not kept") as warned:
        assert cache.run(2, 2.0) == 0
    assert [str(warning.message) for warning in warned] == [
        f"compiled code is not kept, and each process compiles it again: {cache.root} is not a folder. "
        "Set NUMBA_CACHE_DIR to a folder that only you can write"
    ]


@compiled
def test_a_file_under_the_name_of_another_is_compiled_over(cache):
    """Numba's index, written by two processes at once, named the code of the other's types."""
    assert cache.run(2, 2.0) == 0
    first, second = cache.files()
    first.rename(cache.root / "moved")
    second.rename(first)
    (cache.root / "moved").rename(second)
    with pytest.warns(UserWarning, match="not what it should hold"):
        assert cache.run(2, 2.0) == 0
    assert cache.run(2, 2.0) == 2


@compiled
def test_a_setting_changed_after_import_compiles_anew(cache, monkeypatch):
    assert cache.run(2) == 0
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", int(not numba.config.BOUNDSCHECK))
    assert cache.run(2) == 0
    assert cache.run(2) == 1


@compiled
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "huge", "open"])
def test_what_stands_in_a_files_place_is_not_read_but_replaced(cache, kind, monkeypatch):
    assert cache.run(2) == 0
    (path,) = cache.files()
    copy = cache.root / "copy"
    shutil.copy(path, copy)
    monkeypatch.chdir(cache.folder)  # a socket's name is short
    if kind == "huge":
        os.truncate(path, 2**40)
    elif kind == "open":
        path.chmod(0o666)
    else:
        path.unlink()
        if kind == "link":
            path.symlink_to(copy)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
    with pytest.warns(UserWarning, match="no file of compiled code|other users can write it"):
        assert cache.run(2) == 0
    assert cache.run(2) == 1
    assert copy.exists()


@compiled
def test_a_folder_in_a_files_place_stays(cache):
    assert cache.run(2) == 0
    (path,) = cache.files()
    path.unlink()
    (path / "precious").mkdir(parents=True)
    with pytest.warns(UserWarning, match="is not kept"), pytest.warns(UserWarning, match="cannot be read"):
        assert cache.run(2) == 0
    assert (path / "precious").exists()
    assert not list(cache.folder.glob("*.tmp"))


@compiled
def test_a_full_disk_is_warned_of_once(cache, monkeypatch):
    def fill(path, content):
        raise OSError(28, "No space left on device", f"{path}.tmp")

    assert cache.run() == 0
    jit.open_folder(cache.root)
    monkeypatch.setattr(jit, "replace", fill)
    with pytest.warns(UserWarning, match="is not kept") as warned:
        assert cache.run(2, 2.0) == 0
    assert [str(warning.message) for warning in warned] == [
        "compiled code is not kept, and each process compiles it again: "
        f"No space left on device, {cache.folder}. Set NUMBA_CACHE_DIR to a folder that can be written"
    ]


@compiled
def test_a_folder_deleted_meanwhile_is_made_anew(cache):
    dispatcher = jit.entry_point(double)
    dispatcher(2)
    shutil.rmtree(cache.root)
    dispatcher(2.0)
    assert cache.run(2, 2.0) == 1


@compiled
@root
def test_a_file_of_another_user_is_not_read(cache):
    assert cache.run(2) == 0
    (path,) = cache.files()
    os.chown(path, OTHER, OTHER)
    with pytest.warns(UserWarning, match="other users can write it"):
        assert cache.run(2) == 0
    assert cache.run(2) == 1


@compiled
@root
def test_a_full_folder_that_can_only_be_read_is_loaded_from(cache, monkeypatch):
    """By another user than root, whom no mode keeps out."""
    assert cache.run(2, 2.0) == 0  # what others cannot import is imported
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, OTHER, OTHER)
        others = Cache(Path(folder), monkeypatch)
        try:
            os.seteuid(OTHER)
            assert others.run(2) == 0
            for path in (*others.folder.iterdir(), others.folder, others.root):
                path.chmod(0o500 if path.is_dir() else 0o400)
            assert others.run(2) == 1
            with pytest.warns(UserWarning, match="is not kept.*Permission denied"):
                assert others.run(2.0) == 0
        finally:
            os.seteuid(0)


@compiled
def test_code_that_holds_addresses_is_not_kept(cache):
    table = np.arange(2.0**17)  # numba takes arrays as large as this by their address

    def look_up(x):
        return table[x]

    assert jit.entry_point(look_up)(7) == 7.0
    assert cache.files() == []


def test_interrupted_writing_leaves_what_was_there(tmp_path, monkeypatch):
    def interrupt(self, target):
        raise KeyboardInterrupt

    path = tmp_path / "file"
    jit.replace(path, b"before")
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        jit.replace(path, b"after")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


# ---------------------------------------------------------------- whose folder it is


@owners
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_folders_that_are_made_are_private(tmp_path, umask):
    folder = tmp_path / "made" / "as well" / "fastnn-compiled" / f"{0:016x}"
    before = os.umask(umask)
    try:
        jit.make_folder(folder)
    finally:
        os.umask(before)
    for path in (folder, *folder.parents[:3]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


@pytest.fixture
def tree(tmp_path):
    """Return the folders from one that users make to that of compiled code."""
    folder = tmp_path / "given" / "fastnn-compiled" / f"{0:016x}"
    jit.make_folder(folder)
    return tmp_path / "given", folder.parent, folder


@owners
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(tree, place, mode):
    tree[place].chmod(mode)
    with pytest.raises(PermissionError, match="can be written by other users"):
        jit.make_folder(tree[2])
    tree[place].chmod(0o755)
    jit.make_folder(tree[2])


@owners
def test_only_above_may_others_make_files_of_their_own(tree):
    tree[0].chmod(0o1777)
    jit.make_folder(tree[2])
    for path in tree[1:]:
        path.chmod(0o1777)
        with pytest.raises(PermissionError, match="can be written by other users"):
            jit.make_folder(tree[2])
        path.chmod(0o700)


@root
@pytest.mark.parametrize("place", [0, 1, 2])
def test_another_users_folder_is_refused(tree, place):
    os.chown(tree[place], OTHER, OTHER)
    with pytest.raises(PermissionError, match="belongs to another user"):
        jit.make_folder(tree[2])


@owners
def test_roots_folders_are_trusted_only_above(tree, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(PermissionError, match="belongs to another user"):
        jit.make_folder(tree[2])
    for path in (*reversed(tree[2].parents), tree[2]):
        if path.stat().st_uid == 0 and not path.stat().st_mode & stat.S_IWOTH:
            jit.check_folder(path, is_own=False)
            with pytest.raises(PermissionError, match="belongs to another user"):
                jit.check_folder(path, is_own=True)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_to_a_folder_is_refused(tree, place, dangling):
    elsewhere = tree[0] / "elsewhere"
    tree[place].rename(elsewhere)
    tree[place].symlink_to(tree[0] / "nothing" if dangling else elsewhere)
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        jit.make_folder(tree[2])
    assert not (tree[0] / "nothing").exists()


@owners
def test_links_above_are_followed_and_what_they_lead_to_is_checked(cache, tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "link" / "deeper"))
    folder, _ = jit.open_folder(jit.user_cache_folder())
    assert folder == tmp_path.resolve() / "real" / "deeper" / "fastnn-compiled" / jit.DIGEST
    (tmp_path / "real").chmod(0o777)
    jit.open_folder.cache_clear()
    folder, reason = jit.open_folder(jit.user_cache_folder())
    assert folder is None
    assert "real can be written by other users. Set NUMBA_CACHE_DIR to a folder that only you can write" in reason


def test_without_owners_any_folder_will_do(tree, monkeypatch):
    monkeypatch.delattr(os, "geteuid", raising=False)
    tree[0].chmod(0o777)
    jit.make_folder(tree[2])
    tree[2].rename(tree[0] / "elsewhere")
    tree[2].symlink_to(tree[0] / "elsewhere")
    with pytest.raises(NotADirectoryError):
        jit.make_folder(tree[2])


@owners
def test_without_a_home_there_is_no_cache(cache, tmp_path, monkeypatch):
    def find_nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr("pwd.getpwuid", find_nobody)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    for home in (None, "relative"):
        monkeypatch.delenv("HOME", raising=False)
        if home:
            monkeypatch.setenv("HOME", home)
        assert jit.user_cache_folder() is None
    jit.open_folder.cache_clear()
    folder, reason = jit.open_folder(None)
    assert folder is None
    assert reason.startswith("no home folder is known. Set NUMBA_CACHE_DIR")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_is_of_where_it_was_first_used(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "here")
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path)
    folder, _ = jit.open_folder(jit.user_cache_folder())
    assert folder == tmp_path.resolve() / "here" / "fastnn-compiled" / jit.DIGEST
    monkeypatch.chdir("later")
    assert jit.open_folder(jit.user_cache_folder())[0] == folder


# ---------------------------------------------------------------- what is deleted


@pytest.fixture
def keep(monkeypatch):
    """Return a function that says how many folders are kept."""
    return functools.partial(monkeypatch.setattr, jit, "FOLDERS_KEPT")


def make_folders(parent, n_folders):
    """Make folders of compiled code, the first one used last."""
    for age in range(n_folders):
        folder = parent / f"{age:016x}"
        jit.make_folder(folder)
        (folder / f"fastnn.kernels.training.run_steps-{age:016x}.code").touch()
        (folder / f"fastnn.kernels.training.run_steps-{age:016x}.code.{age:016x}.tmp").touch()
        os.utime(folder / jit.MARKER, (10**9 - age, 10**9 - age))


def test_old_folders_are_pruned(tmp_path, keep):
    keep(7)
    make_folders(tmp_path, 7)
    keep(3)
    jit.prune(tmp_path / f"{6:016x}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{age:016x}" for age in (0, 1, 6)]
    jit.prune(tmp_path / "not there" / f"{0:016x}")


def test_a_new_folder_prunes_and_use_keeps(tmp_path):
    def use(number):
        for marker in tmp_path.glob(f"*/{jit.MARKER}"):
            last = marker.stat().st_mtime - 10  # a while ago
            os.utime(marker, (last, last))
        jit.make_folder(tmp_path / f"{number:016x}")

    for k in range(8):
        use(k)
        use(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{k:016x}" for k in (0, 5, 6, 7)]


def test_what_fastnn_has_not_written_is_never_deleted(tmp_path, keep):
    """Whatever the name says: links, files and folders of others, and folders with anything else in them."""
    outside = tmp_path / "outside"
    parent = tmp_path / "fastnn-compiled"
    jit.make_folder(outside / f"{0:016x}")
    keep(9)
    make_folders(parent, 9)
    folders = sorted(parent.iterdir())
    (folders[0] / "notes.txt").touch()
    (folders[1] / f"f-{0:016x}.code").symlink_to(outside)
    (folders[2] / f"f-{0:016x}.code").mkdir()
    (folders[3] / jit.MARKER).unlink()
    (folders[4] / jit.MARKER).write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55")
    (folders[5] / jit.MARKER).unlink()
    (folders[5] / jit.MARKER).symlink_to(outside / f"{0:016x}" / jit.MARKER)
    folders[6] = folders[6].rename(parent / "source")
    (parent / f"{10:016x}").symlink_to(outside / f"{0:016x}")
    (parent / f"{11:016x}").mkdir()
    (parent / f"{12:016x}").write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    keep(1)
    jit.prune(parent / "new")
    gone = set(before) - set(tmp_path.rglob("*"))
    assert {path for path in gone if path.parent == parent} == set(folders[7:])
    assert gone == {path for path in before if any(path.is_relative_to(folder) for folder in folders[7:])}


def test_what_appears_while_a_folder_is_deleted_stays(tmp_path, keep, monkeypatch):
    make_folders(tmp_path, 1)
    rename = Path.rename

    def add(self, target):
        (self / "notes.txt").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", add)
    keep(1)
    jit.prune(tmp_path / "new")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes.txt"]


def test_a_folder_that_cannot_be_deleted_keeps_no_other(tmp_path, keep, monkeypatch):
    make_folders(tmp_path, 4)
    rename = Path.rename

    def refuse(self, target):
        if self.name == f"{2:016x}":
            raise PermissionError(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    keep(1)
    jit.prune(tmp_path / f"{0:016x}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{age:016x}" for age in (0, 2)]


def test_a_deletion_that_was_killed_is_gone_on_with(tmp_path, keep):
    make_folders(tmp_path, 1)
    (folder,) = tmp_path.iterdir()
    folder.rename(tmp_path / f"{folder.name}.{'a' * 16}.tmp")
    keep(1)
    jit.prune(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_stays_where_the_clock_was_ahead(tmp_path, keep):
    keep(4)
    make_folders(tmp_path, 4)
    for marker in tmp_path.glob(f"*/{jit.MARKER}"):
        os.utime(marker, (10**10, 10**10))
    jit.make_folder(tmp_path / f"{9:016x}")
    assert len(list(tmp_path.iterdir())) == 4
    assert (tmp_path / f"{9:016x}").exists()


@compiled
def test_a_clone_beside_the_cache_is_left_alone(cache):
    """NUMBA_CACHE_DIR may be the folder that fastnn's clone is in, too."""
    clone = cache.root.parent / "fastnn"
    for name in (".git", ".ci", "docs", "fastnn", "tests", "asv_bench"):
        (clone / name).mkdir(parents=True)
        (clone / name / "file").touch()
    before = sorted(clone.rglob("*"))
    assert cache.run(2) == 0
    assert sorted(clone.rglob("*")) == before


# ---------------------------------------------------------------- where it is, and of what


def digest(package):
    return jit.source_digest(package, str(package / "_compiler" / "jit.py"))


def test_the_digest_covers_every_source(tmp_path):
    package = tmp_path / "fastnn"
    shutil.copytree(PACKAGE, package)
    before = digest(package)
    assert before == digest(package)
    seen = {before}
    for path in sorted(package.rglob("*.py")):
        path.write_text(path.read_text() + "\n")
        seen.add(digest(package))
    assert len(seen) == 1 + len(list(package.rglob("*.py")))


def test_the_digest_is_of_what_can_be_imported(tmp_path):
    """Bytecode without a source counts, and a package that is a link; an editor's files do not, nor do caches."""
    package = tmp_path / "fastnn"
    shutil.copytree(PACKAGE, package)
    seen = {digest(package)}
    for name in (".#_jit.py", "#_jit.py#", "_jit.py~", "4.py", "notes.txt"):
        (package / name).touch()
    (package / ".#kernels.py").symlink_to("nothing")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "more.py").touch()
    assert digest(package) in seen
    for name in ("more.pyc", "more.py"):
        (package / name).touch()
        seen.add(digest(package))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "inner.py").touch()
    (package / "linked").symlink_to(tmp_path / "linked")
    seen.add(digest(package))
    (tmp_path / "linked" / "inner.py").write_text("x = 1")
    seen.add(digest(package))
    assert len(seen) == 5
    assert None not in seen


def test_there_is_no_digest_of_what_cannot_be_found(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "fastnn")
    assert jit.source_digest(tmp_path / "fastnn", str(tmp_path / "fastnn" / "_compiler" / "jit.pyc")) is None
    assert jit.source_digest(tmp_path / "nothing", str(tmp_path / "nothing" / "_jit.py")) is None
    (tmp_path / "fastnn" / "dangling.py").symlink_to("nothing")
    assert digest(tmp_path / "fastnn") is None


def test_what_has_no_digest_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "DIGEST", None)
    folder, reason = jit.open_folder.__wrapped__(tmp_path)
    assert folder is None
    assert "the files that fastnn was imported from" in reason
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/fastnn-compiled"),
        ("linux", {"XDG_CACHE_HOME": "relative", "HOME": "/home/u"}, "/home/u/.cache/fastnn-compiled"),
        ("linux", {"HOME": "/home/u"}, "/home/u/.cache/fastnn-compiled"),
        ("darwin", {"HOME": "/Users/u"}, "/Users/u/Library/Caches/fastnn-compiled"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/fastnn-compiled"),
    ],
)
def test_where_the_cache_is(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert jit.user_cache_folder() == Path(expected)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/given")
    assert jit.user_cache_folder() == Path("/given/fastnn-compiled")


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
KERNELS = sorted((PACKAGE / "kernels").rglob("*.py"))


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
    if path.name != "jit.py":
        assert "njit" not in path.read_text()
        assert "cache=True" not in path.read_text()


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_kernels_say_what_they_do_and_hold_no_others(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for function in compiled_functions(path):
        assert ast.get_docstring(function), function.name
    for function in compiled_functions(path):
        assert not any(isinstance(inner, ast.FunctionDef) for inner in ast.walk(function) if inner is not function)


def test_kernels_neither_raise_nor_print_nor_draw():
    for path in KERNELS:
        for function in compiled_functions(path):
            for node in ast.walk(function):
                assert not isinstance(node, ast.Raise | ast.Assert), function.name
                assert "random" not in ast.unparse(node), function.name


def test_public_docstrings_name_every_parameter():
    import inspect

    for name in dir(fastnn):
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


@pytest.mark.late
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
    print(len(training.run_steps.signatures), len(forward.run_forward.dispatcher.signatures))
    """
    if numba.config.DISABLE_JIT:
        pytest.skip("nothing is compiled with the JIT disabled")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.split() == ["2", "2"]


class Choice(IntEnum):
    A, B, C, D = range(4)


@jit.kernel
def one_more(x):
    return x + 1


@jit.kernel
def twice(x):
    return 2 * x


def test_functions_by_code():
    """One that several codes share is asked for once, and last if most do; else there is a default."""
    functions = {Choice.A: one_more, Choice.B: twice, Choice.C: one_more}
    shared = jit.by_code("shared", "x", functions)
    other = jit.by_code("other", "x", functions, default=jit.by_code("none", "x", {Choice.D: twice}))

    @jit.entry_point(cached=False)
    def call(choice):
        return shared(choice, 5), other(choice, 5)

    assert [call(int(choice)) for choice in Choice] == [(6, 6), (10, 10), (6, 6), (6, 10)]
    code = getattr(shared, "py_func", shared).__code__
    assert code.co_names == ("shared_b", "shared_a")


@jit.unit
def first_of_two(packed, part):
    """Do nothing."""


@jit.unit
def second_of_two(packed, part):
    """Do nothing either."""


class Jobs:
    """Two units that no process has compiled, and an empty cache."""

    def __init__(self):
        self.signature = first_of_two.sign(((np.zeros(1),), 1))
        self.jobs = [(unit.dispatcher, self.signature) for unit in (first_of_two, second_of_two)]

    def is_kept(self):
        return [jit.is_kept(*job) for job in self.jobs]


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(ahead, "FEWEST", 2)  # also where pytest has all cores
    made = Jobs()
    for dispatcher, _ in made.jobs:
        dispatcher.overloads.clear()
    return made


@compiled
def test_another_process_compiles_from_the_end(jobs):
    assert jobs.is_kept() == [False, False]
    other = ahead.Other(jobs.jobs)
    other.process.wait(120)
    assert [*other.share()] == [1, 0]
    other.leave()
    other.leave()  # twice is once
    assert jobs.is_kept() == [True, True]
    assert not jobs.jobs[0][0].overloads  # by that process, not by this one


@compiled
def test_no_job_is_begun_by_both(jobs, monkeypatch, tmp_path):
    """What is begun here is not handed out, and what is handed out is waited for."""
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    program = f"""
        import pathlib, time
        print(flush=True)
        while not pathlib.Path({str(begun)!r}).exists():
            time.sleep(0.01)
        time.sleep(0.5)
        pathlib.Path({str(ended)!r}).touch()
        print(flush=True)
        time.sleep(60)
    """
    monkeypatch.setattr(ahead, "PROGRAM", textwrap.dedent(program))
    other = ahead.Other(jobs.jobs)
    try:
        while not other._theirs:
            assert other.process.poll() is None
            time.sleep(0.01)
        shared = other.share()
        assert next(shared) == 0
        begun.touch()
        assert next(shared) == 1
        assert ended.exists()
        assert [*shared] == []
    finally:
        other.process.kill()


@compiled
@pytest.mark.parametrize("program", [ahead.PROGRAM, "import sys; sys.exit(1)", "import time; time.sleep(2)"])
def test_compiling_needs_nobody_else(jobs, monkeypatch, program):
    monkeypatch.setattr(ahead, "PROGRAM", program)
    monkeypatch.setattr(ahead, "can_help", lambda: True)
    ahead.compile_all(jobs.jobs)
    assert all(signature in dispatcher.overloads for dispatcher, signature in jobs.jobs)
    ahead.compile_all(jobs.jobs)  # nothing is left to do


@compiled
def test_compiling_alone(jobs, monkeypatch):
    monkeypatch.setattr(ahead, "can_help", lambda: False)
    ahead.compile_all(jobs.jobs)
    assert jobs.is_kept() == [True, True]


@compiled
def test_who_compiles_alone(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert ahead.can_help()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not ahead.can_help()
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert not ahead.can_help()


SHARED = """
from toy._jit import entry_point, shared

@shared
def inner(x):
    return x + {constant}

@entry_point
def outer(x):
    return inner(x) + inner(x + 1)
"""


@pytest.mark.late
@compiled
def test_shared_functions(toy):
    """They are compiled once, found again by callers from the cache, and anew after an edit."""
    program = RUN.replace("toy.caller", "toy.sharing")
    sharing = toy.folder / "toy" / "sharing.py"
    sharing.write_text(SHARED.format(constant=1))
    assert toy.run(program)[:2] == (5, 0)
    files = [path.name for path in toy.cache.rglob("*.code")]
    assert sorted(name.partition("-")[0] for name in files) == ["toy.sharing.inner", "toy.sharing.outer"]
    assert toy.run(program)[:2] == (5, 1)
    sharing.write_text(SHARED.format(constant=2))
    assert toy.run(program)[:2] == (7, 0)
    for path in toy.cache.rglob("toy.sharing.inner-*.code"):
        path.unlink()
    assert toy.run(program)[:2] == (7, 1)  # compiled for its caller, which was there


@compiled
def test_what_is_shared_is_pickled_by_its_name():
    """So that compiled code that is kept says what it calls."""
    made = activations.activate.shared
    assert pickle.loads(pickle.dumps(made)) is made


@compiled
def test_constants_make_no_versions_of_their_own():
    """A constant, a member of an enumeration and a number of their type are one to what a kernel calls."""

    @jit.kernel
    def add(a, b):
        return a + b

    @numba.njit
    def run(b):
        return add(1, b) + add(2, b) + add(activations.Activation.TANH, b) + add(b, b)

    assert run(5) == 1 + 2 + activations.Activation.TANH + 5 * 5
    assert len(add.signatures) == 1
