"""The reference runs: the whole job as a user runs it, and what each method reaches on the test set.

    python -m benchmarks.reference digits                 five seeds
    python -m benchmarks.reference quick                  three; needs $TERCET_CIFAR10
    python -m benchmarks.reference standard               three; the same
    python -m benchmarks.reference original               the original recipe for at least the seconds of `quick`
    python -m benchmarks.reference --table                the table of docs/results.md
    python -m benchmarks.reference --table short          the README's

Run folders are kept in runs/reference/; results/reference.jsonl has one line a job, data set and seed; what is there
with the same settings is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import tercet
from benchmarks import records
from benchmarks.tables import markdown
from benchmarks.versus_cross_entropy import parts
from tercet.config import PRESETS, Config, resolve
from tercet.data.sources import open_dataset
from tercet.evaluation.verdict import LABELS
from tercet.terminal import progress

# The original project's encoder, triplets, raw embeddings, margin (1) and optimizer (Adam, 1e-3), as the flags
# `--encoder classic --mining random --no-normalize` give them; schedule, augmentation and averaging are ours.
ORIGINAL = Config(encoder="classic", mining="random", normalize=False)
JOBS: dict[str, tuple[str, Config, int]] = {  # data, configuration, number of seeds
    "digits": ("digits", PRESETS["quick"], 5),
    "quick": ("cifar10", PRESETS["quick"], 3),
    "standard": ("cifar10", PRESETS["standard"], 3),
    "original": ("cifar10", ORIGINAL, 1),
}
SHOWN_IN_SHORT = ("triplet_mlp_head", "cnn_cross_entropy", "logistic_regression")
REPORTED = {"triplet_mlp_head": "86", "cnn_cross_entropy": "70 (its CNN)", "logistic_regression": "30"}
RUNS = Path("runs/reference")


def known_by(job: str) -> dict[str, Any]:
    """What a job's measurements are known by besides the seed; the original recipe's epochs are found anew."""
    data, config, _ = JOBS[job]
    dataset = open_dataset(data)
    train, _ = parts(dataset, 0)
    config = resolve(config, image_count=len(train), size=dataset.size, flip=data != "digits")
    return {"job": job, "data": records.data_label(dataset.name), "settings": records.settings(config)}


def measure(seed: int, key: dict[str, Any]) -> None:
    """Run one job with one seed and append its record."""
    job = key["job"]
    data, config, _ = JOBS[job]
    if job == "original":
        config = replace(config, epochs=epochs_of_equal_seconds(config))
    out = RUNS / re.sub(r"\W+", "-", f"{key['data']} {job} {seed}")
    started = time.perf_counter()
    with progress(quiet=False) as on_progress:
        results = tercet.run(data, out=out, config=replace(config, seed=seed), overwrite=True, on_progress=on_progress)
    run = json.loads((out / "run.json").read_text())
    records.append(
        "reference",
        {
            **key,
            "seed": seed,
            "n_test": results.data["n_test"],
            "epochs": run["config"]["epochs"],
            "precision": run["precision"],
            "wall_seconds": round(time.perf_counter() - started, 1),
            "peak_memory_bytes": results.peak_memory_bytes,
            "methods": {
                name: {key: figures[key] for key in ("test_accuracy", "ci95", "macro_f1", "fit_seconds")}
                for name, figures in results.methods.items()
            },
            "retrieval": results.retrieval,
            "calibration_error": results.calibration_error,
            "verdict": results.verdict,
            "machine": run["machine"],
            "commit": run["commit"],
            "command": f"python -m benchmarks.reference {job}",
        },
    )


def epochs_of_equal_seconds(config: Config) -> int:
    """Whole epochs that take the original recipe at least the encoder seconds of `quick`, from one trial epoch."""
    found = records.select(records.read("reference"), **known_by("quick"))
    if not found:
        raise SystemExit("measure `quick` first: its seconds are what the original recipe gets.")
    trial = RUNS / "original-trial"
    with progress(quiet=False) as on_progress:
        tercet.train(
            "cifar10",
            out=trial,
            config=replace(config, epochs=1, fewest_steps=1),
            overwrite=True,
            on_progress=on_progress,
        )
    first = json.loads((trial / "history.jsonl").read_text().splitlines()[0])
    seconds: float = first["seconds"]
    return math.ceil(_seconds(found[0]) / seconds)


def table(*, short: bool = False) -> str:
    """Test accuracy in percent of each method by job, as Markdown: mean ± sd over seeds, or one run's 95 % interval.

    The last column is what the project that tercet grew from reports of its own methods. The short table has neither
    the original's recipe nor the methods that nobody waits for.
    """
    measured = records.read("reference")
    groups = product(
        (job for job in JOBS if not (short and job == "original")), dict.fromkeys(record["data"] for record in measured)
    )
    every = {(job, data): records.select(measured, job=job, data=data) for job, data in groups}
    jobs = {key: records.newest(found) for key, found in every.items() if found}
    heads = [job if job == data else f"{job}: {data}" for job, data in jobs]
    rows = [["", *heads, "the original's report: CIFAR-10, lossless"]]
    for name, label in LABELS.items():
        if short and name not in SHOWN_IN_SHORT:
            continue
        cells = [_cell([record["methods"][name] for record in found]) for found in jobs.values()]
        rows.append([label, *cells, REPORTED.get(name, "")])
    rows.append(["temperature of the loss", *(records.temperature(found[0]) for found in jobs.values()), ""])
    for label, figure, form, of in (
        ("encoder + head, training seconds", _seconds, ".0f", fmean),
        ("the whole job, minutes", lambda record: record["wall_seconds"] / 60, ".1f", fmean),
        # The least, since further seeds of a process find what the first has left there.
        ("peak memory, GiB", lambda record: record["peak_memory_bytes"] / 2**30, ".1f", min),
    )[: 1 if short else None]:
        rows.append([label, *(format(of(map(figure, found)), form) for found in jobs.values()), ""])
    older = sum(len(found) for found in every.values()) - sum(len(found) for found in jobs.values())
    return markdown(rows, older=0 if short else older)


def _cell(figures: list[dict[str, Any]]) -> str:
    accuracies = [100 * figure["test_accuracy"] for figure in figures]
    if len(figures) > 1:
        return f"{fmean(accuracies):.2f} ± {stdev(accuracies):.2f} (n = {len(figures)})"
    low, high = (100 * bound for bound in figures[0]["ci95"])
    return f"{accuracies[0]:.1f} ({low:.1f} to {high:.1f})"


def _seconds(record: dict[str, Any]) -> float:
    return float(record["methods"]["triplet_mlp_head"]["fit_seconds"])


def main() -> None:
    """Measure what is not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?", choices=JOBS, help="one a process, for its peak memory to be its own")
    parser.add_argument("--table", nargs="?", choices=("whole", "short"), const="whole")
    options = parser.parse_args()
    if options.job:
        key = known_by(options.job)
        for seed in range(JOBS[options.job][2]):
            if records.has("reference", seed=seed, **key):
                print(f"{options.job}, seed {seed}: is there already")
            else:
                measure(seed, key)
    if options.table:
        print(table(short=options.table == "short"))


if __name__ == "__main__":
    main()
