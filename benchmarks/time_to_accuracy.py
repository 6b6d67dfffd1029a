"""Time to accuracy: seconds from images in memory to encoder and head, and what these then reach on the test set.

    python -m benchmarks.time_to_accuracy quick               one seed; needs $TERCET_CIFAR10
    python -m benchmarks.time_to_accuracy standard --seeds 3
    python -m benchmarks.time_to_accuracy --table

Settings were chosen on validation images before; here the encoder learns from all training images. The seconds begin
with the images in memory and end with the fitted head. In them are the self-test of the precision, the encoder, the
embedding of what the head learns from and the head. Its weight decay was chosen on validation images too, since those
that the encoder has learnt may choose too small a one (docs/log.md, 2026-11-30); its temperature is chosen on 5 % of
what it would learn from, which it is not fitted on. Not in the seconds are the reading of the data and the test set,
which is read once. No accuracy is looked at between epochs, but for a handful of training images.
Beside the accuracy stands that with test-time augmentation after Jordan 2024: by the mean of the probabilities of each
image and its shifts by a pixel to the four corners. Mirror images would say nothing new.
The machine's rate is that of a matrix product of 2048 x 2048 in the same process, just after; the operations of the
training are those of its convolutions and linear layers as they ran (benchmarks/rates.py), over the seconds of its
steps. Peak memory is that of the process until the head is fitted, reading the data and seeds before included.
results/time_to_accuracy.jsonl has one line a preset, data set, seed and precision; what is there with the same settings
is not run again. Of the two precisions a processor takes the one that is faster on it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from benchmarks import records
from benchmarks.probes import fit_probe, hold_out, judge, probabilities, search, shifted
from benchmarks.rates import counted_operations, matrix_product_rates, watch
from benchmarks.tables import markdown, spread
from tercet.config import PRESETS, Config, resolve
from tercet.data.sources import Dataset, open_dataset
from tercet.memory import peak_memory_bytes
from tercet.model.embed import embed
from tercet.model.head import Head
from tercet.preparation import JPEG_NOTE, choose_device, with_precision
from tercet.training import encoder as training
from tercet.training.bundle import embed_some
from tercet.training.encoder import train_encoder
from tercet.training.head import head_images

NAME = "time_to_accuracy"
WEIGHT_DECAY = 10.0  # of the head: docs/log.md, 2026-11-30
HELD_OUT = 0.05  # of what the head would learn from: a guess
SHIFTS = ((-1, -1), (-1, 1), (1, -1), (1, 1))  # (down, right) in pixels, of test-time augmentation
SHIFTED = "test_accuracy_with_shifted_images"  # which records of before 2026-11-29 do not have
LOOKED_AT = 10  # images whose accuracy is asked for after an epoch, which the loop wants
TARGETS = {  # on the JPEG copy: must, aim; seconds with the accuracy to be reached in them
    "quick": ("86 % in 180 s", "86 % in 90 s"),
    "standard": ("90 % in 900 s", "90 % in 360 s"),
    "full": ("92 % in 3,600 s", "93.5 % in 3,600 s"),
}


class Trained(NamedTuple):
    """What a person waits for, and how long."""

    encoder: torch.nn.Module
    head: Head
    precision: str
    figures: dict[str, Any]


def resolved(preset: str, seed: int, dataset: Dataset) -> Config:
    """The preset with everything filled in but the precision."""
    config = replace(PRESETS[preset], seed=seed, device=choose_device(PRESETS[preset].device))
    return resolve(config, image_count=len(dataset.train), size=dataset.size, flip=True)


def train(config: Config, dataset: Dataset) -> Trained:
    """Encoder and head from all training images, with the seconds of each part."""
    images, others, marks = dataset.train, watch(), [time.perf_counter()]
    config = with_precision(config, images)
    marks.append(time.perf_counter())
    with counted_operations() as operations, patch.object(training, "GALLERY_IMAGES", LOOKED_AT):
        encoder, history = train_encoder(config, images, images.select(torch.arange(LOOKED_AT)))
    marks.append(time.perf_counter())
    chosen = head_images(images.labels, config.head_images, config.seed)
    read = embed_some(encoder, images, chosen, config.precision).tensors["embeddings"], images.labels[chosen]
    marks.append(time.perf_counter())
    pairs = hold_out(read, HELD_OUT, config.seed)
    head, _ = fit_probe(*pairs, images.class_counts(), config, weight_decays=(WEIGHT_DECAY,))
    marks.append(time.perf_counter())
    parts = ("precision_seconds", "encoder_seconds", "embedding_seconds", "head_seconds")
    figures = {
        "seconds": round(marks[-1] - marks[0], 2),
        **{part: round(end - begin, 2) for part, begin, end in zip(parts, marks[:-1], marks[1:], strict=True)},
        "steps": history[-1]["step"],
        "images_per_second": round(history[-1]["images"] / history[-1]["seconds"], 1),
        "gflop_per_second": round(operations.count / history[-1]["seconds"] / 1e9, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "other_work": round(others(), 3),
    }
    return Trained(encoder, head, config.precision, figures)


def measure(preset: str, seed: int, dataset: Dataset) -> None:
    """Train once, read the test set once, append the record."""
    config = resolved(preset, seed, dataset)
    encoder, head, precision, figures = train(config, dataset)
    rates = matrix_product_rates(config.device, precision)
    test = dataset.test
    embeddings = embed(encoder, test.images)
    shares = probabilities(head, embeddings)
    views = [shares, *(probabilities(head, embed(encoder, shifted(test.images, *moved))) for moved in SHIFTS)]
    accuracy, error = judge(shares, test.labels)
    record = {
        **key(preset, seed, config, dataset.name),
        "n_train": len(dataset.train),
        "n_test": len(test),
        "epochs": config.epochs,
        "precision": precision,
        "test_accuracy": accuracy,
        SHIFTED: judge(torch.stack(views).mean(0), test.labels)[0],
        "calibration_error": error,
        **search(embeddings, test.labels),
        **figures,
        "matrix_product_gflop_per_second": rates,
        "command": f"python -m benchmarks.{NAME} {preset}",
    }
    records.append(NAME, record)
    print(f"{preset}, seed {seed}: {100 * accuracy:.2f} % in {figures['seconds']:.0f} s")


def key(preset: str, seed: int, config: Config, data: str) -> dict[str, Any]:
    """What a measurement is known by."""
    settings = {**records.settings(config), "head_weight_decay": WEIGHT_DECAY}
    return {"preset": preset, "seed": seed, "data": records.data_label(data), "settings": settings}


def is_there(preset: str, seed: int, dataset: Dataset) -> bool:
    """Whether it was measured at the precision of this machine, tried only where there is something to compare with."""
    config = resolved(preset, seed, dataset)
    found = records.select(records.read(NAME), **key(preset, seed, config, dataset.name))
    precisions = {record["precision"] for record in found}
    return bool(precisions) and with_precision(config, dataset.train).precision in precisions


def table() -> str:
    """A row a preset, data set and precision: mean ± standard deviation over the seeds with the newest settings."""
    heads = (
        *("preset", "data", "precision", "temperature", "n"),
        *("accuracy, %", "with shifted images, %", "seconds", "must", "aim"),
        *("recall@1, %", "MAP@R, %", "calibration error, %", "images/s", "GFLOP/s (of the matrix product's)"),
        "peak memory, GiB",
    )
    rows: list[Sequence[str]] = [heads]
    older, measured = 0, records.read(NAME)
    for preset, data in product(TARGETS, dict.fromkeys(record["data"] for record in measured)):
        every = records.select(measured, preset=preset, data=data)
        newest = records.newest(every)
        older += len(every) - len(newest)
        for precision in dict.fromkeys(record["precision"] for record in newest):
            rows.append([preset, data, precision, *cells(records.select(newest, precision=precision))])
    return markdown(rows, older=older)


def cells(found: list[dict[str, Any]]) -> list[str]:
    """What stands in a row behind preset, data and precision."""

    def cell(name: str, form: str = ".2f", scale: float = 100) -> str:
        return spread([record[name] or 0 for record in found], form, scale)

    rates = [record["matrix_product_gflop_per_second"][record["precision"]] for record in found]
    shares = [record["gflop_per_second"] / rate for record, rate in zip(found, rates, strict=True)]
    with_shifts = cell(SHIFTED) if all(SHIFTED in record for record in found) else ""
    must, aim = TARGETS[found[0]["preset"]] if found[0]["data"] == JPEG_NOTE else ("", "")
    return [
        *(records.temperature(found[0]), str(len(found))),
        *(cell("test_accuracy"), with_shifts, cell("seconds", ".0f", 1), must, aim),
        *(cell("recall@1"), cell("map@r"), cell("calibration_error"), cell("images_per_second", ",.0f", 1)),
        f"{cell('gflop_per_second', '.0f', 1)} ({spread(shares, '.0f', 100)} %)",
        cell("peak_memory_bytes", ".2f", 2**-30),
    ]


def main() -> None:
    """Measure what is not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", choices=TARGETS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.preset:
        dataset = open_dataset("cifar10")
        for seed in range(options.seeds):
            if is_there(options.preset, seed, dataset):
                print(f"{options.preset}, seed {seed}: is there already")
            else:
                measure(options.preset, seed, dataset)
    if options.table or not options.preset:
        print(table())


if __name__ == "__main__":
    main()
