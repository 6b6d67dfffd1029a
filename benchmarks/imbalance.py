"""Imbalance: what a training set whose largest class has twenty times the images of its smallest one costs, and what
weighing the classes equally in the head's loss changes.

    python -m benchmarks.imbalance            needs $TERCET_CIFAR10; about a minute a seed
    python -m benchmarks.imbalance --table

The training set takes 1,000 images of the first class down to 50 of the last, falling geometrically, with the classes
in an order drawn by the seed. Encoder and CNN are trained once a seed, the heads on the same embedding. Since a default
is chosen by it, every method is judged on 1,000 other images a class of the training part, not on the test set: as they
are, which counts every class the same (balanced accuracy), and weighted to the training set's shares.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import records
from benchmarks.tables import markdown, spread
from tercet.config import Config, resolve
from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset, open_dataset
from tercet.evaluation.baselines import fit_cnn, fit_logistic_regression, fit_majority
from tercet.evaluation.readers import fit_knn
from tercet.geometry.metrics import confusion_matrix, macro_f1, recalls
from tercet.model.embed import embed
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import train_encoder
from tercet.training.head import HIDDEN, fit_head

MOST, FEWEST, SEEDS = 1_000, 50, 3
JUDGED = 1_000  # images a class
CONFIG = Config(epochs=8, precision="bf16", device="cpu")  # some 250 steps


def long_tail(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """A subset whose class sizes fall geometrically in an order drawn by the seed, and other images to judge on."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randperm(len(images.classes), generator=generator).tolist()
    sizes = torch.logspace(0, 1, len(classes), base=FEWEST / MOST).mul(MOST).round().int().tolist()
    chosen, judged = [], []
    for label, size in zip(classes, sizes, strict=True):
        members = torch.nonzero(images.labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        chosen.append(members[:size])
        judged.append(members[-JUDGED:])
    return images.select(torch.cat(chosen).sort().values), images.select(torch.cat(judged).sort().values)


def figures(probabilities: Tensor, judged: ImageSet, train: ImageSet) -> dict[str, float]:
    """Balanced accuracy, accuracy under the training set's shares, macro F1 and the recall of the three rarest."""
    confusion = confusion_matrix(judged.labels, probabilities.argmax(1), len(judged.classes))
    counts = torch.tensor(train.class_counts())
    found = recalls(confusion)
    return {
        "balanced_accuracy": float(found.mean()),
        "accuracy_at_training_shares": float(found @ (counts / counts.sum())),
        "macro_f1": macro_f1(confusion),
        "recall_of_three_rarest": float(found[counts.argsort()[:3]].mean()),
    }


def measure(seed: int, dataset: Dataset) -> None:
    """Train on one long tail and append a record a method; nothing if they are there."""
    tail, judged = long_tail(dataset.train, seed)
    train, validation = tail.split(seed)
    config = resolve(replace(CONFIG, seed=seed), image_count=len(train), size=dataset.size, flip=True)
    data = f"{records.data_label(dataset.name)}, {MOST // FEWEST}:1"
    known_by = {"data": data, "seed": seed, "settings": records.settings(config)}
    if records.has("imbalance", **known_by):
        return
    encoder, _ = train_encoder(config, train, validation)
    learned, chosen, asked = (
        (embed(encoder, part.images, precision=config.precision), part.labels) for part in (train, validation, judged)
    )
    methods = {}
    for class_weight in ("none", "balanced"):
        head, _ = fit_head(
            learned,
            chosen,
            class_counts=train.class_counts(),
            hidden=HIDDEN,
            seed=seed,
            class_weight=class_weight,
        )
        methods[f"triplet, MLP head, class_weight {class_weight}"] = head(asked[0]).detach()
    methods["triplet, kNN"] = fit_knn(learned, chosen, len(train.classes))(asked[0])
    cnn, _ = fit_cnn(config, train, validation, checkpoint=Checkpoint(None, ""))
    methods["CNN, cross-entropy"] = cnn(judged.images)
    methods["logistic regression"] = fit_logistic_regression(train, validation)(judged.images)
    methods["majority"] = fit_majority(train)(judged.images)
    for method, outputs in methods.items():
        found = {"method": method, "n_train": len(train), **figures(outputs, judged, train)}
        records.append("imbalance", {**known_by, **found, "command": "python -m benchmarks.imbalance"})


def table() -> str:
    """Mean and standard deviation over seeds, in percent, as Markdown."""
    by_method = defaultdict(list)
    for record in records.newest(records.read("imbalance")):
        by_method[record["data"], record["method"]].append(record)
    names = ("balanced_accuracy", "accuracy_at_training_shares", "macro_f1", "recall_of_three_rarest")
    rows = [["data", "method", *(name.replace("_", " ") for name in names)]]
    for (data, method), found in by_method.items():
        rows.append([data, method, *(spread([record[name] for record in found], ".1f", 100) for name in names)])
    return markdown(rows)


def main() -> None:
    """Measure what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true")
    if not parser.parse_args().table:
        dataset = open_dataset("cifar10")
        for seed in range(SEEDS):
            measure(seed, dataset)
    print(table())


if __name__ == "__main__":
    main()
