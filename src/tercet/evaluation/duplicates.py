"""Test images that were seen in training: figures on them say little of new images.

An exact duplicate has the same pixels. A near one has nearly the same thumbnail: what compression, resizing or a change
of brightness leaves. Shifted, cropped or mirrored copies are not found, so the count is a lower bound. On CIFAR-10,
JPEG copy, it is 23 of 10,000, all 23 of them the same picture to the eye, where Barz and Denzler, Do we train on test
data?, 2020, count 3.3 % by learned features and by hand (docs/log.md, 2026-11-24). Knows images only, no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from tercet.geometry.neighbors import nearest

# Squared distance of two thumbnails of unit length. Measured on CIFAR-10, JPEG copy (docs/log.md, 2026-11-24): all of
# 1,000 images are nearer to themselves when compressed at quality 75, shrunk to 24 pixels, or made 5 % brighter.
NEAR = 0.02
LEAST_CONTRAST = 3.0  # levels; a thumbnail plainer than this looks like any other plain one: a guess
CANDIDATES = 5  # found by coarse thumbnails, of which the fine ones decide: as many pairs as without, docs/log.md


def count_duplicates(test: UInt8[Tensor, "M 3 H H"], others: list[UInt8[Tensor, "_ 3 H H"]]) -> dict[str, int]:
    """How many test images are among the others: "exact", and "near" without the exact ones."""
    seen = {digest for images in others for digest in _digests(images)}
    exact = torch.tensor([digest in seen for digest in _digests(test)], dtype=torch.bool)
    near = _near(test, others) & ~exact
    return {"exact": int(exact.sum()), "near": int(near.sum())}


def _digests(images: UInt8[Tensor, "N 3 H H"]) -> Iterator[bytes]:
    return (hashlib.blake2b(image.contiguous().numpy().data, digest_size=16).digest() for image in images)


def _near(test: UInt8[Tensor, "M 3 H H"], others: list[UInt8[Tensor, "_ 3 H H"]]) -> Bool[Tensor, " M"]:
    """Whether each test image has a near duplicate. Memory: 1 KB an image, and what `nearest` takes."""
    queries, gallery = _thumbnails([test]), _thumbnails(others)
    if not len(queries) or not len(gallery):
        return torch.zeros(len(queries), dtype=torch.bool)
    _, candidates = nearest(_unit(_coarse(queries)), _unit(_coarse(gallery)), CANDIDATES)  # a quarter of the numbers
    contrast = queries.flatten(1).square().mean(1).sqrt()
    queries, gallery = _unit(queries), _unit(gallery)
    distances = torch.stack([(queries - gallery[column]).square().sum(1) for column in candidates.T])  # [k, M]
    return (distances.amin(0) < NEAR) & (contrast >= LEAST_CONTRAST)


def _thumbnails(parts: Iterable[UInt8[Tensor, "_ 3 H H"]]) -> Float[Tensor, "N 3 8 8"]:
    """Images averaged to 8 x 8, the mean of each channel taken out."""
    small = [nn.functional.adaptive_avg_pool2d(images.float(), 8) for part in parts for images in part.split(100)]
    thumbnails = torch.cat(small)
    return thumbnails - thumbnails.mean((2, 3), keepdim=True)


def _coarse(thumbnails: Float[Tensor, "N 3 8 8"]) -> Float[Tensor, "N 3 4 4"]:
    return nn.functional.avg_pool2d(thumbnails, 2)


def _unit(thumbnails: Float[Tensor, "N 3 S S"]) -> Float[Tensor, "N D"]:
    return nn.functional.normalize(thumbnails.flatten(1), dim=1)
