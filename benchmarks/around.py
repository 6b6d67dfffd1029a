"""Around the training: how long the rest of a job takes, each part by itself.

    python -m benchmarks.around                    all parts; first_load and logistic need $TERCET_CIFAR10
    python -m benchmarks.around embedding tsne     some of them

    embedding     the default encoder for 32 pixels, raw images to embeddings, beside the machine's matrix product; in
                  bfloat16 only where the machine multiplies it
    step          a training step on 1,024 images by the default loss, and what share of it each loss would take
    tsne          10,000 x 128, ten classes that overlap; of the 15 nearest neighbours the share that still are
    first_load    the JPEG archive, without a cache, in a process of its own
    cold_start    `tercet --help` and `tercet predict` of one image, each in a process of its own
    logistic      logistic regression on all pixels of the training part, three penalties

Five minutes on two idle cores. results/around.jsonl has one line a part, and what is there already is not run again.
Seconds are the least of `repetitions`, since whatever else runs can only add to them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks import losses, records
from tercet.config import PRESETS, Config, resolve
from tercet.data.sources import open_dataset
from tercet.evaluation.baselines import fit_logistic_regression
from tercet.evaluation.projection import tsne
from tercet.geometry.neighbors import nearest
from tercet.memory import keep_freed_memory
from tercet.model.bundle import Bundle
from tercet.model.embed import embed
from tercet.model.encoder import Encoder, new_encoder
from tercet.model.head import Head
from tercet.model.precision import choose_precision, is_emulated
from tercet.preparation import PRECISION_IMAGES
from tercet.training.bundle import bundle_settings
from tercet.training.loop import learn
from tercet.training.losses import Loss
from tercet.training.optimizers import build_optimizers
from tercet.training.proxies import Proxies, WithLoss

SIDE = 32
NEIGHBORS = 15
STEP_IMAGES = 1_024


def least_seconds(work: Callable[[], object], repetitions: int) -> float:
    """The least seconds of several repetitions, after one that does not count."""
    work()
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def default_config() -> Config:
    """The settings of `quick` for photographs of this size."""
    return resolve(PRESETS["quick"], image_count=50_000, size=SIDE, flip=True)


def default_encoder(images: Tensor) -> Encoder:
    """The default encoder, untrained: its speed does not depend on its weights."""
    config, statistics = default_config(), (torch.full((3,), 127.0), torch.full((3,), 64.0))
    return new_encoder(
        *("fast", images, statistics),
        size=SIDE,
        dimensions=config.dimensions,
        widths=config.widths,
        normalize=True,
        mirrored=bool(config.mirrored),
        generator=torch.Generator().manual_seed(0),
    )


def default_bundle() -> Bundle:
    """An untrained Bundle of the default kind, of ten classes."""
    settings = bundle_settings(default_config(), None)
    head = Head(settings["dimensions"], 10, settings["hidden"])
    return Bundle(default_encoder(random_images(500)).eval(), head.eval(), tuple("abcdefghij"), settings)


def random_images(count: int) -> Tensor:
    """Noise, uint8 [N, 3, 32, 32]."""
    return torch.randint(256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def measure_embedding() -> dict[str, Any]:
    """Images a second in both precisions, and the rate of a matrix product in float32."""
    keep_freed_memory()
    images, matrix = random_images(5_000), torch.randn(2048, 2048)
    encoder = default_encoder(images)
    precisions = ("fp32",) if is_emulated(images.device) else ("fp32", "bf16")
    product = 2 * 2048**3 / least_seconds(lambda: matrix @ matrix, 5)
    rates = {
        f"images_per_second_{precision}": round(
            len(images) / least_seconds(partial(embed, encoder, images, precision=precision), 5)
        )
        for precision in precisions
    }
    return {"repetitions": 5, **rates, "matrix_product_gflops": round(product / 1e9, 1)}


def measure_step() -> dict[str, Any]:
    """Seconds of a step, network, loss and optimiser, and the share of each loss, forward and backward, in percent."""
    keep_freed_memory()
    images, labels = random_images(STEP_IMAGES), torch.arange(STEP_IMAGES) % losses.CLASSES
    encoder = default_encoder(images).train()
    precision = choose_precision(encoder, images[:PRECISION_IMAGES])
    config = replace(default_config(), precision=precision, device="cpu")
    default = Proxies(losses.CLASSES, config, torch.Generator().manual_seed(0))
    network = WithLoss(encoder, default)
    optimizers = build_optimizers(network, config)
    whole = least_seconds(lambda: learn(network, default, images, labels, optimizers, precision), 5)
    every: dict[str, Loss] = {
        str(config.loss): default,
        **{method: losses.our_loss(method) for method in losses.METHODS},
    }
    shares = {
        name: round(100 * least_seconds(losses.step(loss, STEP_IMAGES), 5) / whole, 2) for name, loss in every.items()
    }
    return {"repetitions": 5, "precision": precision, "step_seconds": round(whole, 3), "percent_of_it": shares}


def clustered_embeddings(count: int, dimensions: int) -> Tensor:
    """Rows of unit length in ten classes, each a flat cloud of eight directions, a tenth of them between two."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.linalg.qr(torch.randn(dimensions, 10, generator=generator)).Q.T
    directions = torch.randn(10, 8, dimensions, generator=generator) / dimensions**0.5
    labels, others = torch.randint(10, (2, count), generator=generator)
    others = torch.where(torch.rand(count, generator=generator) < 0.1, others, labels)
    share = torch.rand(count, 1, generator=generator) / 2
    spread = torch.einsum("nk,nkd->nd", torch.randn(count, 8, generator=generator) * 0.35, directions[labels])
    noise = torch.randn(count, dimensions, generator=generator) * 0.02
    return torch.nn.functional.normalize(centres[labels] * (1 - share) + centres[others] * share + spread + noise)


def measure_tsne() -> dict[str, Any]:
    """Seconds of the projection as a run calls it, its import included, and how good a picture it gives."""
    embeddings = clustered_embeddings(10_000, 128)
    started = time.perf_counter()
    points = torch.from_numpy(tsne(embeddings, seed=0))
    seconds = time.perf_counter() - started
    (_, near), (_, shown) = (nearest(rows, rows, NEIGHBORS + 1) for rows in (embeddings, points))
    is_kept = (near[:, 1:, None] == shown[:, None, 1:]).any(2)  # [N, k]; the first is the row itself
    return {"repetitions": 1, "seconds": round(seconds, 2), "neighbors_kept": round(float(is_kept.float().mean()), 4)}


def measure_first_load() -> dict[str, Any]:
    """Seconds to open the archive, split it and take the fingerprints: first without a cache, then with it."""
    command = [sys.executable, "-m", "benchmarks.loading", "small", "--folder", os.environ["TERCET_CIFAR10"]]
    with tempfile.TemporaryDirectory(prefix="tercet-around-") as folder:
        environment = os.environ | {"TERCET_CACHE": folder}
        first, second = (
            json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
            for _ in range(2)
        )
    return {"repetitions": 1, "first": first, "from_cache": second}


def measure_cold_start() -> dict[str, Any]:
    """Seconds of two commands from the shell's side."""
    with tempfile.TemporaryDirectory(prefix="tercet-around-") as folder:
        default_bundle().save(Path(folder) / "model")
        image = str(Path(folder) / "image.png")
        Image.fromarray(random_images(1)[0].permute(1, 2, 0).numpy()).save(image)
        commands = {"help": ["--help"], "predict": ["predict", image, "--model", folder]}
        seconds = {
            f"{name}_seconds": round(
                least_seconds(
                    partial(subprocess.run, [sys.executable, "-m", "tercet", *words], check=True, capture_output=True),
                    5,
                ),
                3,
            )
            for name, words in commands.items()
        }
    return {"repetitions": 5, **seconds}


def measure_logistic() -> dict[str, Any]:
    """Seconds and validation accuracy."""
    train, validation = open_dataset("cifar10").train.split(seed=0)
    started = time.perf_counter()
    classify = fit_logistic_regression(train, validation)
    seconds = time.perf_counter() - started
    accuracy = float((classify(validation.images).argmax(1) == validation.labels).float().mean())
    found = {"seconds": round(seconds, 1), "validation_accuracy": round(100 * accuracy, 2)}
    return {"repetitions": 1, "n_train": len(train), "n_validation": len(validation), **found}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "embedding": measure_embedding,
    "step": measure_step,
    "tsne": measure_tsne,
    "first_load": measure_first_load,
    "cold_start": measure_cold_start,
    "logistic": measure_logistic,
}


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default all)")
    parser.add_argument("--trial", action="store_true", help="print, do not keep")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"found the parts {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        if options.trial:
            print(json.dumps({"part": part, **PARTS[part]()}))
        elif not records.has("around", part=part):
            found = {"part": part, **PARTS[part](), "command": f"python -m benchmarks.around {part}"}
            records.append("around", found)


if __name__ == "__main__":
    main()
