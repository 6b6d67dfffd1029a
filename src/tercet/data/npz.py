"""Labelled images as NumPy arrays in an `.npz`: `images` and `labels`, or both for `train_` and `test_`.

Images are uint8 `[N, H, W, 3]` or `[N, H, W]`; labels are names, or numbers which `classes`, if there, gives names to.
Nothing is unpickled, so an array of Python objects is refused; so is one that its header makes too large for memory.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tercet.data.archive import check_growth
from tercet.data.imageset import ImageSet
from tercet.errors import DataError
from tercet.memory import require_memory

NAMES = ("images", "labels", "classes")
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}  # by version; others hold records
SHOWN_NAMES, LONGEST_NAME = 10, 50  # of what a file holds, where that is not what is wanted
PREFIXES = {"train": ("train_", ""), "test": ("test_",), "validation": ("validation_", "val_")}


class Header(NamedTuple):
    """Of an array in a file: its shape, and its size in bytes."""

    shape: tuple[int, ...]
    size: int


def read_npz(file: Path) -> dict[str, ImageSet]:
    """Read one set a part, over the same classes; images and labels without a prefix are all in `train`."""
    arrays = _load(file)
    there = [(part, prefix) for part, names in PREFIXES.items() for prefix in names if f"{prefix}images" in arrays]
    parts = dict(there)
    is_clear = "train" in parts and len(parts) == len(there)  # each part once
    if not is_clear or any(f"{prefix}labels" not in arrays for prefix in parts.values()):
        raise DataError(
            f"found the arrays {_names(file)} in {str(file)!r}; expected images and labels, "
            "or train_images, train_labels, test_images and test_labels."
        )
    labels = {part: arrays[f"{prefix}labels"] for part, prefix in parts.items()}
    if wrong := sorted({str(array.dtype) for array in labels.values() if array.dtype.kind not in "iuU"}):
        raise DataError(f"found labels of type {wrong[0]} in {str(file)!r}; expected integers or text.")
    if "classes" in arrays:
        given = arrays["classes"]
        if given.ndim != 1 or given.dtype.kind not in "iuU":
            raise DataError(
                f"found classes of type {given.dtype} and shape {list(given.shape)} in {str(file)!r}; expected a list "
                "of names."
            )
        classes = given.tolist()
    else:  # numbered over all parts, as one part may lack a class
        # Of int64 and uint64 together NumPy would make fractions.
        labels = {part: array.astype(np.int64) if array.dtype.kind == "u" else array for part, array in labels.items()}
        distinct = np.unique(np.concatenate([array.ravel() for array in labels.values()]))
        labels = {part: np.searchsorted(distinct, array) for part, array in labels.items()}
        classes = distinct.tolist()
    return {
        part: ImageSet.from_arrays(arrays[f"{prefix}images"], labels[part], classes) for part, prefix in parts.items()
    }


def _names(file: Path) -> list[str]:
    """What the file holds, what is like the expected first; some of it where there is much."""
    with zipfile.ZipFile(file) as archive:
        names = [member.removesuffix(".npy")[:LONGEST_NAME] for member in archive.namelist()]
    return sorted(names, key=lambda name: (not name.endswith(NAMES), name))[:SHOWN_NAMES]


def _load(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(file) as archive:
            check_growth(file, sum(member.file_size for member in archive.infolist()))
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            members = {name: member for name, member in members.items() if name.endswith(NAMES)}
            _require_room({name: _header(archive, member) for name, member in members.items()})
            return {name: _read(archive, member) for name, member in members.items()}
    except DataError:
        raise
    except Exception as error:  # what is damaged, or claims what it does not hold, fails in many ways
        raise DataError(f"{str(file)!r} is no readable .npz of plain arrays ({error}); save it again.") from error


def _header(archive: zipfile.ZipFile, member: str) -> Header:
    """What an array says of itself before its values come; ValueError where it is no plain array."""
    with archive.open(member) as stream:
        if (version := npy.read_magic(stream)) not in HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, _, kind = HEADERS[version](stream)
    return Header(shape, math.prod(shape) * kind.itemsize)


def _require_room(headers: dict[str, Header]) -> None:
    """DataError where arrays and what is made of them are too much: of images a copy, of gray ones in colour."""
    needed = sum(
        header.size * (7 if len(header.shape) == 3 else 2) if name.endswith("images") else header.size * 4
        for name, header in headers.items()
    )
    shapes = ", ".join(f"{name} {list(header.shape)}" for name, header in headers.items())
    require_memory(needed, f"the arrays {shapes}", lambda _: "give fewer or smaller images")


def _read(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return array
