"""Augmentation of a whole batch at once: uint8 images in, uint8 images out, randomness from an explicit generator."""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor


def random_crop(images: UInt8[Tensor, "B 3 H W"], padding: int, generator: torch.Generator) -> UInt8[Tensor, "B 3 H W"]:
    """Shift each image by up to `padding` pixels each way; the border mirrors the image.

    Images that share a shift are cut out of the padded batch together: (2 padding + 1)^2 slices instead of B.
    """
    if padding == 0:
        return images
    height, width = images.shape[2:]
    padded = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    shifts = torch.randint(2 * padding + 1, (2, len(images)), generator=generator).to(images.device)
    cropped = torch.empty_like(images)
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            chosen = (shifts[0] == top) & (shifts[1] == left)
            cropped[chosen] = padded[chosen, :, top : top + height, left : left + width]
    return cropped


def flip(images: UInt8[Tensor, "B 3 H W"], chosen: Bool[Tensor, " B"]) -> UInt8[Tensor, "B 3 H W"]:
    """Mirror the chosen images left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def cutout(images: UInt8[Tensor, "B 3 H W"], side: int, generator: torch.Generator) -> UInt8[Tensor, "B 3 H W"]:
    """Blank a square of `side` pixels, centred anywhere in the image, to mid-gray.

    Reference: DeVries and Taylor, Improved regularization of convolutional neural networks with cutout, 2017.
    """
    if side == 0:
        return images
    height, width = images.shape[2:]
    rows, columns = (
        torch.arange(extent) - torch.randint(extent, (len(images), 1), generator=generator) + side // 2
        for extent in (height, width)
    )  # [B, H] and [B, W]: place within the square, where from 0 to side - 1
    inside_rows, inside_columns = ((place >= 0) & (place < side) for place in (rows, columns))
    square = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]  # [B, 1, H, W]
    return images.masked_fill(square.to(images.device), 128)
