"""The image files inside a folder or an archive, one after another, as names and bytes.

Archives are streamed and never extracted, so a hostile one has nothing to write to: links, devices and names that
point outside are passed over; nor may it grow out of proportion. Knows nothing of classes or pixels.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tercet.errors import DataError

MAX_FILE_BYTES = 64 * 2**20
MOST_GROWTH = 100  # bytes unpacked for each packed, beyond one file of the largest: images hardly shrink when packed
MAX_HEADER_BYTES = 2**16  # of one that goes before a tar's header, for a long name or a note: a guess
LONG_HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    # Not read, but reported: silence would leave their owner wondering.
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
)
TAR_OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.xz": lzma.open,
}
ARCHIVE_SUFFIXES = (*TAR_OPENERS, ".zip")


class File(NamedTuple):
    """An image file: its path inside the source, and how to read it before the next one is asked for.

    `read` raises OSError for a fault of this file and DataError for one of the whole archive.
    """

    path: str
    read: Callable[[], bytes]


def is_archive(source: Path) -> bool:
    """Whether the name is that of an archive we read."""
    return source.name.lower().endswith(ARCHIVE_SUFFIXES)


def walk(source: Path) -> Iterator[File]:
    """Every image file of a folder, in order of name, or of an archive, in the archive's order."""
    if source.is_dir():
        for path, file in list_folder(source):
            yield File(path, partial(read_file, file))
    elif source.name.lower().endswith(".zip"):
        yield from _walk_zip(source)
    else:
        opener = next(opener for suffix, opener in TAR_OPENERS.items() if source.name.lower().endswith(suffix))
        yield from walk_tar(source, opener, _image_path)


def list_folder(root: Path) -> Iterator[tuple[str, Path]]:
    """Every image file below a folder: its path relative to the folder, and where it is."""
    try:
        for file in _files_below(root, frozenset({root.resolve()})):
            if path := _image_path(file.relative_to(root).as_posix()):
                yield path, file
    except OSError as error:
        raise DataError(f"cannot list {str(error.filename)!r} ({error.strerror}); make it readable.") from error


def _files_below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Files in order of name; links are followed, except back to a folder that holds them."""
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            yield entry
        elif not entry.name.startswith(".") and (real := entry.resolve()) not in above:
            yield from _files_below(entry, above | {real})


def _image_path(name: str) -> str | None:
    """The path of a visible image inside its source, or None for everything else."""
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if not name.lower().endswith(IMAGE_SUFFIXES) or name.startswith("/"):
        return None
    if any(step.startswith(".") or step == "__MACOSX" for step in steps):  # `..` is among these
        return None
    return "/".join(steps)


def read_file(file: Path) -> bytes:
    """The content of an image file; OSError with the reason where it cannot be had."""
    if not file.is_file():
        raise OSError(_why_no_file(file))
    _check_size(file.stat().st_size)
    return file.read_bytes()


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "a folder without images"
    if path.is_symlink():
        return "a link to nothing"
    return "neither a file nor a link to one" if path.exists() else "no such file or folder"


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise OSError(f"larger than the {MAX_FILE_BYTES // 2**20} MB allowed")


@contextmanager
def _faults_of(archive: Path) -> Iterator[None]:
    """Turn what the readers of archives raise into one sentence."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # on damaged headers they raise a dozen unrelated types
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"the archive {str(archive)!r} cannot be read to its end ({reason}); download or pack it again."
        ) from error


def check_growth(file: Path, unpacked: int) -> None:
    """Refuse what unpacks to far more than it is, a bomb."""
    if unpacked > MAX_FILE_BYTES + MOST_GROWTH * file.stat().st_size:
        raise DataError(
            f"{str(file)!r} unpacks to more than {MOST_GROWTH} times its size, which images do not; if you trust it, "
            "unpack it yourself and give what was in it."
        )


class _Unpacked:
    """What is unpacked of an archive, as long as it is in proportion."""

    def __init__(self, archive: Path, stream: Any) -> None:
        self._archive, self._stream, self._count, self._empty = archive, stream, 0, 0

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._count += len(data)
        check_growth(self._archive, self._count)
        self._empty += not data
        if self._empty > 10:  # tarfile would look for the end of a member of a million gigabytes
            raise EOFError("a member goes beyond the end")
        return data


class _Header(tarfile.TarInfo):
    """A tar header that is not valid is an error; tarfile takes one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise OSError("damaged header") from error
            raise  # zeros mark the end
        if header.size < 0 or (header.type in LONG_HEADERS and header.size > MAX_HEADER_BYTES):
            raise OSError("damaged header")
        return header

    def _refuse(self, *_: object) -> NoReturn:
        """A file with holes may be of any size for nothing; no image has any."""
        raise OSError("a file with holes")

    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


def walk_tar(archive: Path, opener: Callable[..., Any], path_of: Callable[[str], str | None]) -> Iterator[File]:
    """Every file of a tar archive for whose name `path_of` has a path, in the archive's order."""
    # tarfile decompresses by itself, but takes a file that was cut off for a shorter one; these openers do not.
    with _faults_of(archive), opener(archive, "rb") as stream:
        unpacked: Any = _Unpacked(archive, stream)
        with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else tarfile keeps every header it has seen
                tar.pax_headers = {}  # and the notes in them
                if member.isreg() and (path := path_of(member.name)):
                    yield File(path, partial(_read_member, archive, tar, member))
            while unpacked.read(2**20):  # to the checksum at the end
                pass


def _read_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _check_size(member.size)
    with _faults_of(archive):
        data = tar.extractfile(member)
        return _content(data) if data else b""


def _walk_zip(archive: Path) -> Iterator[File]:
    with _faults_of(archive), zipfile.ZipFile(archive) as bundle:
        check_growth(archive, sum(member.file_size for member in bundle.infolist()))  # zipfile gives no more
        for member in bundle.infolist():
            path = _image_path(member.filename.replace("\\", "/"))
            if path and not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                yield File(path, partial(_read_zip_member, bundle, member))


def _read_zip_member(bundle: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    _check_size(member.file_size)
    if member.flag_bits & 1:
        raise OSError("encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unpacks others without bound
        raise OSError("packed by another method than deflate")
    try:
        with bundle.open(member) as stream:
            return _content(stream)
    except Exception as error:  # as above
        raise OSError(f"damaged in the archive ({error})") from error


def _content(stream: Any) -> bytes:
    """All of it; read at once it would be in memory three times."""
    content = BytesIO()
    shutil.copyfileobj(stream, content, 2**20)
    return content.getvalue()
