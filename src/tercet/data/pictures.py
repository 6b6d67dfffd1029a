"""Images as people have them in Python - arrays, PIL images, paths - brought to what an encoder takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tercet.data.decode import read_image, to_pixels
from tercet.errors import DataError


def as_pixels(images: Any, side: int) -> UInt8[Tensor, "N 3 S S"]:
    """Squares of `side` pixels, as in training, of an uint8 array `[N, H, W, 3]` or `[N, H, W]` or a list of images.

    Those of a list are PIL images, paths or uint8 arrays `[H, W, 3]` or `[H, W]`. DataError for all else: a single
    image, and an array that looks like one.
    """
    if isinstance(images, str | Path) and Path(images).is_dir():
        raise DataError(f"found the folder {str(images)!r}; expected a list of images, such as its files.")
    if isinstance(images, str | Path | Image.Image):
        raise DataError("found a single image; expected a list of images: put it in brackets.")
    if isinstance(images, np.ndarray):
        # Not N grey images of 3 x 3 pixels, which scikit-learn's checks give.
        if images.ndim == 3 and images.shape[2] in (3, 4) and images.shape[1] > 4:
            raise DataError(
                f"found an array of shape {list(images.shape)}, which looks like one coloured image; expected uint8 of "
                "shape [N, H, W, 3] or [N, H, W]: give image[None, :, :, :3]."
            )
        images = _as_pictures(images)
    arrays = [_square(image, side) for image in images]
    stacked = np.stack(arrays) if arrays else np.empty((0, side, side, 3), np.uint8)
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))


def _as_pictures(images: NDArray[Any]) -> Sequence[Image.Image]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise DataError(
            f"found an array of type {images.dtype} and shape {list(images.shape)}; "
            "expected uint8 of shape [N, H, W, 3] or [N, H, W]."
        )
    return [Image.fromarray(image) for image in images]


def _square(image: Any, side: int) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        image = _as_pictures(image[None])[0]
    if isinstance(image, Image.Image):
        return to_pixels(image, side)
    if not isinstance(image, str | os.PathLike):
        raise DataError(f"found a {type(image).__name__}; expected paths, PIL images or uint8 arrays [H, W, 3].")
    try:
        return read_image(Path(image), side)
    except DataError as error:
        raise DataError(f"{image}: {error}") from error
