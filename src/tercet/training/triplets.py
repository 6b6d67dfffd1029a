"""Which triplets of a batch the loss sees. Every image of a batch serves as anchor, positive and negative.

A miner takes distances and labels and returns three index tensors: anchors, positives and negatives, row by row.
Distances are squared Euclidean and are used for choosing only; no gradient flows through a choice. The sum over *all*
triplets needs no list of them: `all_triplets_hinge` has it in O(B^2 log K) time and O(B^2) memory.
Knows nothing of networks or images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


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
    """For each (anchor, positive) the nearest negative that is farther than the positive.

    A pair whose positive is farther than every negative has no semi-hard negative and gives no triplet; libraries
    that substitute the farthest negative there differ on those pairs. Equality counts as not farther.

    Reference: Schroff et al., FaceNet, CVPR 2015, section 3.2, equation 4.
    """
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    ordered, order = distances.masked_fill(same, torch.inf).sort(dim=1)  # negatives nearest first, then inf
    place = torch.searchsorted(ordered, distances.contiguous(), right=True)  # first negative beyond the positive
    negative_counts = (~same).sum(1, keepdim=True)
    anchors, positives = torch.nonzero(positive & (place < negative_counts), as_tuple=True)
    return Triplets(anchors, positives, order[anchors, place[anchors, positives]])


def all_triplets_hinge(
    distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"], margin: float
) -> tuple[Float[Tensor, ""], Int64[Tensor, ""]]:
    """Sum of max(d(a,p) - d(a,n) + margin, 0) over every triplet of the batch, and how many of them are above 0."""
    total, active = _AllTripletsHinge.apply(distances, labels, margin)  # type: ignore[no-untyped-call]
    return total, active


def triplet_count(labels: Int64[Tensor, " B"]) -> int:
    """Number of (anchor, positive, negative) triplets in the batch.

    >>> triplet_count(torch.tensor([0, 0, 1]))
    2
    """
    counts = torch.bincount(labels)
    return int((counts * (counts - 1) * (len(labels) - counts)).sum())


class _AllTripletsHinge(torch.autograd.Function):
    """The sum of hinges with its gradient by hand.

    Fix an anchor. Let t be the sorted thresholds d(a,p) + margin of its positives and n a negative at distance d. The
    triplets of n that are active are the thresholds above d; with suffix sums S of t and m of them above d, they add
    S - m d. So m is minus the derivative by d(a,n), and the derivative by d(a,p) is the number of negatives below p's
    threshold, counted by the histogram of the places at which negatives fall among the thresholds. Only the positives
    are sorted. Rows are taken class by class, so that positives and negatives are plain sub-matrices.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        slopes = torch.zeros_like(distances)  # [B, B]: derivative of the sum by each distance
        total, active = distances.new_zeros(()), torch.zeros((), dtype=torch.int64, device=distances.device)
        for label in labels.unique():
            members = torch.nonzero(labels == label).flatten()
            others = torch.nonzero(labels != label).flatten()
            if len(members) < 2 or len(others) == 0:
                continue
            rows = distances[members]
            thresholds, order = (rows[:, members] + margin).fill_diagonal_(-torch.inf).sort(dim=1)
            negatives = rows[:, others].contiguous()
            place = torch.searchsorted(thresholds, negatives, right=True)  # thresholds <= d are inactive
            above = len(members) - place  # [n, B-n] active triplets of each negative
            # The anchor itself stands first, at -inf, so no place is 0 and its infinite suffix sum is never read.
            suffix = torch.nn.functional.pad(thresholds.flip(1).cumsum(1).flip(1), (0, 1)).gather(1, place)
            total += (suffix - above * negatives).sum()
            active += above.sum()
            below = torch.zeros(len(members), len(members) + 1, dtype=distances.dtype, device=distances.device)
            below.scatter_add_(1, place, torch.ones_like(negatives))
            # A negative that falls at place q is below the thresholds q, q + 1, ... and never below the anchor itself.
            counts = below.cumsum(1)[:, :-1]
            slopes[members[:, None], members] = torch.zeros_like(counts).scatter_(1, order, counts)
            slopes[members[:, None], others] = -above.to(distances.dtype)
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(active)
        return total, active

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return gradients[0] * slopes, None, None
