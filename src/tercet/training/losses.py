"""Losses: (embeddings, labels) -> scalar. `LOSSES` maps the names of the command line to them.

Any callable of that signature serves in place of these, such as a loss of pytorch-metric-learning.
Knows nothing of networks, batches or schedules. Equations and papers: docs/losses.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.geometry.distances import squared_distances
from tercet.training.hinges import all_triplets_hinge, differentiable, listed_triplets_hinge
from tercet.training.triplets import hard_triplets, random_triplets, semi_hard_triplets, triplet_count

Loss = Callable[[Tensor, Tensor], Tensor]
Mining = Literal["all", "semi-hard", "hard", "random"]
Reduction = Literal["active", "mean", "sum"]


def triplet_loss(
    embeddings: Float[Tensor, "B D"],
    labels: Int64[Tensor, " B"],
    *,
    margin: float,
    mining: Mining = "all",
    reduction: Reduction = "active",
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Triplet loss: the sum over triplets of max(|f(A)-f(P)|^2 - |f(A)-f(N)|^2 + margin, 0), reduced.

    Distances are squared Euclidean of the embeddings as given; normalise them before if they should be of unit length.
    `reduction`: "sum", or the mean over the mined triplets ("mean") or over those whose hinge is above 0 ("active").
    A batch without triplets, or without active ones, gives 0 with a zero gradient. `generator` serves "random" only.

    Reference: Schroff et al., FaceNet, CVPR 2015, equation 3; "active" is the mean over non-zero terms of Hermans
    et al., 2017, section 2.

    >>> points = torch.tensor([[0.0], [1.0], [1.0]])
    >>> float(triplet_loss(points, torch.tensor([0, 0, 1]), margin=0.5, reduction="sum"))
    2.0
    """
    with torch.no_grad():
        distances = squared_distances(embeddings, embeddings)
        if mining == "all":
            hinges, count = all_triplets_hinge(distances, labels, margin), triplet_count(labels)
        else:
            triplets = (
                random_triplets(labels, generator)
                if mining == "random"
                else {"semi-hard": semi_hard_triplets, "hard": hard_triplets}[mining](distances, labels)
            )
            hinges, count = listed_triplets_hinge(distances, triplets, margin), len(triplets.anchors)
    total = differentiable(hinges, embeddings)
    if reduction == "sum":
        return total
    return total / (hinges.active.clamp_min(1) if reduction == "active" else max(1, count))


def supervised_contrastive_loss(
    embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], *, temperature: float
) -> Float[Tensor, ""]:
    """Mean over anchors with a positive of -mean over positives of log softmax(cosine / temperature) over the others.

    Embeddings are scaled to unit length here. With P classes x K images a batch holds positives enough, so no second
    view of each image is made: that is the one deviation.

    Reference: Khosla et al., Supervised contrastive learning, NeurIPS 2020, equation 2.
    """
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T / temperature  # [B, B]
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_shares = logits - logits.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels[None, :]) & ~own
    counts = positive.sum(1)
    per_anchor = -log_shares.masked_fill(~positive, 0).sum(1) / counts.clamp_min(1)
    return per_anchor.sum() / (counts > 0).sum().clamp_min(1)


@torch.no_grad()
def active_share(embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], *, margin: float) -> float:
    """Share of all triplets of the batch whose hinge is above 0: how much there is left to learn from."""
    hinges = all_triplets_hinge(squared_distances(embeddings, embeddings), labels, margin)
    return int(hinges.active) / max(1, triplet_count(labels))


LOSSES: dict[str, Callable[..., Tensor]] = {"triplet": triplet_loss, "supcon": supervised_contrastive_loss}
