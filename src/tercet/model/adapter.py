"""Adapter: features of a frozen network -> embedding. It is all that learns where the backbone is pretrained.

Knows nothing of where the features come from.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tercet.model.encoder import Encoder
from tercet.model.features import FeatureSet


class Adapter(nn.Module):
    """Features -> embedding of D numbers: centre, scale, linear, to unit length if `normalize`.

    One scale for all features: what hardly varies says little, and is not blown up.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, feature_count: int, dimensions: int, *, normalize: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_count))
        self.register_buffer("scale", torch.ones(()))
        self.linear = nn.Linear(feature_count, dimensions)
        self.normalize = normalize

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Embed what the frozen network gives."""
        embeddings = self.linear((features - self.mean) / self.scale).float()
        return nn.functional.normalize(embeddings, dim=1) if self.normalize else embeddings


def new_adapter(features: FeatureSet, *, dimensions: int, normalize: bool, generator: torch.Generator) -> Adapter:
    """A fresh adapter for features like these; its weights depend on the generator alone, not on the global one."""
    judged = features.judged
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        adapter = Adapter(judged.shape[1], dimensions, normalize=normalize)
    adapter.mean.copy_(judged.mean(0))
    adapter.scale.copy_(judged.std(0, correction=0).mean().clamp_min(1e-6))
    return adapter


def with_adapter(frozen: Encoder, adapter: Adapter) -> Encoder:
    """The encoder of raw images that gives what `adapter` gives for the features of `frozen`."""
    backbone = nn.Sequential(OrderedDict(features=frozen.backbone, adapter=adapter))
    mean, std = frozen.mean.flatten(), frozen.std.flatten()
    return Encoder(backbone, size=frozen.size, mean=mean, std=std, normalize=False)  # the adapter does that
