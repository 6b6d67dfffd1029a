"""Networks side by side in one encoder, an ensemble: each fills a part of the embedding, by a loss on that part alone.

They err in different ways, so the mean of their distances is right more often. Of embeddings of unit length it is the
distance of the whole ones, of others their sum.
References: Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using deep ensembles, NeurIPS
2017; parts of an embedding that learn by losses of their own: Opitz et al., BIER: boosting independent embeddings
robustly, ICCV 2017. Knows nothing of images, labels and losses.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Members(nn.Module):
    """Backbones that see the same images; what they give stands one after another."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """The parts of the embeddings as one."""
        return torch.cat([member(pixels) for member in self.members], dim=1)


def widths_of_parts(dimensions: int, members: int) -> list[int]:
    """How many of the numbers of an embedding each member fills.

    >>> widths_of_parts(128, 3)
    [43, 43, 42]
    """
    return [dimensions // members + (place < dimensions % members) for place in range(members)]


def parts_of(embeddings: Float[Tensor, "B D"], members: int) -> tuple[Float[Tensor, "B d"], ...]:
    """What each member has filled."""
    parts: tuple[Tensor, ...] = torch.split(embeddings, widths_of_parts(embeddings.shape[1], members), dim=1)
    return parts


def to_unit_length(embeddings: Float[Tensor, "B D"], members: int) -> Float[Tensor, "B D"]:
    """Every part brought to the same length, and the whole to 1.

    >>> to_unit_length(torch.tensor([[3.0, 4.0, 0.0, 0.5]]), 2) * 2**0.5
    tensor([[0.6000, 0.8000, 0.0000, 1.0000]])
    """
    parts = [nn.functional.normalize(part, dim=1) for part in parts_of(embeddings, members)]
    return parts[0] if members == 1 else torch.cat(parts, dim=1) / members**0.5
