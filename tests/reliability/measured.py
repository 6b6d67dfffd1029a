"""Run as a script, in a process of its own: does one job and prints what it was estimated to take, and what it took.

    python measured.py JOB FOLDER

prints {"estimated": bytes, "measured": bytes}. The estimate is what was asked for by `require_memory`, on top of what
was held at that moment; the measured peak is the system's.
"""

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch import nn

import tercet.preparation  # noqa: F401 -- what a job imports is not what it takes
from tercet import footprint
from tercet.config import Config, resolve
from tercet.data import cache, npz, room
from tercet.data.decode import stored_side
from tercet.data.imageset import ImageSet
from tercet.data.sources import open_dataset
from tercet.memory import BESIDE, peak_memory_bytes

PACE = Config(epochs=0.001, fewest_steps=1, precision="fp32", device="cpu")  # one step


@contextmanager
def measured_growth():
    """A function that says by how many bytes the process grew at most, from the beginning of the block on."""
    Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
    before = psutil.Process().memory_info().rss
    yield lambda: peak_memory_bytes() - before


def measured(work):
    """What `work` asked for at most, and the peak while it ran."""
    asked, before = [], psutil.Process().memory_info().rss

    def note(needed, *_):
        asked.append(psutil.Process().memory_info().rss - before + needed + BESIDE)

    for module in (cache, footprint, npz, room):
        module.require_memory = note
    with measured_growth() as growth:
        work()
    return {"estimated": max(asked), "measured": growth()}


def drawn(count, side, classes=10):
    images = torch.randint(256, (count, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes, tuple(map(str, range(classes))))


def folder(root):
    """Twelve thousand links to one picture."""
    Image.effect_noise((60, 60), 50).convert("RGB").save(root / "picture.png")
    for place in range(12_000):
        link = root / "pictures" / "ab"[place % 2] / f"{place}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(root / "picture.png", link)
    return partial(open_dataset, root / "pictures", size=64)


def kept_folder(root):
    read = folder(root)
    read()
    return read


def arrays(root, shape, size):
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    np.savez(root / "arrays.npz", images=images, labels=np.arange(len(images)) % 10)
    return partial(open_dataset, root / "arrays.npz", size=size)


def digits(root):
    return partial(open_dataset, "digits", size=128)


def training(root, batch, precision="fp32", **settings):
    """One step, its checkpoint, and a few images embedded."""
    from tercet.footprint import require_training_memory
    from tercet.training.checkpoint import Checkpoint
    from tercet.training.encoder import train_encoder

    asked = replace(PACE, batch_size=batch, **settings)
    few, many = drawn(40, stored_side(asked.size)), drawn(batch, stored_side(asked.size))
    config = resolve(asked, image_count=10**9, size=asked.size, flip=True)
    assert config.batch_size == batch
    train_encoder(replace(config, batch_size=8), few, few)  # what libraries keep from their first use on
    config = replace(config, precision=precision)

    def work():
        require_training_memory(config, (many, few))
        train_encoder(config, many, few, checkpoint=Checkpoint(root, "key"))

    return work


class Features(nn.Module):
    """Two thousand features, the same for each image."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 2_000))

    def forward(self, pixels):
        return pixels.mean((1, 2, 3))[:, None] * self.scale


def features(root):
    from tercet.footprint import require_training_memory
    from tercet.model.features import compute_features
    from tercet.model.pretrained import frozen_encoder, open_backbone
    from tercet.training.encoder import train_encoder

    parts = drawn(20_000, 10), drawn(2_000, 10)
    frozen = frozen_encoder(open_backbone(Features()), 10)
    asked = replace(PACE, encoder="pretrained", backbone="own", size=10)
    config = resolve(asked, image_count=len(parts[0]), size=10, flip=True)

    def work():
        require_training_memory(config, parts, frozen)
        found, _ = compute_features(frozen, parts, both_sides=True)
        train_encoder(config, *found)

    return work


def regression(root):
    from tercet.evaluation.baselines import fit_logistic_regression
    from tercet.footprint import regression_bytes

    train, validation, test = drawn(20_000, 32), drawn(2_000, 32), drawn(4_000, 32)

    def work():
        room.require_memory(regression_bytes([20_000, 2_000, 4_000], 32, 10))
        fit_logistic_regression(train, validation)(test.images)

    return work


JOBS = {
    "folder": folder,
    "kept folder": kept_folder,
    "coloured arrays": partial(arrays, shape=(60_000, 32, 32, 3), size=32),
    "gray arrays": partial(arrays, shape=(80_000, 28, 28), size=28),
    "arrays to be resized": partial(arrays, shape=(3_000, 100, 100, 3), size=128),
    "digits": digits,
    "fast encoder": partial(training, size=32, batch=400),
    "wide encoder": partial(training, size=96, batch=100, widths=(64, 256, 256)),
    "classic encoder": partial(training, size=32, batch=200, encoder="classic"),
    "large batch": partial(training, size=10, batch=4096, loss="supcon"),
    "bfloat16": partial(training, size=32, batch=200, precision="bf16"),
    "features": features,
    "regression": regression,
}

if __name__ == "__main__":
    torch.set_num_threads(2)
    print(json.dumps(measured(JOBS[sys.argv[1]](Path(sys.argv[2])))))
