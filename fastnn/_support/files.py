"""Files that are whole or not there: safetensors with a description in their metadata."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._support import validate
from fastnn._support.validate import Array

# Raised when what a file holds changes its meaning; every version before stays readable.
FORMAT_VERSION = 1
METADATA = {"format", "version", "kind", "description", "sha256"}
# A few bytes must not take gigabytes. What safetensors and Python make of a name or a number in JSON takes up
# to 400 bytes, so a header has at most so many. Of the values, the description's among them, that is besides one for
# each 32 bytes of the file: a layer has 19 in 200 bytes, a table's column 4 in 100, and 400 of its weights.
MAX_ARRAYS = 10_000
MAX_VALUES, BYTES_PER_VALUE = 2**17, 32
# A header that is longer is refused by safetensors.
MAX_HEADER = 100_000_000
FOREIGN = "is damaged, or no safetensors file"
# Letters of a message; a file can hold megabytes of them.
MAX_MESSAGE = 1000


# What comes of content that is wrong, such as element types that NumPy has not.
WRONG = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Damaged(ValueError):
    """A file is not what it should be, and how that is."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason[:MAX_MESSAGE]

    def __str__(self) -> str:
        return validate.printable(f"{self.path} {self.reason}")


@contextlib.contextmanager
def restoring(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Have whatever goes wrong with what a file holds raise `Damaged`."""
    try:
        yield
    except Damaged:
        raise
    except WRONG as error:
        raise Damaged(path, f"does not hold a {what}: {error}") from None


def import_safetensors() -> Any:
    """Return the package, or say how to install it."""
    with validate.optional("a file of a network", "save"):
        import safetensors.numpy

    return safetensors


def write(
    path: str | os.PathLike[str],
    kind: str,
    description: Mapping[str, Any],
    arrays: Mapping[str, Array],
    load: Callable[[Path], object],
) -> None:
    """Write arrays and a description, as one file, at once or not at all.

    The bytes go to a new file in the same folder, onto the disk, and then under the
    name, so that a reader, or a run that is killed, finds the old or the new file; a kill may
    also leave a hidden one, ``.fastnn-*.tmp``, that nobody reads. What `load` cannot read
    never comes under the name: ValueError, and what was there stays.
    """
    safetensors = import_safetensors()
    # A tensor's bytes are written in C order whatever its strides say.
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {
        "format": "fastnn",
        "version": str(FORMAT_VERSION),
        "kind": kind,
        "description": json.dumps(description),
    }
    metadata["sha256"] = _digest(metadata, tensors)

    def check(written: Path) -> None:
        try:
            load(written)
        except Damaged as error:
            raise ValueError(f"{path} is not written: nobody could read it again, as it {error.reason}") from None

    replace(path, safetensors.numpy.save(tensors, metadata), check)


def read(path: str | os.PathLike[str], *kinds: str) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Return which of the kinds a file is, its description and its arrays, as they were written bit for bit.

    A few times the memory is taken that the file is long. Raises `Damaged` for anything that
    `write` has not written, and OSError where there is nothing to read.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise Damaged(path, "is not a regular file")
    metadata, tensors = _load(path)
    if metadata.get("format") != "fastnn":
        raise Damaged(path, "was not written by fastnn")
    if metadata.get("version") != str(FORMAT_VERSION):
        raise Damaged(
            path,
            f"has format version {metadata.get('version')!r}, and this fastnn reads {FORMAT_VERSION}; "
            "update fastnn if the file is newer",
        )
    kind = metadata.get("kind", "")
    if kind not in kinds:
        raise Damaged(path, f"holds a {kind}, not a {' or '.join(kinds)}")
    if metadata.keys() != METADATA or metadata.pop("sha256") != _digest(metadata, tensors):
        raise Damaged(path, "is damaged: its checksum does not match its content")
    try:
        description = json.loads(metadata["description"])
    except (ValueError, RecursionError) as error:
        raise Damaged(path, f"has no readable description: {error!r}") from None
    if not isinstance(description, dict):
        raise Damaged(path, f"has no readable description: it is {validate.show(description)}")
    return kind, description, tensors


def _load(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Return a safetensors file's metadata and arrays.

    It is read once, in one go: a mapped one that somebody cuts meanwhile would end the process.
    """
    safetensors = import_safetensors()
    with path.open("rb") as file:
        size = os.stat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        header = file.read(min(length, MAX_HEADER))
        if len(header) < length or not _is_modest(header, size):
            raise Damaged(path, f"{FOREIGN}: no network of its length has such a header")
        content = start + header + file.read()
    try:
        return json.loads(header).get("__metadata__") or {}, safetensors.numpy.load(content)
    except (safetensors.SafetensorError, *WRONG) as error:
        raise Damaged(path, f"{FOREIGN}: {error}") from None


def _is_modest(header: bytes, size: int) -> bool:
    """Return whether a header in JSON takes little more memory than it is long, before anything parses it."""
    header = header.replace(rb"\\", b"")
    n_quoted = header.count(rb"\"")  # inside of texts, where nothing else needs a backslash that is left
    n_texts = (header.count(b'"') - n_quoted) // 2
    n_values = sum(map(header.count, (b",", b"[", b"{")))
    return (
        n_texts <= 5 * MAX_ARRAYS + 2 * len(METADATA) + 1
        and n_values <= MAX_VALUES + size // BYTES_PER_VALUE
        and header.count(b"\\") == n_quoted
        and header.isascii()
    )


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
    """Return a checksum of everything: it finds flipped bits, it does not prove who wrote them."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, tensor.dtype.str, tensor.shape]).encode())
        digest.update(tensor.data)
    return digest.hexdigest()


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse to write where there is no folder."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder}", os.fspath(path))


def replace(path: str | os.PathLike[str], content: bytes, check: Callable[[Path], None] = lambda _: None) -> None:
    """Put a file under a name in one step, if `check` has nothing against it, or leave what was there.

    A link stays a link. Mode and, where that is allowed, owner and group are those of the file that is replaced.
    """
    found, old = _find(path)
    check_folder(path)
    temporary = _name_beside(found)

    def create(name: str, flags: int) -> int:
        try:
            return os.open(name, flags, 0o600 if old else 0o666)
        except OSError as error:  # it has a name that nobody knows
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None

    try:
        with open(temporary, "xb", opener=create) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check(temporary)
        if old:
            _take_after(temporary, old)
        temporary.replace(found)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(found.parent)


def _find(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """Return where a file is or will be, links followed, and what is there: nothing or a regular file, or OSError."""
    try:
        found = Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return Path(os.path.realpath(path)), None
    status = found.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EEXIST, "it is no file that could be replaced", str(path))
    return found, status


def _name_beside(path: Path) -> Path:
    """Return a new name in the same folder, a short one: there are systems that take no more than 143 letters."""
    return path.with_name(f".fastnn-{secrets.token_hex(8)}.tmp")


def _take_after(path: Path, old: os.stat_result) -> None:
    """Give a file the mode of another one and, where that is allowed, its owner and group."""
    mode = old.st_mode & 0o777
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with contextlib.suppress(AttributeError, OSError):  # Windows has none; only root gives files away
            os.chown(path, owner, group)
    if path.stat().st_gid != old.st_gid:  # another group may do what everybody may
        mode = mode & 0o707 | (mode & 0o007) << 3
    path.chmod(mode)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's names onto the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path], force: bool) -> None:
    """Refuse, before any work, files that could not be written, that are there already, or that are one file."""
    checked: dict[Path, Path] = {}  # where they lead
    for path in outputs:
        try:
            found, old = _find(path)
            if not found.parent.is_dir():
                raise ValueError(f"{path} cannot be written: there is no folder {found.parent}")
            probe = _name_beside(found)
            probe.open("xb").close()
            probe.unlink()
        except OSError as error:
            raise ValueError(f"{path} cannot be written: {error.strerror}") from None
        for other in inputs:
            if old and other.exists() and found.samefile(other):
                raise ValueError(f"{path} and {other}, which is read, are one file: write to another")
        for other, there in checked.items():
            if _is_same(found, there):
                raise ValueError(f"{path} and {other} are one file: write to two")
        if old and not force:
            raise ValueError(f"{path} is there already; --force replaces it")
        checked[path] = found


def _is_same(one: Path, two: Path) -> bool:
    """Return whether two paths of files in folders lead to one file, or would where capitals do not count."""
    if one.exists() or two.exists():
        return one.exists() and two.exists() and one.samefile(two)
    import unicodedata  # a library of its own, 10 ms of an import of fastnn

    names = {unicodedata.normalize("NFC", path.name).casefold() for path in (one, two)}
    return len(names) == 1 and one.parent.samefile(two.parent)


def rebuild(kinds: Sequence[type[Any]], described: tuple[str, dict[str, Any]]) -> Any:
    """Return a frozen dataclass, one of those kinds, from its name and its fields."""
    name, values = described
    return {kind.__name__: kind for kind in kinds}[name](**values)
