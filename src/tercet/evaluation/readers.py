"""Ways to read classes off the frozen embedding beside the head: a linear layer, and the nearest training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.geometry.neighbors import knn_probabilities, nearest
from tercet.training.head import fit_head

Read = Callable[[Tensor], Tensor]  # embeddings [N, D] -> probabilities [N, C]
NEIGHBOR_COUNTS = (1, 5, 10, 20, 50)  # tried on the validation part


def fit_linear(
    train: tuple[Float[Tensor, "N D"], Int64[Tensor, " N"]],
    validation: tuple[Float[Tensor, "V D"], Int64[Tensor, " V"]],
    *,
    class_counts: Sequence[int],
    seed: int,
    class_weight: str = "balanced",
) -> Read:
    """One linear layer, fitted as the head is: the field's usual probe of an embedding."""
    head, _ = fit_head(
        train,
        validation,
        class_counts=class_counts,
        hidden=None,
        seed=seed,
        class_weight=class_weight,
    )
    return lambda embeddings: torch.softmax(head(embeddings).detach(), dim=1)


def fit_knn(
    train: tuple[Float[Tensor, "N D"], Int64[Tensor, " N"]],
    validation: tuple[Float[Tensor, "V D"], Int64[Tensor, " V"]],
    class_count: int,
) -> Read:
    """A vote of the k nearest training images, k being the one that does best on validation (ties: the smallest)."""
    gallery, labels = train

    def vote(indices: Tensor, k: int) -> Tensor:
        return knn_probabilities(labels[indices[:, :k]], class_count)

    _, indices = nearest(validation[0], gallery, max(NEIGHBOR_COUNTS))
    scores = {k: float((vote(indices, k).argmax(1) == validation[1]).float().mean()) for k in NEIGHBOR_COUNTS}
    best = max(NEIGHBOR_COUNTS, key=lambda k: scores[k])
    return lambda embeddings: vote(nearest(embeddings, gallery, best)[1], best)
