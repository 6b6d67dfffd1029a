"""Labelled images as NumPy arrays in an `.npz`: `images` and `labels`, or both for `train_` and `test_`.

Images are uint8 `[N, H, W, 3]` or `[N, H, W]`; labels are names, or numbers which `classes`, if there, gives names to.
Nothing is unpickled, so an array of Python objects is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tercet.data.archive import check_growth
from tercet.data.imageset import ImageSet
from tercet.errors import DataError

PREFIXES = {"train": "train_", "test": "test_", "validation": "validation_"}


def read_npz(file: Path) -> dict[str, ImageSet]:
    """Read one set a part, over the same classes; images and labels without a prefix are all in `train`."""
    arrays = _load(file)
    prefixes = {"train": ""} if "images" in arrays else PREFIXES
    parts = {part: prefix for part, prefix in prefixes.items() if f"{prefix}images" in arrays}
    if "train" not in parts or any(f"{prefix}labels" not in arrays for prefix in parts.values()):
        raise DataError(
            f"found the arrays {sorted(arrays)} in {str(file)!r}; expected images and labels, "
            "or train_images, train_labels, test_images and test_labels."
        )
    labels = {part: arrays[f"{prefix}labels"] for part, prefix in parts.items()}
    if wrong := sorted({str(array.dtype) for array in labels.values() if array.dtype.kind not in "iuU"}):
        raise DataError(f"found labels of type {wrong[0]} in {str(file)!r}; expected integers or text.")
    if "classes" in arrays:
        classes = arrays["classes"].tolist()
    else:  # numbered over all parts, as one part may lack a class
        distinct = np.unique(np.concatenate([array.ravel() for array in labels.values()]))
        labels = {part: np.searchsorted(distinct, array) for part, array in labels.items()}
        classes = distinct.tolist()
    return {
        part: ImageSet.from_arrays(arrays[f"{prefix}images"], labels[part], classes) for part, prefix in parts.items()
    }


def _load(file: Path) -> dict[str, Any]:
    try:
        with np.load(file, allow_pickle=False) as kept:
            check_growth(file, sum(member.file_size for member in kept.zip.infolist()))
            arrays = {name: kept[name] for name in kept.files if name.endswith(("images", "labels", "classes"))}
        if strangers := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{strangers[0]} is no array")
        return arrays
    except DataError:
        raise
    except (
        Exception
    ) as error:  # what is damaged, or is an .npy, or claims a size that no memory has, fails in many ways
        raise DataError(f"{str(file)!r} is no readable .npz of plain arrays ({error}); save it again.") from error
