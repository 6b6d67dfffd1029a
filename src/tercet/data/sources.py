"""A data set by its name or path: `digits`, `cifar10`, class folders, an archive of them, or arrays in an `.npz`.

Everything above this layer meets data through `open_dataset`. Knows nothing of what is done with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tercet.data import cache
from tercet.data.archive import ARCHIVE_SUFFIXES, is_archive
from tercet.data.cifar10 import is_kept, is_official, load_cifar10
from tercet.data.decode import fit, stored_side
from tercet.data.folder import Progress, natural_size, read_folder
from tercet.data.imageset import ImageSet
from tercet.data.npz import read_npz
from tercet.data.room import require_room
from tercet.errors import DataError, UsageError
from tercet.files import at_home

SPLIT_SEED = 0  # fixed, so that everyone who opens a data set has the same test images
TEST_SHARE = 0.2
MIN_IMAGES = 4  # of a class: one for test, one for validation, and the pair a triplet needs

logger = logging.getLogger(__name__)


class Dataset(NamedTuple):
    """A data set in its parts, which all have the same classes."""

    name: str  # "digits", "cifar10", or the name of the folder or file
    train: ImageSet
    test: ImageSet
    validation: ImageSet | None  # the person's own; None means that it is to be split off train
    size: int  # of the network that the images are kept for; they themselves may be larger, see `stored_side`
    skipped: tuple[str, ...] = ()  # "path: reason" of each file left out, sorted


def open_dataset(source: str | Path, *, size: int | None = None, on_progress: Progress | None = None) -> Dataset:
    """Open a built-in data set by name, or a folder, archive or `.npz` by path.

    A `Path` is always a path; a folder that bears a built-in's name is written `./digits` as text. Images are kept for
    a network of `size` x `size`, beyond 32 an eighth larger. By default `size` is 32 where the shorter sides of the
    images have a median of at most 48, 64 where it is below 96, else 128. Without a test part a stratified fifth is
    split off, the same one each time. `on_progress(done, total)` is called as files are decoded; a total of 0 means
    that it is not known yet. DataError where images cannot be read, cannot be trained on or have no room in memory.
    """
    if size is not None and size < 1:
        raise UsageError(f"found the image size {size}; expected 1 pixel or more.")
    if source == "digits":
        dataset = _divide("digits", {"train": _digits(size or 32)}, size or 32)
    elif source == "cifar10":
        dataset = _open_cifar10(size, on_progress)
    else:
        dataset = _open_path(at_home(source), size, on_progress)
    if dataset.skipped:
        logger.warning("%s: %s", dataset.name, _left_out(dataset.skipped))
    return dataset


def _digits(size: int) -> ImageSet:
    """The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits  # a second to import

    images, labels = load_digits(return_X_y=True)
    levels = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    side = stored_side(size)
    require_room(len(images), size, copies=3)
    pixels = [fit(Image.fromarray(level).convert("RGB"), side, Image.Resampling.BICUBIC) for level in levels]
    return ImageSet.from_arrays(np.stack(pixels), labels)


def _open_cifar10(size: int | None, on_progress: Progress | None) -> Dataset:
    """The copy that $TERCET_CIFAR10 names, else the one fetched; class folders are taken for the JPEG copy."""
    named = at_home(os.environ["TERCET_CIFAR10"]) if os.environ.get("TERCET_CIFAR10") else None
    if named and not named.exists():
        raise DataError(
            f"found nothing at {str(named)!r}, which $TERCET_CIFAR10 names; unset it to have CIFAR-10 downloaded, or "
            "name an official archive."
        )
    if named and not is_kept(named) and not is_official(named):
        dataset = _open_path(named, size, on_progress)
        return dataset if named.suffix == ".npz" else dataset._replace(name="cifar10-jpeg")
    return _open_arrays("cifar10", load_cifar10(named, on_progress), size)


def _open_path(path: Path, size: int | None, on_progress: Progress | None) -> Dataset:
    if not path.exists():
        raise DataError(f"found nothing at {str(path)!r}; give `cifar10`, `digits`, or a folder, archive or .npz file.")
    name = path.resolve().name
    if path.name.lower().endswith(".npz") and path.is_file():
        return _open_arrays(name, read_npz(path), size)
    if not path.is_dir() and not (is_archive(path) and path.is_file()):
        raise DataError(f"found the file {str(path)!r}; expected a folder, {', '.join(ARCHIVE_SUFFIXES)} or .npz.")
    try:
        file = cache.cache_file(path, size)
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r} ({error.strerror}); make it readable.") from error
    reading = cache.load(file)
    if reading is None:
        reading = read_folder(path, size, on_progress)
        cache.save(file, reading)
    return _divide(name, reading.parts, reading.size, reading.skipped)


def _open_arrays(name: str, parts: dict[str, ImageSet], size: int | None) -> Dataset:
    size = size or natural_size(min(parts["train"].images.shape[2:]))
    return _divide(name, {part: resized(images, size) for part, images in parts.items()}, size)


def resized(images: ImageSet, size: int) -> ImageSet:
    """The centre squares of the images as they are kept for a network of `size`; without their paths."""
    side = stored_side(size)
    if images.images.shape[2:] == (side, side):
        return images
    require_room(len(images), size)
    pixels = np.empty((len(images), side, side, 3), dtype=np.uint8)
    for row, image in enumerate(images.images):
        pixels[row] = fit(Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()), side)
    return ImageSet.from_arrays(pixels, images.labels.numpy(), images.classes)


def _divide(name: str, parts: dict[str, ImageSet], size: int, skipped: tuple[str, ...] = ()) -> Dataset:
    """Refuse what cannot be trained on, and split off a test part where there is none."""
    hint = f" ({_left_out(skipped)})" if skipped else ""
    train, test = parts["train"], parts.get("test")
    if len(train.classes) < 2:
        raise DataError(f"found the classes [{class_names(train.classes)}] in {name}; expected two or more{hint}.")
    for part in parts if len(parts) > 1 else ():
        if missing := _rare(parts[part], 1):
            raise DataError(
                f"found no readable image of {class_names(missing)} in the {part} part of {name}; "
                f"expected the same classes in {' and '.join(parts)}{hint}."
            )
    if few := _rare(train, MIN_IMAGES):
        raise DataError(
            f"found fewer than {MIN_IMAGES} readable images of {class_names(few)} in {name}; "
            f"add some, or leave the class out{hint}."
        )
    if test is None:
        train, test = train.split(SPLIT_SEED, TEST_SHARE)
    return Dataset(name, train, test, parts.get("validation"), size, skipped)


def _rare(images: ImageSet, least: int) -> list[str]:
    return [label for label, count in zip(images.classes, images.class_counts(), strict=True) if count < least]


def _left_out(skipped: Sequence[str]) -> str:
    return f"files left out: {len(skipped)}, the first being {skipped[0]}"


def class_names(labels: Sequence[str]) -> str:
    """Some of the names, in quotes, and how many more there are."""
    shown = ", ".join(repr(label) for label in labels[:5])
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown
