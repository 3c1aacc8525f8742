"""Files that are whole or not there: safetensors with a description in their metadata."""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._validate import Array

# Raised when what a file holds changes its meaning; every version before stays readable.
FORMAT_VERSION = 1
MISSING = "saving and loading need safetensors: pip install 'fastnn-numba[save]'"


class Damaged(ValueError):
    """A file is not what it should be; the message says how."""


def write(path: str | os.PathLike[str], kind: str, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write arrays and a description, as one file, at once or not at all.

    The bytes go to a new file in the same folder, onto the disk, and then under the
    name, so that a reader, or a run that is killed, finds the old or the new file; a kill may
    also leave a hidden one, ``.NAME.*.tmp``, that nobody reads.
    """
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(MISSING) from error
    # A tensor's bytes are written in C order whatever its strides say.
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {
        "format": "fastnn",
        "version": str(FORMAT_VERSION),
        "kind": kind,
        "description": json.dumps(description),
    }
    metadata["sha256"] = _digest(metadata, tensors)
    replace(Path(path), save(tensors, metadata))


def read(path: str | os.PathLike[str], *kinds: str) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """Return which of the kinds a file is, its description and its arrays, as they were written bit for bit.

    No more memory is taken than the file is long. Raises `Damaged` for anything that
    `write` has not written, and OSError where there is nothing to read.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(MISSING) from error
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise Damaged(f"{path} is not a regular file")
    path.open("rb").close()  # says what is wrong where nothing may be read
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
        # The last ones: element types that NumPy has not.
        raise Damaged(f"{path} is damaged, or no safetensors file: {error}") from None
    if metadata.get("format") != "fastnn":
        raise Damaged(f"{path} was not written by fastnn")
    if metadata.get("version") != str(FORMAT_VERSION):
        raise Damaged(
            f"{path} has format version {metadata.get('version')!r}, and this fastnn reads {FORMAT_VERSION}; "
            "update fastnn if the file is newer"
        )
    kind = metadata.get("kind")
    if kind not in kinds:
        raise Damaged(f"{path} holds a {kind}, not a {' or '.join(kinds)}")
    if metadata.pop("sha256", None) != _digest(metadata, tensors):
        raise Damaged(f"{path} is damaged: its checksum does not match its content")
    try:
        description = json.loads(metadata["description"])
    except (KeyError, ValueError, RecursionError) as error:
        raise Damaged(f"{path} has no readable description: {error!r}") from None
    if not isinstance(description, dict):
        raise Damaged(f"{path} has no readable description: {description!r}")
    return kind, description, tensors


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
    """Return a checksum of everything: it finds flipped bits, it does not prove who wrote them."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, tensor.dtype.str, tensor.shape]).encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def replace(path: Path, content: bytes) -> None:
    """Put a file under a name in one step, or leave what was there."""
    path = path.resolve()  # a link stays a link
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's names onto the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
