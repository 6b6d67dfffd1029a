"""Does the guard leave healthy training alone, name what is planted, and help? Half an hour beside other work.

    nice python -m benchmarks.guard            needs $TERCET_CIFAR10, the JPEG copy of CIFAR-10

`digits` is trained in the default configuration; CIFAR-10 on 2,000 of its images with a narrow encoder. Where the guard
may act, the same run with acting switched off stands beside it. results/guard.jsonl has one line a case and seed, and
what is there already is not run again.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
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
from tercet.training import encoder, loop
from tercet.training.checkpoint import History, TrainingState
from tercet.training.encoder import train_encoder
from tercet.training.faults import Fault, Step
from tercet.training.guard import Guard

NARROW = Config(widths=(8, 16, 32), precision="bf16", device="cpu")
SPOILED = 123  # index of the image that is no number


class Case(NamedTuple):
    """A training, the words by which the guard should name its fault, and what plants that."""

    data: str
    seeds: int
    changes: dict[str, Any] = {}  # noqa: RUF012
    rate: float = 1.0
    named: str = ""
    plant: tuple[Any, ...] = ()


@cache
def parts(data: str) -> tuple[ImageSet, ImageSet]:
    """The training and validation part."""
    train, validation = open_dataset(data).train.split(0)
    if data == "digits":
        return train, validation
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    return train.select(chosen[:2_000]), train.select(chosen[2_000:3_000])


def spoiled(images: Tensor, config: Config, value: float = torch.nan) -> loop.Inputs:
    """Batches in which one image is no number."""
    sound = loop.image_inputs(images, config)
    return lambda at, *place: sound(at, *place).float().masked_fill((at == SPOILED)[:, None, None, None], value)


def one_class(labels: Tensor, *_: object) -> Tensor:
    """The plan of an epoch of batches of 100 images, each of one class."""
    return torch.stack([torch.nonzero(labels == label).flatten()[:100] for label in labels.unique()])


CASES = {
    "digits": Case("digits", 20, {"widths": Config.widths}),
    "cifar10": Case("cifar10", 20),
    "semi-hard": Case("cifar10", 3, {"mining": "semi-hard"}),
    "random": Case("cifar10", 3, {"mining": "random"}),
    "supcon": Case("cifar10", 3, {"loss": "supcon"}),
    "rate x 100": Case("cifar10", 5, rate=100, named="turned the weights"),
    "hard, margin 0.2": Case("cifar10", 5, {"mining": "hard", "margin": 0.2}, named="a collapse of the encoder"),
    # Some seeds diverge at the default rate; the guard should leave the others alone.
    "raw embeddings": Case("cifar10", 5, {"normalize": False}, named="turned the weights"),
    "NaN image": Case("cifar10", 5, {}, 1.0, f"index {SPOILED};", (encoder, "image_inputs", spoiled)),
    "one class a batch": Case("cifar10", 5, {}, 1.0, "of one class;", (loop, "plan_pass", one_class)),
}


def train(case: Case, seed: int, *, acting: bool = True) -> dict[str, Any]:
    """Train once; the extremes of what the guard watches, what it did, and what came out."""
    train_part, validation = parts(case.data)
    size, flip = train_part.images.shape[-1], case.data != "digits"
    config = resolve(replace(NARROW, seed=seed, **case.changes), image_count=len(train_part), size=size, flip=flip)
    config = replace(config, learning_rate=case.rate * float(config.learning_rate or 0))
    started, error, find = time.perf_counter(), "", Guard.find
    history: History = []
    seen: list[tuple[float, ...]] = []

    def watched(self: Guard, step: Step, idle_loss: float | None, state: TrainingState) -> Fault | None:
        fault = find(self, step, idle_loss, state)
        seen.append((round(step.degrees, 2), state.collapsed_steps, state.idle_steps))
        return fault if acting else None

    with patch.object(*case.plant) if case.plant else nullcontext(), patch.object(Guard, "find", watched):
        try:
            _, history = train_encoder(config, train_part, validation)
        except TrainingError as stopped:
            error = str(stopped)
    return {
        "interventions": records.interventions(history),
        "error": error,
        "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
        "most_degrees_collapsed_idle": [max(values) for values in zip(*seen, strict=True)],
        "seconds": round(time.perf_counter() - started, 1),
    }


def measure(name: str, seed: int) -> None:
    """Run one case with one seed, without acting as well where the guard may act, and append the record."""
    case = CASES[name]
    record = {"case": name, "seed": seed, "planted": case.named, **train(case, seed)}
    said = "; ".join(filter(None, [*record["interventions"], record["error"]]))
    record["right"] = case.named in said if case.named else said == ""
    if case.named and not case.plant:
        record["unguarded_accuracy"] = train(case, seed, acting=False)["validation_accuracy"]
    records.append("guard", {**record, "command": "python -m benchmarks.guard"})


def table() -> str:
    """Seeds left alone or named as planned, and mean validation accuracy of the nearest neighbours in percent."""
    lines = ["| case | seeds as planned | guarded | unguarded |", "|---|--:|--:|--:|"]
    for name in CASES:
        found = records.select(records.read("guard"), case=name)
        cells = [f"{sum(record['right'] for record in found)} of {len(found)}"]
        for key in ("validation_accuracy", "unguarded_accuracy"):
            values = [100 * record[key] for record in found if record.get(key) is not None]
            cells.append(f"{fmean(values):.1f}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet, and print the table."""
    torch.set_num_threads(1)
    for name, case in CASES.items():
        for seed in range(case.seeds):
            if not records.has("guard", case=name, seed=seed):
                measure(name, seed)
    print(table())


if __name__ == "__main__":
    main()
