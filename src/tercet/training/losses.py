"""Losses: (embeddings, labels) -> scalar. `LOSSES` maps the names of the command line to them.

Any callable of that signature serves in place of these, such as a loss of pytorch-metric-learning.
Knows nothing of networks, batches or schedules. Equations and papers: docs/losses.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tercet.geometry.distances import squared_distances
from tercet.training.hinges import all_triplets_hinge, differentiable, listed_triplets_hinge
from tercet.training.triplets import (
    Triplets,
    hard_triplets,
    random_triplets,
    semi_hard_triplets,
    triplet_count,
)

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
            triplets = mined(distances, labels, mining, generator)
            hinges, count = listed_triplets_hinge(distances, triplets, margin), len(triplets.anchors)
    total = differentiable(hinges, embeddings)
    if reduction == "sum":
        return total
    return total / (hinges.active.clamp_min(1) if reduction == "active" else max(1, count))


def mined(
    distances: Float[Tensor, "B B"], labels: Int64[Tensor, " B"], mining: Mining, generator: torch.Generator | None
) -> Triplets:
    """The triplets that a mining other than "all" chooses; none of an empty batch."""
    if not len(labels):
        return Triplets(labels, labels, labels)
    if mining == "random":
        return random_triplets(labels, generator)
    return {"semi-hard": semi_hard_triplets, "hard": hard_triplets}[mining](distances, labels)


def centroid_triplet_loss(
    embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], *, temperature: float, margin: float = 0.0
) -> Float[Tensor, ""]:
    """Smooth triplet loss whose positives and negatives are classes, each at the mean of its images in the batch.

    Mean over anchors of log(1 + sum over other classes n of exp((d(A, p) - d(A, n) + margin) / temperature)), with d
    the squared distance to a mean and p the anchor's own class without the anchor. That is softplus in place of the
    hinge, and a soft maximum over negatives: times the temperature, it approaches the hinge of the nearest other class
    as the temperature falls. Anchors whose class has no other image are left out; with one class the loss is 0.

    Reference: Wieczorek et al., On the unreasonable effectiveness of centroids in image retrieval, 2021, equation 3;
    softplus from Hermans et al., 2017, section 2. At margin 0 it is cross-entropy over distances to class means as in
    Snell et al., Prototypical networks, NeurIPS 2017, equation 2, with every image both in the support and a query.

    >>> points, labels = torch.tensor([[0.0], [1.0], [3.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> round(float(centroid_triplet_loss(points, labels, temperature=1.0)), 4)  # gaps of -8, -3, -6.25, -6.25
    0.0132
    """
    distances, own, counts = class_distances(embeddings, labels)
    distances = distances.scatter_add(1, own[:, None], torch.full_like(distances[:, :1], margin))
    per_anchor = nn.functional.cross_entropy(-distances / temperature, own, reduction="none")
    has_positive = counts[own] > 1
    mean: Tensor = (per_anchor * has_positive).sum() / has_positive.sum().clamp_min(1)
    return mean


def proxy_triplet_loss(
    embeddings: Float[Tensor, "B D"],
    labels: Int64[Tensor, " B"],
    *,
    proxies: Float[Tensor, "C D"],
    temperature: float,
    margin: float = 0.0,
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Smooth triplet loss whose positives and negatives are points that stand for the classes and are learnt with them.

    Mean over anchors of log(1 + sum over other classes n of exp((d(A, p) - d(A, n) + margin) / temperature)), with d
    the squared distance to a proxy and p that of the anchor's own class, to which alone the margin is added. With
    `smoothing` every class stands as p in turn, with a weight of smoothing / C, and the own one with the rest.

    Reference: Movshovitz-Attias et al., No fuss distance metric learning using proxies, ICCV 2017, with the positive in
    the sum and the temperature of Teh et al., ProxyNCA++, ECCV 2020; margin: Wang et al., CosFace, CVPR 2018;
    smoothing: Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.

    >>> points, proxies = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [3.0]])
    >>> round(float(proxy_triplet_loss(points, torch.tensor([0, 1]), proxies=proxies, temperature=1.0)), 4)  # -8, -4
    0.0092
    """
    distances = squared_distances(embeddings, proxies)
    distances = distances.scatter_add(1, labels[:, None], torch.full_like(distances[:, :1], margin))
    return nn.functional.cross_entropy(-distances / temperature, labels, label_smoothing=smoothing)


def class_distances(
    embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"]
) -> tuple[Float[Tensor, "B C"], Int64[Tensor, " B"], Int64[Tensor, " C"]]:
    """Squared distances to the mean of each class of the batch, to the own one without oneself; own class; class sizes.

    Classes are numbered anew, those of the batch only.
    """
    _, own, counts = labels.unique(return_inverse=True, return_counts=True)
    is_own = own[:, None] == torch.arange(len(counts), device=own.device)  # [B, C]
    means = is_own.to(embeddings.dtype).T @ embeddings / counts[:, None]
    distances = squared_distances(embeddings, means)
    # An image lies n / (n - 1) times as far from the mean of the n - 1 others as from the mean of all n.
    alone = distances * (counts / (counts - 1).clamp_min(1)).square()
    return torch.where(is_own, alone, distances), own, counts


def supervised_contrastive_loss(
    embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], *, temperature: float
) -> Float[Tensor, ""]:
    """Mean over anchors with a positive of -mean over positives of log softmax(cosine / temperature) over the others.

    Embeddings are scaled to unit length here. With P classes x K images a batch holds positives enough, so no second
    view of each image is made: that is the one deviation.

    Reference: Khosla et al., Supervised contrastive learning, NeurIPS 2020, equation 2.
    """
    unit = nn.functional.normalize(embeddings, dim=1)
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


LOSSES: dict[str, Callable[..., Tensor]] = {
    "proxy-triplet": proxy_triplet_loss,
    "centroid-triplet": centroid_triplet_loss,
    "triplet": triplet_loss,
    "supcon": supervised_contrastive_loss,
}
