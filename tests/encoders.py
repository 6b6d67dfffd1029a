"""Untrained encoders and images for them."""

import torch
from torch import nn

from tercet.model.encoder import new_encoder


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_images(count, side, seed=0):
    """Noise blurred as photographs are: neighbouring pixels and channels go together."""
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=seeded(seed))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    smooth = 0.6 * smooth + 0.3 * smooth.mean(1, keepdim=True)
    return (255 * (smooth + 0.1 * torch.rand(count, 3, side, side, generator=seeded(seed + 1)))).to(torch.uint8)


def statistics(images):
    return images.float().mean((0, 2, 3)), images.float().std((0, 2, 3))


def encoder_for(images, name="fast", seed=0, dimensions=128, widths=(4, 8, 16), normalize=True, mirrored=True):
    return new_encoder(
        name,
        images,
        statistics(images),
        size=images.shape[-1],
        dimensions=dimensions,
        widths=widths,
        normalize=normalize,
        mirrored=mirrored,
        generator=seeded(seed),
    ).eval()
