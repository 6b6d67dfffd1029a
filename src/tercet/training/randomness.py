"""Random numbers that depend on (seed, purpose, place) alone, so that a resumed run needs no generator state."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *place: int | str) -> int:
    """A seed for one purpose at one place, such as ("batches", epoch).

    >>> derived_seed(0, "batches", 1) == derived_seed(0, "batches", 1) != derived_seed(0, "batches", 2)
    True
    """
    return int.from_bytes(hashlib.sha256(repr((seed, *place)).encode()).digest()[:7], "big")


def derived_generator(seed: int, *place: int | str) -> torch.Generator:
    """A fresh generator on the CPU from `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, *place))
