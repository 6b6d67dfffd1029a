"""Unseen classes: how well an embedding tells apart classes that it was not trained on, by the loss it was trained by.

    python -m benchmarks.unseen            needs $TERCET_CIFAR10; about four minutes a method and draw without bfloat16
    python -m benchmarks.unseen --table

A draw trains on five of the ten classes; every second draw takes the five that the one before left out, so that each
class is unseen as often as seen. All methods have the settings of `quick` but for their losses, and so as many steps.
Of the test set, read once a method and draw, the images of the five unseen classes are searched among themselves by the
cosine, as is usual in metric learning (Musgrave et al., A metric learning reality check, ECCV 2020), and those of the
five seen ones likewise. "Untrained" is the same network with its first weights, "pixels" are the images themselves.
results/unseen.jsonl has one line a method and draw; what is there already is not run again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks import records
from benchmarks.probes import search
from benchmarks.tables import interval, markdown, spread
from tercet.config import PRESETS, Config, resolve
from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset, open_dataset
from tercet.evaluation.baselines import train_cnn
from tercet.model.embed import embed
from tercet.model.encoder import Encoder
from tercet.preparation import choose_device
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import fresh_encoder, train_encoder

NAME = "unseen"
DRAWS = 4
PRESET = replace(PRESETS["quick"], precision="fp32")  # on all machines alike: nothing is timed
LOSSES: dict[str, dict[str, Any]] = {  # numbers that `peers` chose; its margin is of distances that are not squared
    "triplet, semi-hard": {"loss": "triplet", "mining": "semi-hard", "margin": 0.05},
    "supcon": {"loss": "supcon", "temperature": 0.1},
}
OURS, TWIN, UNTRAINED, PIXELS = "proxy triplet (ours)", "cross-entropy", "untrained", "pixels"
METHODS = (OURS, TWIN, *LOSSES, UNTRAINED, PIXELS)
METRICS = {
    "unseen_recall@1": "recall@1, unseen classes",
    "unseen_map@r": "MAP@R, unseen classes",
    "seen_recall@1": "recall@1, seen classes",
    "seen_map@r": "MAP@R, seen classes",
}
COMPARED = "unseen_recall@1"


def halves(class_count: int, draw: int) -> tuple[list[int], list[int]]:
    """The classes that a draw trains on and those that it leaves out, each in order.

    >>> seen, unseen = halves(10, 0)
    >>> sorted(seen + unseen) == list(range(10)), halves(10, 1) == (unseen, seen)
    (True, True)
    """
    order = torch.randperm(class_count, generator=torch.Generator().manual_seed(draw // 2)).tolist()
    parts = sorted(order[: class_count // 2]), sorted(order[class_count // 2 :])
    return (parts[0], parts[1]) if draw % 2 == 0 else (parts[1], parts[0])


def only(images: ImageSet, classes: list[int]) -> ImageSet:
    """The images of these classes, which are in order and numbered anew."""
    kept = images.select(torch.isin(images.labels, torch.tensor(classes)).nonzero().flatten())
    labels = torch.searchsorted(torch.tensor(classes), kept.labels)
    return replace(kept, labels=labels, classes=tuple(images.classes[label] for label in classes))


def resolved(method: str, train: ImageSet, draw: int, size: int) -> Config:
    """A method's settings with everything filled in."""
    config = replace(PRESET, seed=draw, device=choose_device(PRESET.device), **LOSSES.get(method, {}))
    return resolve(config, image_count=len(train), size=size, flip=True)


def trained(method: str, config: Config, train: ImageSet, validation: ImageSet) -> nn.Module:
    """The network that embeds."""
    if method == PIXELS:
        mean, std = train.channel_statistics()
        return Encoder(nn.Flatten(), size=train.images.shape[-1], mean=mean, std=std, normalize=False)
    if method == UNTRAINED:
        return fresh_encoder(config, train, normalize=config.normalize).eval()
    if method == TWIN:
        return train_cnn(config, train, validation, checkpoint=Checkpoint(None, ""))[0][0]
    return train_encoder(config, train, validation)[0]


def measure(method: str, draw: int, dataset: Dataset) -> None:
    """Train by one method on one half of the classes and append the record; nothing if it is there."""
    seen, unseen = halves(len(dataset.train.classes), draw)
    train, validation = only(dataset.train, seen).split(draw)
    config = resolved(method, train, draw, dataset.size)
    data = records.data_label(dataset.name)
    key = {"method": method, "draw": draw, "data": data, "settings": records.settings(config)}
    if records.has(NAME, **key):
        return
    network = trained(method, config, train, validation)
    found: dict[str, float] = {}
    for name, classes in (("unseen", unseen), ("seen", seen)):
        asked = only(dataset.test, classes)
        figures = search(embed(network, asked.images), asked.labels)
        found |= {f"{name}_{metric}": value for metric, value in figures.items()}
    record = {
        **key,
        "precision": config.precision,
        "unseen": [dataset.train.classes[label] for label in unseen],
        "n_train": len(train),
        **found,
        "command": f"python -m benchmarks.{NAME}",
    }
    records.append(NAME, record)
    print(f"{method}, draw {draw}: recall@1 of unseen classes {100 * found['unseen_recall@1']:.1f} %")


def table() -> str:
    """A row a method: mean ± standard deviation over draws, in percent, and ours against it by the draws of both."""
    texts = []
    measured = records.read(NAME)
    for data in dict.fromkeys(record["data"] for record in measured):
        rows = [[f"{data}, percent", "draws", *METRICS.values(), f"ours - it, {METRICS[COMPARED]} (95 %)"]]
        by_method: dict[str, dict[int, dict[str, Any]]] = {}
        for method in METHODS:
            newest = records.newest(records.select(measured, data=data, method=method))
            by_method[method] = {record["draw"]: record for record in newest}
        for method, found in by_method.items():
            both = sorted(found.keys() & by_method[OURS].keys()) if method != OURS else []
            ahead = [by_method[OURS][draw][COMPARED] - found[draw][COMPARED] for draw in both]
            if found:
                cells = [spread([record[metric] for record in found.values()], ".1f", 100) for metric in METRICS]
                rows.append([method, str(len(found)), *cells, interval(ahead, "+.1f", 100) if ahead else ""])
        texts.append(markdown(rows))
    return "\n\n".join(texts)


def main() -> None:
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if not parser.parse_args().table:
        dataset = open_dataset("cifar10")
        for method in METHODS:
            for draw in range(DRAWS):
                measure(method, draw, dataset)
    print(table())


if __name__ == "__main__":
    main()
