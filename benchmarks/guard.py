"""Does the guard leave healthy training alone, name what is planted, and help? On one thread, about fifteen minutes.

    nice python -m benchmarks.guard            needs $TERCET_CIFAR10, the JPEG copy of CIFAR-10
    python -m benchmarks.guard --table

`digits` is trained in the default configuration; CIFAR-10 on 2,000 of its images with a narrow encoder. Where the guard
may act, the same run with acting switched off stands beside it. results/guard.jsonl has one line a case and seed, and
what is there already is not run again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import records
from tercet.config import Config, resolve
from tercet.data.imageset import ImageSet
from tercet.data.sources import open_dataset
from tercet.errors import TrainingError
from tercet.run_folder import machine
from tercet.training import encoder, guard, loop
from tercet.training.encoder import train_encoder

TRAIN_IMAGES, VALIDATION_IMAGES = 2_000, 1_000  # of CIFAR-10
NARROW = Config(widths=(8, 16, 32), precision="bf16", device="cpu")
SPOILED = 123  # index of the image that is no number


class Case(NamedTuple):
    """A training, what is planted in it, and the words by which the guard should name that; "" for healthy."""

    data: str
    seeds: int
    changes: dict[str, Any] = {}  # noqa: RUF012
    rate: float = 1.0
    planted: str = ""
    named: str = ""


CASES = {
    "digits": Case("digits", 20, {"widths": Config.widths}),
    "cifar10": Case("cifar10", 20),
    "semi-hard": Case("cifar10", 3, {"mining": "semi-hard"}),
    "random": Case("cifar10", 3, {"mining": "random"}),
    "supcon": Case("cifar10", 3, {"loss": "supcon"}),
    "hard, digits": Case("digits", 3, {"mining": "hard"}),
    "rate x 100": Case("cifar10", 5, rate=100, named="turned the weights"),
    "rate x 100, supcon": Case("cifar10", 5, {"loss": "supcon"}, rate=100, named="turned the weights"),
    "hard, margin 0.2": Case("cifar10", 5, {"mining": "hard", "margin": 0.2}, named="a collapse of the encoder"),
    "raw embeddings": Case("cifar10", 5, {"normalize": False}, named="turned the weights"),
    "NaN image": Case("cifar10", 5, planted="nan", named=f"index {SPOILED};"),
    "one class a batch": Case("cifar10", 5, planted="one class", named="of one class;"),
}


@cache
def parts(data: str) -> tuple[ImageSet, ImageSet]:
    """The training and validation part."""
    train, validation = open_dataset(data).train.split(0)
    if data == "digits":
        return train, validation
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    return train.select(chosen[:TRAIN_IMAGES]), train.select(chosen[TRAIN_IMAGES:][:VALIDATION_IMAGES])


def spoiled_inputs(images: Tensor, config: Config) -> loop.Inputs:
    """Batches in which one image is no number."""
    sound = loop.image_inputs(images, config)

    def inputs(indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        batch = sound(indices, epoch, generator).float()
        batch[indices == SPOILED] = torch.nan
        return batch

    return inputs


def one_class_plan(labels: Tensor, config: Config, epoch: int) -> Tensor:
    """Batches of 100 images of one class each; the classes take turns."""
    del config, epoch
    return torch.stack([torch.nonzero(labels == label).flatten()[:100] for label in labels.unique()])


PLANTED: dict[str, Callable[[], Any]] = {
    "nan": lambda: patch.object(encoder, "image_inputs", spoiled_inputs),
    "one class": lambda: patch.object(loop, "plan_epoch", one_class_plan),
    "": lambda: patch.object(encoder, "NEIGHBORS", encoder.NEIGHBORS),  # nothing
}


def train(case: Case, seed: int) -> dict[str, Any]:
    """Train once; what the guard said and did, and what came out."""
    train_part, validation = parts(case.data)
    config = resolve(
        replace(NARROW, seed=seed, **case.changes),
        image_count=len(train_part),
        size=train_part.images.shape[-1],
        flip=case.data != "digits",
    )
    config = replace(config, learning_rate=case.rate * float(config.learning_rate or 0))
    started, history, error = time.perf_counter(), [], ""
    with PLANTED[case.planted]():
        try:
            _, history = train_encoder(config, train_part, validation)
        except TrainingError as stopped:
            error = str(stopped)
    return {
        "interventions": [record["intervention"] for record in history if "intervention" in record],
        "error": error,
        "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
        "seconds": round(time.perf_counter() - started, 1),
    }


def measure(name: str, seed: int) -> None:
    """Run one case with one seed, without acting as well where the guard may act, and append the record."""
    case = CASES[name]
    record = {"case": name, "seed": seed, "planted": case.named, **train(case, seed)}
    said = "; ".join([*record["interventions"], record["error"]])
    record["right"] = case.named in said if case.named else not said.strip("; ")
    if case.named and not case.planted:
        with patch.object(guard.Guard, "find", lambda *_: None):
            record["unguarded_accuracy"] = train(case, seed)["validation_accuracy"]
    records.append("guard", {**record, "machine": machine(), "command": "python -m benchmarks.guard"})


def table() -> str:
    """How many seeds were judged rightly, and mean validation accuracies of the nearest neighbours in percent."""
    lines = ["| case | right | interventions | guarded | unguarded |", "|---|--:|--:|--:|--:|"]
    for name in CASES:
        found = records.select(records.read("guard"), case=name)
        right, acted = sum(record["right"] for record in found), sum(bool(r["interventions"]) for r in found)
        accuracies = [
            [100 * record[key] for record in found if record.get(key) is not None]
            for key in ("validation_accuracy", "unguarded_accuracy")
        ]
        cells = [f"{fmean(values):.1f}" if values else "" for values in accuracies]
        lines.append(f"| {name} | {right} of {len(found)} | {acted} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        print(table())
        return
    torch.set_num_threads(1)
    for name, case in CASES.items():
        for seed in range(case.seeds):
            if not records.has("guard", case=name, seed=seed):
                measure(name, seed)


if __name__ == "__main__":
    main()
