"""What a run folder knows around a model: the training images, for the nearest ones, and the t-SNE map of test images.

A folder may lack any of it, being an older run or a bare Bundle; `missing` then says in sentences what is left out and
why. All is read once, at the start. Knows nothing of requests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.errors import ModelError
from tercet.evaluation.explorer import map_data
from tercet.evaluation.saved import read_arrays, read_record, read_rows
from tercet.files import at_home
from tercet.geometry.neighbors import nearest
from tercet.model.bundle import Bundle

MAP_NEIGHBORS = 10  # mapped images that a place is the mean of, at most: a guess
LEAST_DISTANCE = 1e-6  # squared; what rounding leaves between equal embeddings of unit length
NO_RUN = "The nearest training images and the map are left out: the model lies outside of a run folder."
NO_EMBEDDINGS = (
    "The nearest training images and the map are left out: the run has no embeddings.npz, which tercet run writes "
    "at its end and tercet train does not."
)
NO_PICTURES = (
    "The nearest training images are named but not shown: the run keeps no pictures of them, as runs of an older "
    "tercet do not. The same command with --overwrite makes them."
)
NO_MAP = "The map is left out: the run has no tsne.npz, for which it takes four test images."


@dataclass(frozen=True, eq=False)
class Gallery:
    """The training images: embeddings, class names, paths where known, and a sheet of pictures where kept."""

    embeddings: Float[Tensor, "N D"]
    labels: tuple[str, ...]
    paths: tuple[str, ...]  # empty text where not known
    tiles: tuple[int | None, ...]  # the place of each on the sheet
    pictured: Int64[Tensor, " M"]  # those that have a tile; all where there is no sheet
    sheet: bytes  # WebP, or empty

    @cached_property
    def _pictured_embeddings(self) -> Float[Tensor, "M D"]:
        everything = len(self.pictured) == len(self.labels)
        return self.embeddings if everything else self.embeddings[self.pictured]

    def nearest(self, embedding: Float[Tensor, "1 D"], k: int, *, pictured: bool = False) -> list[dict[str, Any]]:
        """The k nearest, nearest first; only those that have a picture if `pictured` and there are any."""
        distances, places = nearest(embedding, self._pictured_embeddings if pictured else self.embeddings, k)
        indices = self.pictured[places] if pictured else places
        return [
            {
                "index": index,
                "name": self.paths[index] or f"image {index}",
                "label": self.labels[index],
                "squared_distance": distance,
                "tile": self.tiles[index],
            }
            for index, distance in zip(indices[0].tolist(), distances[0].tolist(), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Map:
    """The t-SNE of test images: their embeddings, and what drawing the map takes."""

    embeddings: Float[Tensor, "M D"]
    data: dict[str, Any]

    def place(self, embedding: Float[Tensor, "1 D"]) -> dict[str, Any]:
        """Where a new image belongs: the mean of its nearest mapped images, each by 1 / squared distance.

        t-SNE gives no place to an image that was not there. A mapped image itself is put on its own point. Of M mapped
        images the root of M, rounded down, count, and ten at most: of a few the tenth is often one of another class.
        """
        count = min(MAP_NEIGHBORS, math.isqrt(len(self.embeddings)))
        distances, indices = nearest(embedding, self.embeddings, count)
        weights = 1 / distances[0].clamp_min(LEAST_DISTANCE)
        weights /= weights.sum()
        x, y = (torch.tensor([self.data[axis][index] for index in indices[0].tolist()]) for axis in ("x", "y"))
        names = Counter(self.data["classes"][self.data["labels"][index]] for index in indices[0].tolist())
        return {
            "x": round(float(weights @ x.float()), 1),
            "y": round(float(weights @ y.float()), 1),
            "neighbors": indices[0].tolist(),
            "classes": names.most_common(),
        }


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known around a model; None is what is not."""

    name: str  # of the data, or of the folder
    gallery: Gallery | None
    map: Map | None
    missing: tuple[str, ...]  # a sentence each


def read_surroundings(model: str | Path, bundle: Bundle) -> Surroundings:
    """Read what lies around a Bundle, given as a run folder or the model/ folder inside one.

    ModelError where a file is damaged or belongs to another model.
    """
    model = at_home(model)
    run = _run_around(model)
    if run is None:
        return Surroundings(model.resolve().name, None, None, (NO_RUN,))
    name = str((read_record(run / "run.json") or {}).get("data", {}).get("name") or run.resolve().name)
    saved = read_arrays(run / "embeddings.npz", "train", "train_labels", "test", "test_labels", "classes")
    if saved is None:
        return Surroundings(name, None, None, (NO_EMBEDDINGS,))
    try:
        if tuple(saved["classes"].tolist()) != bundle.classes:
            raise ValueError("its classes are not the model's")
        if saved["train"].shape[1:] != (bundle.settings["dimensions"],):
            raise ValueError("its embeddings are not as long as the model's")
        gallery, drawn = _gallery(run, saved, bundle.classes), _map(run, saved, bundle.classes)
    except (LookupError, ValueError, TypeError) as error:
        raise ModelError(f"the run in {run} is damaged ({error}); run it again with --overwrite.") from error
    return Surroundings(name, gallery, drawn, (*[NO_PICTURES] * (not gallery.sheet), *[NO_MAP] * (drawn is None)))


def _run_around(model: Path) -> Path | None:
    if (model / "model" / "config.json").is_file():
        return model
    around = model.resolve().parent
    return around if model.resolve().name == "model" and (around / "run.json").is_file() else None


def _gallery(run: Path, saved: dict[str, np.ndarray], classes: Sequence[str]) -> Gallery:
    labels = tuple(classes[label] for label in saved["train_labels"].tolist())
    rows = read_rows(run / "train_images.csv")
    sheet = run / "train_thumbnails.webp"
    picture = sheet.read_bytes() if rows and sheet.is_file() else b""
    if rows and len(rows) != len(labels):
        raise ValueError(f"train_images.csv has {len(rows)} rows for {len(labels)} embeddings")
    tiles = tuple(int(row["tile"]) if row["tile"] and picture else None for row in rows) or (None,) * len(labels)
    pictured = [index for index, tile in enumerate(tiles) if tile is not None] if picture else range(len(labels))
    paths = tuple(_readable(row["path"]) for row in rows) or ("",) * len(labels)
    return Gallery(torch.from_numpy(saved["train"]), labels, paths, tiles, torch.tensor(list(pictured)), picture)


def _map(run: Path, saved: dict[str, np.ndarray], classes: Sequence[str]) -> Map | None:
    projection = read_arrays(run / "tsne.npz", "points", "indices")
    if projection is None:
        return None
    points = projection["points"]
    indices = projection.get("indices", np.arange(len(points)))
    data = map_data(points, saved["test_labels"][indices], classes)
    return Map(torch.from_numpy(saved["test"][indices]), data)


def _readable(path: str) -> str:
    """A file name may hold bytes that are no text."""
    return path.encode(errors="replace").decode()
