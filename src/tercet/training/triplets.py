"""Which triplets of a batch the loss sees. Every image of a batch serves as anchor, positive and negative.

A miner takes distances and labels and returns three index tensors: anchors, positives and negatives, row by row.
Distances are squared Euclidean and are used for choosing only; no gradient flows through a choice. The sum over *all*
triplets needs no list of them: `hinges.all_triplets_hinge`. Knows nothing of networks or images.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.training.ranking import by_rows, row_order


class Triplets(NamedTuple):
    """T triplets as indices into the batch."""

    anchors: Int64[Tensor, " T"]
    positives: Int64[Tensor, " T"]
    negatives: Int64[Tensor, " T"]


def random_triplets(labels: Int64[Tensor, " B"], generator: torch.Generator | None = None) -> Triplets:
    """One random positive and one random negative for each anchor that has both.

    The original project's sampling, with each image of the batch as an anchor once.
    """
    same = labels[:, None] == labels[None, :]  # [B, B]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchors = torch.nonzero(positive.any(1) & ~same.all(1)).flatten()
    draws = torch.rand(2, len(labels), len(labels), generator=generator).to(labels.device)[:, anchors]
    positives = draws[0].masked_fill(~positive[anchors], -1).argmax(1)
    negatives = draws[1].masked_fill(same[anchors], -1).argmax(1)
    return Triplets(anchors, positives, negatives)


def hard_triplets(distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"]) -> Triplets:
    """The farthest positive and the nearest negative of each anchor that has both.

    Reference: Hermans et al., In defense of the triplet loss for person re-identification, 2017, equation 5.
    """
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchors = torch.nonzero(positive.any(1) & ~same.all(1)).flatten()
    positives = distances.masked_fill(~positive, -torch.inf).argmax(1)[anchors]
    negatives = distances.masked_fill(same, torch.inf).argmin(1)[anchors]
    return Triplets(anchors, positives, negatives)


def semi_hard_triplets(distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"]) -> Triplets:
    """For each (anchor, positive) the nearest negative that is farther than the positive; distances are >= 0.

    A pair whose positive is farther than every negative has no semi-hard negative and gives no triplet; libraries
    that substitute the farthest negative there differ on those pairs. Equality counts as not farther.

    Reference: Schroff et al., FaceNet, CVPR 2015, section 3.2, equation 4.
    """

    def of_rows(rows: slice) -> Triplets:
        same = labels[rows, None] == labels
        order = row_order(distances[rows], last=same)  # so the next negative behind a positive is farther
        places = torch.nonzero(same.gather(1, order).flatten()).flatten()  # of positives, with the anchor among them
        # Positives with no negative between them form a run, and share the negative behind it: their places grow in
        # step with their numbers.
        _, runs, lengths = (places - torch.arange(len(places), device=places.device)).unique_consecutive(
            return_inverse=True, return_counts=True
        )
        behind = places[lengths.cumsum(0)[runs] - 1] + 1
        order, anchors = order.flatten(), places // len(labels)
        positives = order[places]
        found = (behind // len(labels) == anchors) & (positives != rows.start + anchors)
        return Triplets(rows.start + anchors[found], positives[found], order[behind[found]])

    return Triplets(*(torch.cat(indices) for indices in zip(*by_rows(of_rows, distances), strict=True)))


def triplet_count(labels: Int64[Tensor, " B"]) -> int:
    """Number of (anchor, positive, negative) triplets in the batch.

    >>> triplet_count(torch.tensor([0, 0, 1]))
    2
    """
    _, counts = labels.unique(return_counts=True)
    return int((counts * (counts - 1) * (len(labels) - counts)).sum())
