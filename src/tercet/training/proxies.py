"""Proxies: a point for each class, learnt together with the encoder whose embeddings are compared with it.

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


class WithProxies(nn.Module):
    """An encoder, and the proxies of its training. Gives what the encoder gives.

    Reference: Movshovitz-Attias et al., No fuss distance metric learning using proxies, ICCV 2017.
    """

    def __init__(self, encoder: nn.Module, class_count: int, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = encoder
        drawn = torch.rand(class_count, config.dimensions, generator=generator)
        self.directions = nn.Parameter((2 * drawn - 1) / config.dimensions**0.5)  # as PyTorch begins linear layers
        self.config = config

    def forward(self, images: Tensor) -> Float[Tensor, "B D"]:
        """Embed."""
        embeddings: Tensor = self.encoder(images)
        return embeddings

    @property
    def proxies(self) -> Float[Tensor, "C D"]:
        """Of unit length where the embeddings have it."""
        return nn.functional.normalize(self.directions, dim=1) if self.config.normalize else self.directions

    def loss(self, embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
        """`proxy_triplet_loss` as configured."""
        settings: dict[str, Any] = {"temperature": self.config.temperature, "margin": self.config.margin}
        smoothing = self.config.label_smoothing
        return proxy_triplet_loss(embeddings, labels, proxies=self.proxies, smoothing=smoothing, **settings)

    @torch.no_grad()
    def scores(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """How near each image is to each class. What is easy shows better in these than in embeddings (docs/log.md)."""
        return -squared_distances(embeddings, self.proxies)
