"""Ours against the same network trained end to end by cross-entropy, in the same training seconds.

    python -m benchmarks.versus_cross_entropy quick               five seeds; needs $TERCET_CIFAR10
    python -m benchmarks.versus_cross_entropy standard            three seeds
    python -m benchmarks.versus_cross_entropy --table

Both learn from the training part with the same batches, augmentation and first weights. The seconds a step of both,
taken in turns, and those of our embedding pass and head are measured once a budget and written down as a record of
their own. From them follow the steps that cross-entropy gets: as many as fit into the seconds of our preset's steps,
embedding pass and head together. All seeds use these steps.
Ours is the frozen embedding with the small network on it. Of cross-entropy there is its own output, and its frozen
128-d embedding with the same small network, whose fitting comes to it without being counted. The encoders see every
label; the small network is fitted to 1 % and 10 % of them too, to the same images of each class for both, a fifth of
which chooses the weight decay. Searches are by the cosine. The test set is read once a method and seed.
Our settings are those of the preset, cross-entropy's the same but for `CROSS_ENTROPY`.
results/versus_cross_entropy.jsonl has one line a budget, precision, method and seed; what is there already is not run
again, and a training that was killed goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from torch import nn

from benchmarks import records
from benchmarks.probes import embedded, fit_probe, hold_out, judge, probabilities, read_off, stratified
from benchmarks.rates import (
    PACE_STEPS,
    DisturbedError,
    matrix_product_rates,
    seconds_per_step,
    undisturbed,
    with_steps,
)
from benchmarks.tables import interval, markdown, spread
from tercet.config import PRESETS, Config, resolve
from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset, open_dataset
from tercet.evaluation.baselines import train_cnn
from tercet.model.embed import embed
from tercet.preparation import choose_device, with_precision
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.encoder import fresh_encoder, train_encoder
from tercet.training.passes import step_count, steps_per_epoch

NAME = "versus_cross_entropy"
CROSS_ENTROPY: dict[str, Any] = {}  # settings in which the twin differs from the preset
SEEDS = {"quick": 5, "standard": 3}
OURS, TWIN = "triplet", "cross-entropy"
FEW_LABELS = (0.01, 0.1)
HELD_OUT = 0.2  # of the few labels, for the choice of weight decay: a guess
METRICS = {  # name in the record -> what the table says
    "accuracy": "accuracy (ours: head; cross-entropy: its own output)",
    "head_accuracy": "accuracy, small network on the frozen embedding",
    "accuracy_10_percent": "the same, small network fitted to 10 % of the labels",
    "accuracy_1_percent": "the same, small network fitted to 1 % of the labels",
    "recall@1": "recall@1",
    "map@r": "MAP@R",
    "calibration_error": "calibration error (ours: head; cross-entropy: its own output)",
    "head_calibration_error": "calibration error, small network on the frozen embedding",
}


def parts(dataset: Dataset, seed: int) -> tuple[ImageSet, ImageSet]:
    """Training and validation part, as a run has them."""
    return dataset.train.split(seed) if dataset.validation is None else (dataset.train, dataset.validation)


def resolved(budget: str, method: str, seed: int, train: ImageSet, size: int) -> Config:
    """A method's settings with everything filled in but the precision."""
    changes = CROSS_ENTROPY if method == TWIN else {}
    config = replace(PRESETS[budget], seed=seed, device=choose_device(PRESETS[budget].device), **changes)
    return resolve(config, image_count=len(train), size=size, flip=True)


def train_method(
    method: str, config: Config, train: ImageSet, validation: ImageSet, checkpoint: Checkpoint
) -> tuple[nn.Module, History]:
    """The encoder, or the encoder and the linear layer of cross-entropy, and the history."""
    learn = train_encoder if method == OURS else train_cnn
    return learn(config, train, validation, checkpoint=checkpoint)


def pace(budget: str, dataset: Dataset, steps: int = PACE_STEPS) -> dict[str, Any]:
    """The record of how fast both are at this machine's precision and how many steps each gets; measured if missing.

    Raises DisturbedError where other work would have decided that.
    """
    train, validation = parts(dataset, 0)
    configs = {method: resolved(budget, method, 0, train, dataset.size) for method in (OURS, TWIN)}
    precision = with_precision(configs[OURS], train).precision
    key = {
        "kind": "pace",
        "budget": budget,
        "precision": precision,
        "settings": {method: records.settings(config) for method, config in configs.items()},
    }
    if found := records.select(records.read(NAME), **key):
        return found[-1]
    configs = {method: replace(config, precision=precision) for method, config in configs.items()}

    def seconds_of(method: str, count: int) -> float:
        config = with_steps(configs[method], train.labels, count)
        return float(train_method(method, config, train, validation, Checkpoint(None, ""))[1][-1]["seconds"])

    with undisturbed():
        found_seconds = seconds_per_step({method: (partial(seconds_of, method), steps) for method in configs})
        encoder = fresh_encoder(configs[OURS], train, normalize=configs[OURS].normalize)
        started = time.perf_counter()
        fit_probe(*embedded(encoder, train, validation, configs[OURS]), train.class_counts(), configs[OURS])
        rest = time.perf_counter() - started
    ours = step_count(steps_per_epoch(train.labels, configs[OURS]), configs[OURS].epochs)
    record = {
        **key,
        "step_seconds": found_seconds,
        "embedding_and_head_seconds": round(rest, 4),
        "matrix_product_gflop_per_second": matrix_product_rates(configs[OURS].device, precision),
        "steps": {OURS: ours, TWIN: round((ours * found_seconds[OURS] + rest) / found_seconds[TWIN])},
        "command": f"python -m benchmarks.{NAME} {budget}",
    }
    records.append(NAME, record)
    return record


def measure(method: str, seed: int, dataset: Dataset, paced: dict[str, Any]) -> None:
    """Train one method for its steps, read the test set once, append the record; nothing if it is there."""
    train, validation = parts(dataset, seed)
    config = resolved(paced["budget"], method, seed, train, dataset.size)
    config = with_steps(replace(config, precision=paced["precision"]), train.labels, paced["steps"][method])
    key = {
        "kind": "run",
        "budget": paced["budget"],
        "method": method,
        "seed": seed,
        "data": records.data_label(dataset.name),
        "precision": config.precision,
        "settings": records.settings(config),
    }
    if records.has(NAME, **key):
        print(f"{paced['budget']}, {method}, seed {seed}: is there already")
        return
    checkpoint = records.checkpoint(NAME, key, config)
    network, history = train_method(method, config, train, validation, checkpoint)
    encoder, layer = network if isinstance(network, nn.Sequential) else (network, None)  # cross-entropy has a layer
    figures, (embeddings, labels) = read_off(encoder, train, validation, dataset.test, config)
    figures["accuracy"], figures["calibration_error"] = figures["head_accuracy"], figures["head_calibration_error"]
    if layer is not None:  # the test images' embeddings in float32, through the layer that was trained on them
        shares = probabilities(layer.cpu(), embeddings)
        figures["accuracy"], figures["calibration_error"] = judge(shares, labels)
    for share in FEW_LABELS:
        chosen = stratified(train.labels, share, seed)
        few = embed(encoder, train.images[chosen], precision=config.precision), train.labels[chosen]
        head, _ = fit_probe(*hold_out(few, HELD_OUT, seed), train.class_counts(), config)
        figures[f"accuracy_{round(100 * share)}_percent"] = judge(probabilities(head, embeddings), labels)[0]
    record = {
        **key,
        "n_train": len(train),
        "n_test": len(labels),
        "steps": history[-1]["step"],
        "step_seconds": history[-1]["seconds"],
        **figures,
        "command": f"python -m benchmarks.{NAME} {paced['budget']}",
    }
    records.append(NAME, record, checkpoint)
    print(f"{paced['budget']}, {method}, seed {seed}: {100 * figures['accuracy']:.2f} %")


def table() -> str:
    """A table a budget, data set and precision: means ± standard deviations, paired differences with 95 % interval."""
    texts = []
    measured = records.select(records.read(NAME), kind="run")
    found = (dict.fromkeys(record[field] for record in measured) for field in ("data", "precision"))
    for budget, data, precision in product(SEEDS, *found):
        runs = records.select(measured, budget=budget, data=data, precision=precision)
        by_method = {
            method: {record["seed"]: record for record in records.newest(records.select(runs, method=method))}
            for method in (OURS, TWIN)
        }
        seeds = sorted(by_method[OURS].keys() & by_method[TWIN].keys())
        if not seeds:
            continue
        temperature = records.temperature(by_method[OURS][seeds[0]])
        of = f"{budget}, {data}, {precision}, n = {len(seeds)}, percent"
        rows = [[of, f"ours, temperature {temperature}", "cross-entropy", "ours - cross-entropy (95 %)"]]
        for metric, label in METRICS.items():
            ours, twin = ([by_method[method][seed][metric] for seed in seeds] for method in (OURS, TWIN))
            differences = [one - other for one, other in zip(ours, twin, strict=True)]
            rows.append([label, spread(ours, scale=100), spread(twin, scale=100), interval(differences, scale=100)])
        steps = [[by_method[method][seed]["step_seconds"] for seed in seeds] for method in (OURS, TWIN)]
        rows.append(["seconds in steps", *(spread(seconds, ".0f") for seconds in steps), ""])
        older = len(runs) - sum(len(found) for found in by_method.values())
        texts.append(markdown(rows, older=older))
    return "\n\n".join(texts)


def main() -> None:
    """Measure what is not there yet, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("budget", nargs="?", choices=SEEDS)
    parser.add_argument("--seeds", type=int, help="(default five for quick, three for standard)")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.budget:
        dataset = open_dataset("cifar10")
        try:
            paced = pace(options.budget, dataset)
        except DisturbedError as error:
            sys.exit(str(error))
        for seed in range(options.seeds or SEEDS[options.budget]):
            for method in (OURS, TWIN):
                measure(method, seed, dataset, paced)
    if options.table or not options.budget:
        print(table())


if __name__ == "__main__":
    main()
