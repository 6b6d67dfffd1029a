"""Files that are whole or not there: written under a temporary name in the same folder, then renamed.

A sealed file begins with the SHA-256 of its content, so that damage is noticed as it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

SEAL_BYTES = hashlib.sha256().digest_size


class SealError(ValueError):
    """A sealed file whose content is not what was written."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` at the end of the block, and is gone if the block raises.

    A reader or a crash sees the old file or the new one, nothing between.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself must reach the disk; Windows opens no folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_unfinished(path: Path) -> bool:
    """Whether `replacing` has made this file and was killed before it was whole."""
    return path.name.startswith(".") and path.name.endswith(".part")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left of files below `folder`, which no other process may be writing."""
    for path in folder.rglob(".*.part"):
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | memoryview | str) -> None:
    """Write `content` to `path`, whole or not at all.

    Text may hold file names whose bytes are no UTF-8; they are written as the bytes they were.
    """
    with replacing(path) as file:
        file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays to `path` as `.npz`, whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getbuffer())  # no copy


def write_sealed(path: Path, content: bytes) -> None:
    """Write `content` to `path` with a seal before it, whole or not at all."""
    with replacing(path) as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)  # not joined to the seal, which would copy it


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` was given; SealError if a single bit of the file has changed since."""
    with path.open("rb", buffering=0) as file:  # a buffer would be joined to the rest, which copies it
        seal, content = file.read(SEAL_BYTES), file.readall()
    if hashlib.sha256(content).digest() != seal:
        raise SealError("its content does not match its checksum")
    return content
