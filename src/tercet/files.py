"""Files that are whole or not there: written under a temporary name in the same folder, then renamed.

A sealed file begins with the SHA-256 of its content, so that damage is noticed as it is read.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from tercet.errors import UsageError

EMPTY_PATH = "found an empty path; expected a name, or a dot for the current folder."
SEAL_BYTES = hashlib.sha256().digest_size


class SealError(ValueError):
    """A sealed file whose content is not what was written."""


def at_home(path: str | Path) -> Path:
    """A path as a person writes it: ~ is the home folder; ~name stays as it is where there is nobody of that name.

    UsageError where it is empty, which an unset variable of a shell may have left.
    """
    if path == "":
        raise UsageError(EMPTY_PATH)
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises a RuntimeError there


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` at the end of the block, and is gone if the block raises.

    A reader or a crash sees the old file or the new one, nothing between. A link stays one, and what it leads to is
    replaced; who may read a file stays as it was. What the disk refuses is an OSError that names `path`, and so is what
    is neither file nor folder, such as /dev/null.
    """
    name, path = None, Path(os.path.realpath(path)) if path.is_symlink() else path
    mode = path.stat().st_mode if path.exists() else stat.S_IFREG | 0o644
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            Path(name).chmod(stat.S_IMODE(mode))
            os.fsync(file.fileno())
        Path(name).replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        if name:
            with suppress(OSError):  # a disk that refuses to write may refuse this too; the first refusal tells more
                Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and _is_ours(error.filename, path):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _is_ours(name: Any, path: Path) -> bool:
    """Whether an error names what is written or, as that of a full disk, nothing; the block may read other files."""
    return name is None or Path(os.fsdecode(name)).name.startswith(f".{path.name}.") or Path(name) == path.parent


def is_unfinished(path: Path) -> bool:
    """Whether a file bears the name of one that is being written, or was when the process was ended."""
    return path.name.startswith(".") and path.name.endswith(".part")


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, that a loss of power does not take away with all that is in it."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring to the disk what was created, renamed and removed in a folder; Windows opens no folders."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(descriptor)


def remove_unfinished(folder: Path, names: Iterable[str] = ("**/.*.part",), *, older: float = 0) -> None:
    """Remove what killed processes have left of files in `folder`, if it is older than so many seconds.

    A folder that others use too is tidied by the patterns of one's own `names`. Without an age no other process may be
    writing there.
    """
    for path in chain.from_iterable(map(folder.glob, names)):
        with suppress(FileNotFoundError):  # another process may be tidying too
            if path.is_file() and time.time() - path.stat().st_mtime >= older:
                path.unlink()


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
