"""Random views of images that published recipes train on: crops brought to one size, and changed colours.

A whole batch at once, uint8 in and out; every image draws its own. Names and ranges are torchvision's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def resized_crop(images: Tensor, size: int, areas: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A random part of each image, mirrored half of the time, brought to `size` pixels.

    The part has a share of the image's area within `areas` and an aspect ratio from 3/4 to 4/3; a side that would be
    longer than the image is cut to it, where torchvision draws anew.
    """
    count = len(images)
    draws = torch.rand(5, count, generator=generator)
    area = areas[0] + (areas[1] - areas[0]) * draws[0]
    ratio = torch.exp((2 * draws[1] - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    places = torch.zeros(count, 2, 3)  # from the view's coordinates, -1 to 1, to the image's
    places[:, 0, 0] = torch.where(draws[2] < 0.5, width, -width)
    places[:, 1, 1] = height
    places[:, 0, 2] = (1 - width) * (2 * draws[3] - 1)
    places[:, 1, 2] = (1 - height) * (2 * draws[4] - 1)
    grid = nn.functional.affine_grid(places, [count, 3, size, size], align_corners=False)
    views = nn.functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return _as_bytes(views)


def color_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation times 0.6 to 1.4 and hue by a tenth, of 80 %; a fifth of all in grey.

    In this order, where torchvision draws one. The hue is turned about the axis of greys of the colour cube.
    """
    count = len(images)
    draws = torch.rand(6, count, generator=generator)
    brightness, contrast, saturation = (0.6 + 0.8 * draws[:3])[..., None, None, None]
    pixels = images.float()
    changed = pixels * brightness
    changed = _blend(changed, _grey(changed).mean(dim=(2, 3), keepdim=True), contrast)
    changed = _blend(changed, _grey(changed), saturation)
    changed = torch.einsum("bij,bjhw->bihw", _turns(2 * math.pi * 0.1 * (2 * draws[3] - 1)), changed)
    pixels = torch.where((draws[4] < 0.8)[:, None, None, None], changed, pixels)
    return _as_bytes(torch.where((draws[5] < 0.2)[:, None, None, None], _grey(pixels), pixels))


def _grey(pixels: Tensor) -> Tensor:
    return torch.einsum("c,bchw->bhw", torch.tensor(GREY), pixels)[:, None]


def _blend(pixels: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (other + share * (pixels - other)).clamp(0, 255)


def _turns(angles: Tensor) -> Tensor:
    """Rotations about the axis of greys, by Rodrigues' formula."""
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    along = torch.full((3, 3), 1 / 3)
    cosines, sines = angles.cos()[:, None, None], angles.sin()[:, None, None]
    return cosines * torch.eye(3) + sines * cross + (1 - cosines) * along


def _as_bytes(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
