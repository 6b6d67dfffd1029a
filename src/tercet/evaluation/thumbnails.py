"""Small pictures of many images in one file: a grid of square tiles, written row by row, as WebP.

Knows pixels only, neither classes nor runs. A tile's side follows from the file's width and the number of columns, so
the picture needs no note beside it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from tercet.files import write_atomically

LARGEST_SIDE = 96  # pixels of a tile: about an inch on a screen
MOST_PIXELS = 10_000 * 32 * 32  # of a grid: 10,000 images of CIFAR-10 at full size
MOST_BYTES = 2_200_000  # of a lossy grid: in base64 2.9 MB of the report's 5
COARSE_BELOW = 64  # pixels a side: smaller tiles are shown enlarged, each pixel a square
# WebP's, from good to poor, the first that fits being taken: 10,000 images of CIFAR-10 (JPEG copy) took 2.60 MB at 75,
# 2.05 MB at 50 and 1.02 MB at 10 (Pillow 13.0).
QUALITIES = (90, 75, 60, 50, 40, 30, 20, 10, 1)


def write_grid(
    path: Path,
    images: UInt8[Tensor, "N 3 H W"],
    indices: Int64[Tensor, " M"],
    columns: int,
    *,
    lossless: bool = False,
    most_pixels: int = MOST_PIXELS,
) -> None:
    """Write the images at `indices` as a grid of `columns`, with one tile in memory beside the grid.

    A lossless grid has the size that it has; a lossy one stays below `MOST_BYTES`, by the quality.
    """
    side = tile_side(images, len(indices), most_pixels)
    rows = -(-len(indices) // columns)
    grid = Image.new("RGB", (columns * side, rows * side))
    for place, tile in enumerate(_tiles(images, indices, side)):
        grid.paste(tile, (place % columns * side, place // columns * side))
    for quality in QUALITIES:
        content = io.BytesIO()
        # With `quality` a lossless picture is told how hard to try: more takes seconds and saves little.
        grid.save(content, "WEBP", lossless=lossless, quality=50 if lossless else quality, method=4)
        if lossless or content.tell() <= MOST_BYTES:
            break
    write_atomically(path, content.getvalue())


def tile_side(images: UInt8[Tensor, "N 3 H W"], count: int, most_pixels: int = MOST_PIXELS) -> int:
    """The side of a tile of `count`: that of the images, or less where they are large or many."""
    room = math.isqrt(most_pixels // max(1, count))
    return min(images.shape[2], images.shape[3], LARGEST_SIDE, room // 16 * 16 if room >= 16 else room)


def read_tiles(path: Path, columns: int) -> tuple[list[bytes], int]:
    """The tiles of a grid in order, each as a WebP of its own, and their side; the last row may end in black ones."""
    tiles = []
    with Image.open(path) as grid:
        side = grid.width // columns
        for top in range(0, grid.height, side):
            for left in range(0, grid.width, side):
                content = io.BytesIO()
                # A small tile is shown enlarged, where every fault of a lossy one would be seen.
                tile = grid.crop((left, top, left + side, top + side))
                tile.save(content, "WEBP", lossless=side < COARSE_BELOW, quality=85)
                tiles.append(content.getvalue())
    return tiles, side


def _tiles(images: Tensor, indices: Tensor, side: int) -> Iterator[Image.Image]:
    height, width = images.shape[2:]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    for index in indices.tolist():
        pixels = images[index, :, top : top + square, left : left + square].permute(1, 2, 0).contiguous()
        tile = Image.fromarray(pixels.numpy())
        yield tile if square == side else tile.resize((side, side), Image.Resampling.LANCZOS)


def columns_of(count: int) -> int:
    """The columns of a grid about as wide as high.

    >>> columns_of(10_000), columns_of(5)
    (100, 3)
    """
    return math.isqrt(max(0, count - 1)) + 1
