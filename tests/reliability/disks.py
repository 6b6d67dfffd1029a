"""A disk that refuses: lets what this process writes below a folder fail, from a given call on.

Counted are creations of files and folders, writes, renames and fsyncs, as Python makes them; SQLite, NumPy's `tofile`
and safetensors write past it. A disk that is full refuses all of these from then on but lets files be removed; one that
is read-only refuses that too.
"""

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

NAMELESS = getattr(os, "O_TMPFILE", os.O_CREAT)  # a temporary file without a name, as Linux has them


class Disk:
    """The calls so far, in words, and when and how they are refused."""

    def __init__(self, folder: Path, first: int | None, code: int) -> None:
        self.folder, self.first, self.code = folder, first, code
        self.calls: list[str] = []
        self.opened: dict[int, Path] = {}  # descriptors of what lies below the folder

    def holds(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and Path(path).absolute().is_relative_to(self.folder)

    def ask(self, call: str, path: object, *, naming: bool = True) -> None:
        """Count a call; an OSError where it is refused, which names the file where those of the system do."""
        if not self.holds(path):
            return
        self.calls.append(f"{call} {Path(path).absolute().relative_to(self.folder.parent)}")
        if self.first is not None and len(self.calls) > self.first:
            code = errno.EIO if call == "fsync" and self.code == errno.ENOSPC else self.code
            raise OSError(code, os.strerror(code), *([str(path)] if naming else []))


class File(io.FileIO):
    """A file whose every write is asked for."""

    def __init__(self, disk: Disk, path: Path, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.disk, self.path = disk, path

    def write(self, content):
        self.disk.ask("write", self.path, naming=False)
        return super().write(content)


@contextmanager
def refusing(folder: Path, first: int | None = None, code: int = errno.ENOSPC) -> Iterator[Disk]:
    """Refuse every call after the first `first` ones; none for None."""
    disk = Disk(folder.absolute(), first, code)
    changed = {name: asked(disk, name) for name in ("mkdir", "rename", "replace")}
    if code in (errno.EROFS, errno.EACCES):
        changed |= {name: asked(disk, name) for name in ("remove", "rmdir", "unlink")}
    changed |= {"open": opening(disk), "fsync": syncing(disk)}
    file_open = opening_files(disk)
    with (
        mock.patch.multiple(os, **changed),
        mock.patch.object(io, "open", file_open),
        mock.patch.object(builtins, "open", file_open),
    ):
        yield disk


def asked(disk: Disk, name: str) -> Callable:
    call = getattr(os, name)

    def ask_and_call(path, *rest, **options):
        disk.ask(name, path)
        return call(path, *rest, **options)

    return ask_and_call


def opening(disk: Disk) -> Callable:
    call = os.open

    def open_descriptor(path, flags, *rest, **options):
        if (flags & os.O_CREAT and not Path(path).exists()) or flags & NAMELESS == NAMELESS:
            disk.ask("create", path)
        descriptor = call(path, flags, *rest, **options)
        disk.opened.pop(descriptor, None)
        if disk.holds(path):
            disk.opened[descriptor] = Path(path)
        return descriptor

    return open_descriptor


def syncing(disk: Disk) -> Callable:
    call = os.fsync

    def sync(descriptor):
        if descriptor in disk.opened:
            disk.ask("fsync", disk.opened[descriptor], naming=False)
        return call(descriptor)

    return sync


def opening_files(disk: Disk) -> Callable:
    call = io.open

    def open_file(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        path = disk.opened.get(file) if isinstance(file, int) else file
        if not set(mode) & set("wax+") or not disk.holds(path):
            return call(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not Path(path).exists():
            disk.ask("create", path)
        raw = File(disk, path, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        disk.opened[raw.fileno()] = Path(path)
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

    return open_file
