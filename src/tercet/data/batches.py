"""Batches of P classes x K images, in which every image comes at least once an epoch.

Each class is shuffled and cut into runs of K; the last run of a class is filled up with images of it. Each batch
takes one run from the P classes with the most runs left. Where fewer than P classes have runs left, other classes give
images a second time, so a batch always holds P classes and a rare class is seen more often.
Knows labels only, no images. Reference: Hermans et al., In defense of the triplet loss, 2017, section 2 (PK batches).
"""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

FEWEST_IMAGES_PER_CLASS = 4  # K below which an anchor has too few positives to learn from: a guess


def batch_shape(class_counts: list[int], batch_size: int) -> tuple[int, int]:
    """P and K for batches of about `batch_size` images: all classes if they fit with K >= 4, else as many as do.

    K never exceeds the largest class.

    >>> batch_shape([500] * 10, 512), batch_shape([20] * 1000, 512), batch_shape([30, 40], 512)
    ((10, 51), (128, 4), (2, 40))
    """
    classes = min(len(class_counts), max(2, batch_size // FEWEST_IMAGES_PER_CLASS))
    return classes, max(2, min(batch_size // classes, max(class_counts)))


def places_in_classes(labels: Int64[Tensor, " N"]) -> Int64[Tensor, " N"]:
    """How many of its class come before each.

    >>> places_in_classes(torch.tensor([7, 2, 7, 7, 2]))
    tensor([0, 0, 1, 2, 1])
    """
    grouped = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    places = torch.empty_like(labels)
    places[grouped] = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return places


def epoch_batches(
    labels: Int64[Tensor, " N"], classes_per_batch: int, images_per_class: int, generator: torch.Generator
) -> Int64[Tensor, "S B"]:
    """The image indices of each of the S batches of one epoch; a batch holds B = P K of them, class after class."""
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    runs = [list(_runs(indices, images_per_class, generator)) for indices in members]
    batches = []
    while any(runs):
        order = torch.randperm(len(runs), generator=generator).tolist()  # settles ties between classes
        order.sort(key=lambda position: -len(runs[position]))
        batch = []
        for position in order[:classes_per_batch]:
            if not runs[position]:
                runs[position] = list(_runs(members[position], images_per_class, generator))[:1]
            batch.append(runs[position].pop())
        batches.append(torch.cat(batch))
    shuffled = torch.randperm(len(batches), generator=generator)
    return torch.stack(batches)[shuffled]


def _runs(indices: Int64[Tensor, " n"], length: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    shuffled = indices[torch.randperm(len(indices), generator=generator)]
    missing = -len(shuffled) % length
    extra = shuffled[torch.randint(len(shuffled), (missing,), generator=generator)]
    runs: tuple[Tensor, ...] = torch.cat([shuffled, extra]).split(length)
    return runs
