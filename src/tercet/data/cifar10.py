"""CIFAR-10 from its official archives: fetched once, checked, and kept as one `.npz` for each part.

Reference: Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from tercet.data.archive import walk_tar
from tercet.data.download import alone, checksum, download
from tercet.data.imageset import ImageSet
from tercet.data.npz import read_npz
from tercet.data.pickled_batch import read_pickled_batch
from tercet.data.room import require_room
from tercet.errors import DataError
from tercet.files import at_home, make_folder, write_arrays

# The archives and their MD5 as the data set's page, https://www.cs.toronto.edu/~kriz/cifar.html, publishes them.
CHECKSUMS = {
    "c32a1d4ab5d03f1284b67883e8d87530": "cifar-10-binary.tar.gz",
    "c58f30108f718f92721af3b95e74349a": "cifar-10-python.tar.gz",
}
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"  # of the two, the one that holds no pickle
MOST_BYTES = 2**28  # the archives have 170 million bytes
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {
    "train": ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    "test": ("test_batch",),
}
FILES = {part: f"cifar10_{part}.npz" for part in BATCHES}
ARCHIVE, DOWNLOAD, LOCK = "cifar-10.tar.gz", "cifar-10.download", "cifar10.lock"  # the archive to keep, and until then
ELSEWHERE = (
    "without a connection, give an official archive by `tercet fetch cifar10 --archive FILE` or $TERCET_CIFAR10, or "
    "use a folder of images or `digits`."
)

Batch = tuple[
    NDArray[np.uint8], NDArray[np.int64]
]  # rows of 3,072 channel values, red before green before blue; labels
Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


def data_folder() -> Path:
    """Where data sets are kept: $TERCET_DATA, or the place this system has for them."""
    return at_home(os.environ.get("TERCET_DATA") or platformdirs.user_data_dir("tercet"))


def is_kept(folder: Path) -> bool:
    """Whether both parts lie in `folder`."""
    return all((folder / name).is_file() for name in FILES.values())


def is_official(file: Path) -> bool:
    """Whether this is an official archive, or calls itself one."""
    return file.is_file() and (file.name in CHECKSUMS.values() or _checksum(file) in CHECKSUMS)


def fetch_cifar10(
    folder: Path,
    *,
    archive: Path | None = None,
    url: str | None = None,
    keep: bool = False,
    on_progress: Progress | None = None,
) -> bool:
    """Put the two `.npz` into `folder`, from `archive` or by download from `url`; False if they were there already.

    What was downloaded is removed at the end, unless it is to be kept. `on_progress` counts in megabytes.
    """
    if is_kept(folder):
        _tidy(folder)
        return False
    try:
        parts = read_official(archive) if archive else {}  # before there is a folder, which may be for nothing
        make_folder(folder)
        with alone(folder / LOCK):
            if is_kept(folder):  # by the process that was waited for
                return False
            if not archive:
                parts = _download(url or URL, folder, on_progress, keep=keep)
            for part, arrays in parts.items():
                write_arrays(folder / FILES[part], **arrays)
    except OSError as error:
        raise DataError(
            f"cannot write into {str(folder)!r} ({error.strerror or error}); make room, or choose another folder by "
            "$TERCET_DATA or `tercet fetch --data-dir`."
        ) from error
    _tidy(folder)
    return True


def _tidy(folder: Path) -> None:
    """Remove what a download has left, and a process that was killed: once both parts are kept it is of no use."""
    names = (f"{DOWNLOAD}*", f".{DOWNLOAD}*.part", *(f".{name}.*.part" for name in FILES.values()))
    if any(left := [file for name in names for file in folder.glob(name)]):
        with suppress(OSError), alone(folder / LOCK):  # in a folder that cannot be written it stays
            for file in left:
                file.unlink(missing_ok=True)


def _download(url: str, folder: Path, on_progress: Progress | None, *, keep: bool) -> dict[str, dict[str, Any]]:
    """The parts of the archive that is kept in the folder, or of the one at `url`, which lies there then."""
    file, kept = folder / DOWNLOAD, folder / ARCHIVE
    if is_official(kept):  # since another time; it stays, whatever is asked for today
        return read_official(kept)
    if keep and kept.exists():
        raise DataError(f"{str(kept)!r} is another file; move it elsewhere, or leave out --keep.")
    logger.warning("downloading CIFAR-10, 170 MB, from %s to %s", url, folder)
    try:
        download(url, file, CHECKSUMS.keys(), MOST_BYTES, _in_megabytes(on_progress))
    except DataError as error:
        raise DataError(f"{str(error).removesuffix('.')}; {ELSEWHERE}") from error
    parts = read_official(file)
    if keep:
        file.replace(kept)
    return parts


def _in_megabytes(on_progress: Progress | None) -> Progress:
    shown = -1

    def on_bytes(done: int, total: int) -> None:
        nonlocal shown
        if on_progress and total and done // 10**6 != shown:
            shown = done // 10**6
            on_progress(shown, total // 10**6)

    return on_bytes


def load_cifar10(source: Path | None, on_progress: Progress | None = None) -> dict[str, ImageSet]:
    """Train and test from an official archive or a folder that keeps them; by default fetched where need be."""
    if source and not source.is_dir():
        return {part: ImageSet.from_arrays(**arrays) for part, arrays in read_official(source).items()}
    folder = source or data_folder()
    fetch_cifar10(folder, on_progress=on_progress)
    try:
        return {part: read_npz(folder / name)["train"] for part, name in FILES.items()}
    except DataError as error:
        reason = str(error).split(";")[0]
        raise DataError(f"{reason}; remove it, and `tercet fetch cifar10` makes it anew.") from error


def read_official(archive: Path) -> dict[str, dict[str, Any]]:
    """`images` uint8 `[N, 32, 32, 3]`, `labels` and `classes` of each part, in the order of the batches."""
    if (found := _checksum(archive)) not in CHECKSUMS:
        raise DataError(
            f"{str(archive)!r} has the MD5 {found}, which neither official archive of CIFAR-10 has; download "
            f"{' or '.join(CHECKSUMS.values())} again."
        )
    require_room(60_000, 32, copies=3)  # as batches, put together, and turned
    batches = {}
    for file in walk_tar(archive, gzip.open, _batch_name):
        try:
            batches[PurePosixPath(file.path).stem] = _read_batch(file.path, file.read())
        except OSError as error:
            raise DataError(f"{file.path} in {str(archive)!r} is {error}; download the archive again.") from error
    if missing := [name for names in BATCHES.values() for name in names if name not in batches]:
        raise DataError(f"found no {', '.join(missing)} in {str(archive)!r}; expected an official archive of CIFAR-10.")
    return {part: _combined([batches[name] for name in names]) for part, names in BATCHES.items()}


def _checksum(archive: Path) -> str:
    try:
        return checksum(archive)
    except OSError as error:
        raise DataError(f"cannot read the archive {str(archive)!r} ({error.strerror}); give another.") from error


def _batch_name(member: str) -> str | None:
    """`data_batch_1.bin` of the binary archive, `data_batch_1` of the Python one; None for what is no batch."""
    path = PurePosixPath(member)
    suffix = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}.get(path.parent.name)
    is_batch = any(path.stem in names for names in BATCHES.values()) and path.suffix == suffix
    return path.name if is_batch else None


def _read_batch(name: str, content: bytes) -> Batch:
    if name.endswith(".bin"):  # a record is a label and a row
        if len(content) % 3073:
            raise DataError(f"found {len(content)} bytes in {name}; expected records of 3,073.")
        records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        return records[:, 1:], records[:, 0].astype(np.int64)
    return read_pickled_batch(content)


def _combined(batches: list[Batch]) -> dict[str, Any]:
    rows, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    if unknown := set(labels.tolist()) - set(range(len(CLASSES))):
        raise DataError(f"found the label {min(unknown)} in an archive of CIFAR-10; expected 0 to 9.")
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return {"images": images, "labels": labels, "classes": np.array(CLASSES)}
