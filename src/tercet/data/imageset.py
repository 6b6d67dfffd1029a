"""ImageSet: labelled images in memory, the form in which every other layer meets a data set.

Knows nothing of files, networks or losses. Inside tercet images are uint8 `[N, 3, H, W]` and labels are class
indices; people bring `[N, H, W, 3]` or `[N, H, W]` arrays and class names, and `ImageSet.from_arrays` converts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from tercet.errors import DataError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, the class index of each, the classes' names and, where images came from files, their paths."""

    images: UInt8[Tensor, "N 3 H W"]
    labels: Int64[Tensor, " N"]
    classes: tuple[str, ...]
    paths: tuple[str, ...] = ()  # as long as images, or empty

    def __post_init__(self) -> None:
        """Refuse what the other layers must not have to think about."""
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise DataError(
                f"found images of type {self.images.dtype} and shape {list(self.images.shape)}; "
                "expected uint8 of shape [N, 3, H, W]."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"found labels of type {self.labels.dtype} and shape {list(self.labels.shape)} for "
                f"{len(self.images)} images; expected one int64 index an image."
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(
                f"found labels from {int(self.labels.min())} to {int(self.labels.max())} for "
                f"{len(self.classes)} classes; expected indices from 0 to {len(self.classes) - 1}."
            )
        if len(set(self.classes)) != len(self.classes):
            raise DataError(f"found the classes {list(self.classes)}; expected each name once.")
        if self.paths and len(self.paths) != len(self.images):
            raise DataError(f"found {len(self.paths)} paths for {len(self.images)} images; expected as many or none.")

    @classmethod
    def from_arrays(cls, images: Any, labels: Any, classes: Iterable[Any] | None = None) -> ImageSet:
        """Build a set from arrays.

        `images` is uint8 `[N, H, W, 3]` or `[N, H, W]`; `labels` holds class names, or indices into `classes`.
        Without `classes` the sorted distinct labels are the classes, written as text.
        """
        images, labels = np.asarray(images), np.asarray(labels)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise DataError(
                f"found images of type {images.dtype} and shape {list(images.shape)}; "
                "expected uint8 of shape [N, H, W, 3] or [N, H, W]."
            )
        if labels.shape != images.shape[:1]:
            raise DataError(
                f"found labels of shape {list(labels.shape)} for {len(images)} images; expected one label an image."
            )
        if labels.dtype.kind not in "iuUTO":
            raise DataError(f"found labels of type {labels.dtype}; expected class names or integer indices.")
        if classes is None:
            distinct, labels = np.unique(labels, return_inverse=True)
            classes = [str(name) for name in distinct]
        classes = tuple(str(name) for name in classes)  # a NumPy string would print, and so hash, otherwise
        if labels.dtype.kind not in "iu":
            position = {name: index for index, name in enumerate(classes)}
            if unknown := sorted({str(name) for name in labels} - position.keys()):
                raise DataError(f"found the label {unknown[0]!r}, which is not among the classes {list(classes)}.")
            labels = np.array([position[str(name)] for name in labels], dtype=np.int64)
        channels_first = np.repeat(images[:, None], 3, axis=1) if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        return cls(
            images=torch.from_numpy(np.array(channels_first, order="C")),  # a copy: the set shares no memory
            labels=torch.from_numpy(labels.astype(np.int64)),
            classes=classes,
        )

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Int64[Tensor, " M"]) -> ImageSet:
        """The images at `indices`, in that order, with the same classes."""
        paths = tuple(self.paths[index] for index in indices.tolist()) if self.paths else ()
        return ImageSet(self.images[indices], self.labels[indices], self.classes, paths)

    def split(self, seed: int, share: float = 0.1) -> tuple[ImageSet, ImageSet]:
        """Split off `share` of each class, at least one image and never all: (the rest, the part split off)."""
        generator = torch.Generator().manual_seed(seed)
        rest, part = [], []
        for label in range(len(self.classes)):
            members = torch.nonzero(self.labels == label).flatten()
            members = members[torch.randperm(len(members), generator=generator)]
            count = min(max(1, round(share * len(members))), len(members) - 1) if len(members) else 0
            part.append(members[:count])
            rest.append(members[count:])
        return self.select(torch.cat(rest).sort().values), self.select(torch.cat(part).sort().values)

    def class_counts(self) -> list[int]:
        """Number of images of each class."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    def channel_statistics(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Mean and standard deviation of each channel over all pixels, on the 0..255 scale; the latter at least 1."""
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.zeros(3, 256, dtype=torch.float64)
        for images in self.images.split(1_000):  # a channel is copied to be counted
            for channel in range(3):
                counts[channel] += torch.bincount(images[:, channel].flatten(), minlength=256)
        total = counts.sum(1)
        mean = counts @ levels / total
        std = (counts @ levels**2 / total - mean**2).clamp_min(0).sqrt()
        return mean.float(), std.clamp_min(1.0).float()

    def fingerprint(self) -> str:
        """SHA-256 over images, labels and class names; neither paths nor the memory layout matter."""
        digest = hashlib.sha256()
        digest.update(repr((tuple(self.images.shape), self.classes)).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()
