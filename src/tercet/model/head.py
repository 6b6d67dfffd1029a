"""Head: the small network that reads classes off an embedding. Training it is the business of `training.head`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Head(nn.Module):
    """Embedding -> logits: standardise, one hidden layer of ReLU unless `hidden` is None, linear."""

    mean: Tensor
    std: Tensor

    def __init__(self, dimensions: int, class_count: int, hidden: int | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("std", torch.ones(dimensions))
        self.layers = (
            nn.Sequential(nn.Linear(dimensions, hidden), nn.ReLU(), nn.Linear(hidden, class_count))
            if hidden
            else nn.Sequential(nn.Linear(dimensions, class_count))
        )

    def forward(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """Logits; their softmax is the probability of each class."""
        logits: Tensor = self.layers((embeddings - self.mean) / self.std)
        return logits
