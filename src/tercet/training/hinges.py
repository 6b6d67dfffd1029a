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

from tercet.training.ranking import by_rows, row_order
from tercet.training.triplets import Triplets


class Hinges(NamedTuple):
    """The sum, how many of its terms are above 0, and its derivative by each distance (whole numbers)."""

    total: Float[Tensor, ""]
    active: Int64[Tensor, ""]
    slopes: Float[Tensor, "B B"]


@torch.no_grad()
def all_triplets_hinge(distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"], margin: float) -> Hinges:
    """Every triplet of the batch, exactly, in O(B^2 log B) time and O(B^2) memory. Distances are >= 0.

    Fix an anchor and sort the distances of its negatives together with the thresholds d(a,p) + margin of its positives,
    a threshold before an equal distance. The triplets of a positive that are active are the negatives before it, those
    of a negative are the positives behind it: running counts give all slopes, and the slopes give the sum.
    """
    slopes = torch.empty_like(distances)
    linear, active = torch.empty(2, len(labels), dtype=torch.float64, device=distances.device)  # [B] each

    def fill(rows: slice) -> None:
        own = distances[rows]
        same = labels[rows, None] == labels  # [rows, B]
        # With a margin below 0 thresholds may be so too: these come first, in any order, with no negative before them.
        thresholds = torch.add(own, same, alpha=margin)
        thresholds[:, rows.start :].fill_diagonal_(0)  # the anchor itself is a positive that no negative is before
        order = row_order(thresholds, last=~same)
        positive = same.gather(1, order)
        passed = positive.cumsum(1, dtype=torch.int32).to(own.dtype)  # positives up to each place
        places = torch.arange(1, len(labels) + 1, device=own.device)
        counts = torch.where(positive, places - passed, passed - passed[:, -1:])
        slopes[rows].scatter_(1, order, counts)
        # Into tensors made before: small results kept between the blocks would split the memory that these free.
        linear[rows] = (slopes[rows] * own).sum(1, dtype=torch.float64)
        active[rows] = counts.clamp_min(0).sum(1, dtype=torch.float64)

    by_rows(fill, distances)
    total = linear.sum() + margin * active.sum()
    return Hinges(total.to(distances.dtype), active.sum().long(), slopes)


@torch.no_grad()
def listed_triplets_hinge(distances: Float[Tensor, "B B"], triplets: Triplets, margin: float) -> Hinges:
    """The triplets of a list."""
    flat, size = distances.flatten(), len(distances)
    positives = triplets.anchors * size + triplets.positives
    negatives = triplets.anchors * size + triplets.negatives
    hinges = (flat.index_select(0, positives) - flat.index_select(0, negatives) + margin).clamp_min(0)  # [T]
    active = (hinges > 0).to(flat.dtype)
    slopes = torch.zeros_like(flat).scatter_add_(0, positives, active).scatter_add_(0, negatives, -active)
    return Hinges(hinges.sum(), active.sum(dtype=torch.float64).long(), slopes.view_as(distances))


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
