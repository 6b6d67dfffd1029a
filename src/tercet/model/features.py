"""Features: what a frozen network gives for each image, computed once and kept in the cache folder.

Each image has one or two views, so that what is trained on the features sees some augmentation: the image as it is
judged, and its mirror image where that still shows the class. They depend on no seed, so that every run on the same
images finds them again. A cache may be lost or damaged at any time: what is missing is computed.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float16, Int64, UInt8
from safetensors.torch import load, save
from torch import Tensor

from tercet.data.cache import cache_folder
from tercet.data.imageset import ImageSet
from tercet.errors import UsageError
from tercet.files import read_sealed, write_sealed
from tercet.model.embed import embed
from tercet.model.encoder import Encoder
from tercet.model.pretrained import digest

FORMAT_VERSION = 2  # raise it when the same images would give other features
CHUNK = 256  # images a cache file: some seconds of work, which is what an interruption costs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What an ImageSet is to a network that learns from images, for one that learns from features."""

    views: Float16[Tensor, "N V F"]  # of each image first as it is judged; half precision rounds by 0.05 % at most
    labels: Int64[Tensor, " N"]
    classes: tuple[str, ...]

    @property
    def judged(self) -> Float[Tensor, "N F"]:
        """The features of each image as it is judged."""
        return self.views[:, 0].float()

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Int64[Tensor, " M"]) -> FeatureSet:
        """The images at `indices`, in that order, with the same classes."""
        return FeatureSet(self.views[indices], self.labels[indices], self.classes)

    def class_counts(self) -> list[int]:
        """Number of images of each class."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()


Part = ImageSet | FeatureSet  # one part of a data set, as the network that learns from it takes it


def judged(part: Part) -> Tensor:
    """What a network takes for each image of a part when it is judged: the images or their features."""
    return part.judged if isinstance(part, FeatureSet) else part.images


def compute_features(
    frozen: Encoder,
    parts: Sequence[ImageSet],
    *,
    both_sides: bool,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> tuple[list[FeatureSet], float]:
    """The features of several parts of a data set, each image with a mirrored view if `both_sides`, and their seconds.

    The seconds are those of computing them, whenever that was: features from the cache bring theirs along.

    The images of all parts are taken together, ordered by their content, so that another division into parts, as
    another seed makes it, finds the same chunks in the cache. `on_step` is called with images done and images in all.
    """
    places = [(part, index) for part, images in enumerate(parts) for index in range(len(images))]
    digests = [hashlib.sha256(image.numpy().tobytes()).digest() for images in parts for image in images.images]
    order = sorted(range(len(places)), key=digests.__getitem__)
    network = f"{FORMAT_VERSION} {torch.__version__} {both_sides} {frozen.size} {digest(frozen)}".encode()
    network += _answer(frozen)
    views, seconds = torch.empty(0), 0.0
    on_step(0, len(order))
    for start in range(0, len(order), CHUNK):
        chosen = order[start : start + CHUNK]
        key = hashlib.sha256(network + b"".join(digests[place] for place in chosen)).hexdigest()
        file = cache_folder() / f"features-{key}.sealed"
        kept = _load(file)
        if kept is None:
            started = time.perf_counter()
            images = torch.stack([parts[part].images[index] for part, index in map(places.__getitem__, chosen)])
            kept = _see(frozen, images, both_sides), time.perf_counter() - started
            _save(file, *kept)
        found = kept[0]
        seconds += kept[1]
        if start == 0:
            views = found.new_empty(len(order), *found.shape[1:])
        views[chosen] = found
        on_step(start + len(chosen), len(order))
    pieces = views.split([len(images) for images in parts])
    return [FeatureSet(piece, part.labels, part.classes) for piece, part in zip(pieces, parts, strict=True)], seconds


def _answer(frozen: Encoder) -> bytes:
    """What the network says to a fixed image: its code may differ where its weights do not."""
    image = torch.arange(3 * frozen.size**2).remainder(251).reshape(1, 3, frozen.size, frozen.size).to(torch.uint8)
    return embed(frozen, image).half().numpy().tobytes()


def _see(frozen: Encoder, images: UInt8[Tensor, "B 3 H H"], both_sides: bool) -> Float16[Tensor, "B V F"]:
    seen = [images, images.flip(3)] if both_sides else [images]
    # In float32 whatever is asked for: in bfloat16 features err by 7 % (docs/log.md, 2026-11-24).
    features = torch.stack([embed(frozen, view) for view in seen], dim=1).half()
    if not bool(torch.isfinite(features).all()):
        raise UsageError(
            "the backbone gives features that are no numbers or beyond 65,504; "
            "give one with finite features, such as one that ends in a normalisation."
        )
    return features


def _load(file: Path) -> tuple[Tensor, float] | None:
    if not file.is_file():
        return None
    try:
        kept = load(read_sealed(file))
        return kept["features"], float(kept["seconds"])
    except Exception as error:  # damage can show in many ways
        logger.info("the cache file %s is damaged (%s) and will be made anew", file, error)
        return None


def _save(file: Path, features: Tensor, seconds: float) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(file, save({"features": features, "seconds": torch.tensor(seconds, dtype=torch.float64)}))
    except OSError as error:
        logger.warning("features are not kept in the cache %s (%s); they will be computed again", file.parent, error)
