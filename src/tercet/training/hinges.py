"""Sums of hinges max(d(a,p) - d(a,n) + margin, 0) over triplets of a batch, with their gradients by hand.

Almost everywhere such a sum is linear in the distances: each distance enters it as often as it is the positive one of
an active triplet, less the times that it is the negative one. These slopes are all that a gradient needs, so nothing
here is recorded by autograd but the last step, from embeddings to the sum. Knows nothing of networks or of mining.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.training.ranking import row_blocks, row_ranks, sorted_rows
from tercet.training.triplets import Triplets


class Hinges(NamedTuple):
    """The sum, how many of its terms are above 0, and its derivative by each distance (whole numbers)."""

    total: Float[Tensor, ""]
    active: Int64[Tensor, ""]
    slopes: Float[Tensor, "B B"]


@torch.no_grad()
def all_triplets_hinge(distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"], margin: float) -> Hinges:
    """Every triplet of the batch, exactly, in O(B^2 log K) time and O(B^2) memory for K images of a class.

    Fix an anchor. A positive is active with the negatives whose distance is below its threshold d(a,p) + margin, a
    negative with the positives whose threshold is above its distance. The rank of each negative among the thresholds
    gives both numbers, these are the slopes, and the slopes give the sum. Where many thresholds of a row are equal, as
    of an encoder that has collapsed, it takes longer.
    """
    columns, positive_counts = _positives(labels)
    thresholds = distances.gather(1, columns).add_(margin)
    thresholds.masked_fill_(columns == torch.arange(len(labels), device=labels.device)[:, None], torch.inf)
    thresholds, order = sorted_rows(thresholds)
    columns = columns.gather(1, order)
    slopes = torch.empty_like(distances)
    exact = torch.float32 if distances.device.type == "mps" else torch.float64  # which that device lacks
    linear = torch.empty(len(labels), dtype=exact, device=distances.device)
    active = torch.empty_like(labels)
    for rows in row_blocks(distances):
        ranks = row_ranks(distances[rows], thresholds[rows])
        slopes[rows].copy_(ranks).sub_(positive_counts[rows])  # right for negatives
        ranks.scatter_(1, columns[rows], thresholds.shape[1])  # out of the counts: the positives and the anchor
        at_rank = slopes.new_zeros(len(ranks), thresholds.shape[1] + 1)
        below = at_rank.scatter_add_(1, ranks, slopes.new_ones(1, 1).expand_as(ranks)).cumsum(1)[:, :-1]
        below.masked_fill_(thresholds[rows].isinf(), 0)
        slopes[rows].scatter_(1, columns[rows], below)  # negatives below each threshold
        linear[rows] = torch.linalg.vecdot(slopes[rows], distances[rows])
        active[rows] = below.sum(1, dtype=torch.int64)
    total = linear.sum() + margin * active.sum().to(exact)
    return Hinges(total.to(distances.dtype), active.sum(), slopes)


def _positives(labels: Int64[Tensor, " B"]) -> tuple[Int64[Tensor, "B K"], Int64[Tensor, "B 1"]]:
    """The columns of each anchor's positives, filled up with its own, for K images of the commonest class; how many."""
    _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    members = classes.argsort(stable=True)
    places = torch.arange(max([1, *counts.tolist()]), device=labels.device)
    starts, sizes = (counts.cumsum(0) - counts)[classes, None], counts[classes, None]
    columns = members[(starts + places).clamp_max(len(labels) - 1)]
    own = torch.arange(len(labels), device=labels.device)[:, None]
    return torch.where(places < sizes, columns, own), sizes - 1


@torch.no_grad()
def listed_triplets_hinge(distances: Float[Tensor, "B B"], triplets: Triplets, margin: float) -> Hinges:
    """The triplets of a list."""
    flat, size = distances.flatten(), len(distances)
    positives = triplets.anchors * size + triplets.positives
    negatives = triplets.anchors * size + triplets.negatives
    hinges = (flat.index_select(0, positives) - flat.index_select(0, negatives) + margin).clamp_min(0)  # [T]
    active = (hinges > 0).to(flat.dtype)
    slopes = torch.zeros_like(flat).scatter_add_(0, positives, active).scatter_add_(0, negatives, -active)
    return Hinges(hinges.sum(), active.sum(dtype=torch.int64), slopes.view_as(distances))


def differentiable(hinges: Hinges, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """The sum as a function of the embeddings whose squared distances it was taken over."""
    total: Tensor = _HingeSum.apply(embeddings, hinges.total, hinges.slopes)  # type: ignore[no-untyped-call]
    return total


class _HingeSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, total: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings, slopes)
        return total.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The derivative of s |x - y|^2 by x is 2 s (x - y), summed over both distances of a pair of images."""
        embeddings, slopes = ctx.saved_tensors
        # A contiguous copy first: adding a transposed view would fetch a line of the cache for every number.
        both = slopes.T.contiguous().add_(slopes)  # [B, B]
        pulls = torch.addmm(both.sum(1, keepdim=True) * embeddings, both, embeddings, alpha=-1)
        return pulls.mul_(2 * gradient), None, None
