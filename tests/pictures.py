"""Small data sets for tests: three kinds of coloured pattern that an encoder learns in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("stripes", "checks", "plain")


def pattern(kind: str, generator: np.random.Generator) -> np.ndarray:
    """One noisy 32x32 image, uint8 [32, 32, 3]."""
    rows, columns = np.mgrid[:32, :32]
    shape = {"stripes": rows // 4 % 2, "checks": (rows // 4 + columns // 4) % 2, "plain": np.ones((32, 32))}[kind]
    color = generator.uniform(100, 200, 3)
    noise = generator.normal(0, 20, (32, 32, 3))
    return np.clip(shape[..., None] * color + noise, 0, 255).astype(np.uint8)


def write_folder(root: Path, images_per_class: int, seed: int = 0) -> Path:
    """A class-per-folder data set of PNG files."""
    generator = np.random.default_rng(seed)
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for number in range(images_per_class):
            Image.fromarray(pattern(kind, generator)).save(root / kind / f"{number:03}.png")
    return root
