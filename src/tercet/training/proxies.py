"""A loss with weights of its own, proxies: a point for each class, learnt with the encoder that is compared with it.

They are weights of the training, and no part of what it gives.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tercet.config import Config
from tercet.geometry.distances import squared_distances
from tercet.training.losses import proxy_triplet_loss


class Proxies(nn.Module):
    """`proxy_triplet_loss` as configured, with the proxies that it compares embeddings with."""

    def __init__(self, class_count: int, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.rand(class_count, config.dimensions, generator=generator)
        self.directions = nn.Parameter((2 * drawn - 1) / config.dimensions**0.5)  # as PyTorch begins linear layers
        self.normalize = config.normalize
        self.settings: dict[str, Any] = {
            "temperature": config.temperature,
            "margin": config.margin,
            "smoothing": config.label_smoothing,
        }

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
        """The value of the loss."""
        return proxy_triplet_loss(embeddings, labels, proxies=self.points, **self.settings)

    @property
    def points(self) -> Float[Tensor, "C D"]:
        """The proxies, of unit length where the embeddings have it."""
        return nn.functional.normalize(self.directions, dim=1) if self.normalize else self.directions

    @torch.no_grad()
    def scores(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """How near each image is to each class: by these, passes leave images out (docs/log.md, 2026-11-28)."""
        return -squared_distances(embeddings, self.points)


class WithLoss(nn.Module):
    """An encoder that carries the loss, so that the optimizer moves the loss's weights too; gives the embeddings."""

    def __init__(self, encoder: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.loss = loss

    def forward(self, images: Tensor) -> Tensor:
        """The embeddings."""
        embeddings: Tensor = self.encoder(images)
        return embeddings
