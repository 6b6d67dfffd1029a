"""Augmentation of a whole batch at once: uint8 images in, uint8 images out, randomness from an explicit generator.

The generator is the CPU's wherever the images are, so that every device sees the same ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor


def random_crop(
    images: UInt8[Tensor, "B 3 H H"], size: int, padding: int, generator: torch.Generator
) -> UInt8[Tensor, "B 3 S S"]:
    """Cut a square of `size` pixels out of each image at a random place; a border of `padding` mirrors the image."""
    places = images.shape[-1] + 2 * padding - size + 1
    if places == 1:
        return images
    if padding:
        images = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    tops, lefts = torch.randint(places, (2, len(images)), generator=generator).to(images.device)
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # [B, 3, places, places, S, S], a view
    return windows[torch.arange(len(images), device=images.device), :, tops, lefts]


def center_crop(images: UInt8[Tensor, "B 3 H H"], size: int) -> UInt8[Tensor, "B 3 S S"]:
    """The central square of `size` pixels of each image; an odd pixel more is left on the lower right."""
    start = (images.shape[-1] - size) // 2
    return images[:, :, start : start + size, start : start + size]


def flip(images: UInt8[Tensor, "B 3 H W"], chosen: Bool[Tensor, " B"]) -> UInt8[Tensor, "B 3 H W"]:
    """Mirror the chosen images left to right."""
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(3), images)


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
