"""Room for images in memory, asked for before they are read. Knows nothing of files."""

from __future__ import annotations

import math

from tercet.config import LEAST
from tercet.data.decode import stored_side
from tercet.memory import require_memory

RECORD = 1_000  # bytes an image for its path, its place and what else is noted of it while it is read; measured


def require_room(count: int, size: int, *, copies: int = 2) -> None:
    """DataError where `count` images, as they are kept for a network of `size`, take more memory than is free.

    By default they are held twice: a part that is split off is a copy.
    """
    needed = count * (copies * 3 * stored_side(size) ** 2 + RECORD)
    require_memory(needed, f"{count:,} images for --size {size}", lambda free: _advice(free // count, copies))


def _advice(bytes_an_image: int, copies: int) -> str:
    side = math.isqrt(max(0, bytes_an_image - RECORD) // (3 * copies))
    size = side if side <= 32 else max(32, side * 7 // 8)  # `stored_side` the other way
    return f"give --size {size} or less, or fewer images" if size >= LEAST["size"] else "give fewer images"
