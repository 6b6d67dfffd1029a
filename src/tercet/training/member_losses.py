"""Losses of an encoder with several members: each member's part of the embeddings has one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tercet.config import Config
from tercet.model.members import parts_of, widths_of_parts
from tercet.training.losses import Loss
from tercet.training.proxies import Proxies


def for_each_member(loss: Loss, config: Config) -> Loss:
    """The mean of a loss over the members of a configured encoder; the loss itself where there is only one."""
    if config.members == 1:
        return loss
    return partial(mean_over_members, [loss] * config.members, normalize=config.normalize)


def mean_over_members(
    losses: Sequence[Loss], embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], *, normalize: bool
) -> Float[Tensor, ""]:
    """The mean of losses, each of a member's part; if `normalize`, of the part at unit length, as the whole has it.

    Its gradient is that of the sum, so that each member learns as it would alone, by whatever optimizer.
    """
    parts = as_trained(embeddings, len(losses), normalize=normalize)
    values = torch.stack([loss(part, labels) for loss, part in zip(losses, parts, strict=True)])
    total = values.sum()
    return total + (values.mean() - total).detach()


def as_trained(embeddings: Tensor, members: int, *, normalize: bool) -> list[Tensor]:
    """The members' parts, brought back to unit length, which each had before they were put together."""
    scale = members**0.5 if normalize else 1.0
    return [scale * part for part in parts_of(embeddings, members)]


class MemberProxies(nn.Module):
    """Proxies for each member, with which its part of the embeddings is compared."""

    def __init__(self, class_count: int, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.normalize = config.normalize
        self.members = nn.ModuleList(
            Proxies(class_count, replace(config, dimensions=width), generator)
            for width in widths_of_parts(config.dimensions, config.members)
        )

    def forward(self, embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
        """The mean of the members' losses."""
        return mean_over_members(list(self.members), embeddings, labels, normalize=self.normalize)

    @torch.no_grad()
    def scores(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """How near each image is to each class in the mean over members."""
        parts = as_trained(embeddings, len(self.members), normalize=self.normalize)
        scores = [member.scores(part) for member, part in zip(self.members, parts, strict=True)]  # type: ignore[operator]
        return torch.stack(scores).mean(0)
