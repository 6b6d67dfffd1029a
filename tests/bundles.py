"""Small models for tests of what a model is used for, and one of them as ONNX."""

from functools import cache

import torch
from torch import nn

from tercet.inference.export import to_onnx
from tercet.model.adapter import Adapter, with_adapter
from tercet.model.bundle import Bundle
from tercet.model.encoder import new_encoder
from tercet.model.head import Head
from tercet.model.pretrained import frozen_encoder

CLASSES = ("Bär", "a, b", '"c"')


def new_head() -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        head = Head(8, len(CLASSES), 5)
    head.layers[0].weight.data *= 5  # neither equal probabilities nor certainty
    return head.eval()


def new_bundle(
    name: str, size: int, *, normalize: bool = True, mirrored: bool = True, members: int = 1, seed: int = 0
) -> Bundle:
    """A Bundle with weights that no training has seen but with statistics of images."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (16, 3, size, size), generator=generator, dtype=torch.uint8)
    shape = {"dimensions": 8, "widths": [4, 8, 8], "normalize": normalize, "mirrored": mirrored, "members": members}
    statistics = (torch.full((3,), 127.0), torch.full((3,), 70.0))
    encoder = new_encoder(name, images, statistics, size=size, **shape, generator=generator)
    with torch.no_grad():
        encoder.train()(images)
    return Bundle(encoder.eval(), new_head(), CLASSES, {"encoder": name, **shape, "size": size, "hidden": 5})


def bundle_on(network: nn.Module, size: int, feature_count: int) -> Bundle:
    """A Bundle that stands on a frozen network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapter = Adapter(feature_count, 8, normalize=True)
    settings = {"encoder": "pretrained", "dimensions": 8, "widths": [], "normalize": True, "size": size, "hidden": 5}
    return Bundle(with_adapter(frozen_encoder(network, size), adapter).eval(), new_head(), CLASSES, settings)


@cache
def small_bundle() -> Bundle:
    """One for images of 16 pixels."""
    return new_bundle("fast", 16)


@cache
def small_onnx() -> bytes:
    """The small Bundle as ONNX, made once, for that takes seconds."""
    return to_onnx(small_bundle())
