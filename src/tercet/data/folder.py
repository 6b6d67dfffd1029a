"""Class folders, as a directory or an archive, to one ImageSet a part.

The files are walked twice: first their names and, where no size is asked for, their headers, so that order, number and
size are known, so that what is too much is refused and the pixels have one place from the start; then their contents.
Memory therefore holds the decoded images and a few files more. Knows nothing of caches and of how parts are split.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tercet.data.archive import walk
from tercet.data.decode import read_short_side, stored_side
from tercet.data.imageset import ImageSet
from tercet.data.layout import WHOLE, Place, arrange
from tercet.data.parallel import decode_files
from tercet.data.room import require_room
from tercet.errors import DataError

MEASURED = 1_000  # files whose headers are all read for the natural size; of those beyond every tenth: a guess
STEP = 64  # files between two reports of progress

Progress = Callable[[int, int], None]


class Reading(NamedTuple):
    """What a folder or an archive held: one set a part, over the same classes, and the files left out."""

    parts: dict[str, ImageSet]
    size: int  # of the network the images are kept for, as asked or natural
    skipped: tuple[str, ...]  # "path: reason"


def natural_size(short_side: float) -> int:
    """The size of the network when none is asked for: small pictures, thumbnails, photographs; all a guess."""
    if short_side <= 48:
        return 32
    return 64 if short_side < 96 else 128


def read_folder(source: Path, size: int | None = None, on_progress: Progress | None = None) -> Reading:
    """Read every image of a directory or an archive that holds class folders.

    `on_progress(done, total)` is first called with a total of 0, which is unknown until the names have been read.
    """
    if on_progress:
        on_progress(0, 0)
    paths, short_sides = _survey(source, size is None, on_progress)
    places, strays = arrange(paths)
    if WHOLE not in {place.part for place in places}:
        raise DataError(
            f"found no images in class folders in {str(source)!r}; expected CLASS/IMAGE, "
            "or train/CLASS/IMAGE and test/CLASS/IMAGE."
        )
    if size is None:
        size = natural_size(median(short_sides) if short_sides else 0)
    require_room(len(places), size)
    side = stored_side(size)
    pixels = np.empty((len(places), 3, side, side), dtype=np.uint8)
    unread = _decode_into(pixels, source, {place.path: row for row, place in enumerate(places)}, on_progress)
    kept = [place for place in places if place.path not in unread]
    _close_gaps(pixels, [row for row, place in enumerate(places) if place.path not in unread])
    unread |= dict.fromkeys(strays, "not in a class folder")
    unread |= dict.fromkeys(_without_images(source, places), "holds no image, so it is no class")
    skipped = tuple(sorted(f"{path}: {reason}" for path, reason in unread.items()))
    return Reading(_parts(pixels[: len(kept)], kept, places), size, skipped)


def _survey(source: Path, measure: bool, on_progress: Progress | None) -> tuple[set[str], list[int]]:
    """The paths of all images and, if they are to be measured, the shorter sides of those whose header is read."""
    paths: set[str] = set()
    short_sides: list[int] = []
    for file in walk(source):
        paths.add(file.path)
        if on_progress and len(paths) % STEP == 0:
            on_progress(len(paths), 0)
        if measure and (len(paths) <= MEASURED or len(paths) % 10 == 0):
            try:
                short_side = read_short_side(BytesIO(file.read()))
            except OSError:  # reported when the file is read for its pixels
                continue
            if short_side:
                short_sides.append(short_side)
    return paths, short_sides


def _decode_into(
    pixels: NDArray[np.uint8], source: Path, rows: dict[str, int], on_progress: Progress | None
) -> dict[str, str]:
    """Decode each file into its row of `[N, 3, H, W]`; return why others could not be, by path."""
    unread = dict.fromkeys(rows, "gone before it was read")
    files = (file for file in walk(source) if file.path in rows)
    for done, (path, outcome) in enumerate(decode_files(files, pixels.shape[-1]), start=1):
        if isinstance(outcome, str):
            unread[path] = outcome
        else:  # of two files with one path in an archive the later counts, as it would on a disk
            pixels[rows[path]] = outcome.transpose(2, 0, 1)
            unread.pop(path, None)
        if on_progress and (done % STEP == 0 or done == len(rows)):
            on_progress(min(done, len(rows)), len(rows))
    return unread


def _close_gaps(pixels: NDArray[np.uint8], kept: list[int]) -> None:
    """Move the kept rows to the front, in place: a copy would double the memory for one bad file."""
    for target, row in enumerate(kept):
        if target != row:
            pixels[target] = pixels[row]


def _without_images(source: Path, places: list[Place]) -> list[str]:
    """The folders of a directory that stand beside class folders and hold no image; an archive lists files only."""
    if not source.is_dir():
        return []
    steps = [place.path.split("/") for place in places]
    depth = next(d for d in range(3) if all(step[d] == place.label for step, place in zip(steps, places, strict=True)))
    classes = {"/".join(step[: depth + 1]) for step in steps}
    beside = [folder for parent in {"/".join(step[:depth]) for step in steps} for folder in (source / parent).iterdir()]
    visible = [folder for folder in beside if folder.is_dir() and not folder.name.startswith((".", "__MACOSX"))]
    return [path for folder in visible if (path := folder.relative_to(source).as_posix()) not in classes]


def _parts(pixels: NDArray[np.uint8], kept: list[Place], places: list[Place]) -> dict[str, ImageSet]:
    """Cut the pixels, which are in the order of `kept`, into one set a part; all files count for classes and parts."""
    classes = tuple(sorted({place.label for place in places}))
    index = {label: position for position, label in enumerate(classes)}
    parts, start = {}, 0
    for part in sorted({place.part for place in places}):
        members = [place for place in kept if place.part == part]
        parts[part] = ImageSet(
            images=torch.from_numpy(pixels[start : start + len(members)]),
            labels=torch.tensor([index[place.label] for place in members], dtype=torch.int64),
            classes=classes,
            paths=tuple(place.path for place in members),
        )
        start += len(members)
    return parts
