"""The model that comes with tercet: from a run folder on CIFAR-10 to `src/tercet/models/cifar10`.

    python -m benchmarks.shipped runs/shipped        both need $TERCET_CIFAR10, here the lossless images
    python -m benchmarks.shipped                     what is shipped, on the test part of another copy

What is shipped was trained by `tercet train cifar10 --preset standard --precision fp32` when `standard` was one network
(the card names the commit); two may be larger than MOST_BYTES. Its matrices and filters are kept in half precision, and
both forms are judged on the test part, which no choice was made on: results/shipped.jsonl has a line with both. The
card is that of `tercet run`, with the figures of what is shipped. Where half precision costs more than LOST of the
accuracy, or the weights are larger than MOST_BYTES, it ends with an error.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import records
from tercet.config import DEFAULT_MODEL
from tercet.evaluation.card import write_card
from tercet.evaluation.results import Results, load_results
from tercet.model.bundle import SHIPPED, load_bundle
from tercet.pipeline import evaluate
from tercet.run_folder import read_json

NAME, DATA = "shipped", "cifar10"
LOST, MOST_BYTES = 0.0005, 6_000_000
OURS = "triplet_mlp_head"
EDITS = {  # of the card that a run folder gets
    "license: unknown": "license: mit",
    'tercet.load(".")  # this folder, or what huggingface_hub.snapshot_download gives': (
        f'tercet.load("{DEFAULT_MODEL}")  # comes with tercet, works without network'
    ),
    "## Data\n": (
        "## Data\n\nCIFAR-10 (Krizhevsky, Learning multiple layers of features from tiny images, 2009) states no "
        "licence.\nThe weights are tercet's, under its MIT licence, and no image comes with them.\n"
    ),
    "## Limits\n\n": (
        "## Limits\n\n- Weights are kept in half precision and computed with in single precision; the figures are of "
        "these.\n- Made for photographs of one thing that fills the picture, seen at 32 x 32 pixels; drawings, scenes "
        "and small things\n  in a large photograph are not what it has learnt.\n"
        "- Trained without compression: it knows fewer of small images that were strongly compressed at that size.\n"
    ),
    "## Repeat it\n\n": (
        "## Repeat it\n\nBy tercet of the commit below, whose `standard` was one network for nine epochs. Today the "
        "same settings are\n"
        '`replace(PRESETS["standard"], members=1, epochs=9, precision="fp32")`, from `tercet.config`:\n\n'
    ),
}


def main(run: Path) -> None:
    """Write the record of what a run reaches in both forms, and, if it may be shipped, the folder of the model."""
    with tempfile.TemporaryDirectory() as made:
        candidate = Path(made) / DEFAULT_MODEL
        half = judge(run, candidate)
        (candidate / "README.md").write_text(card(run, half))
        shutil.rmtree(SHIPPED[DEFAULT_MODEL], ignore_errors=True)
        shutil.copytree(candidate, SHIPPED[DEFAULT_MODEL])


def judge(run: Path, candidate: Path) -> Results:
    """Save the run's model in half precision as `candidate`, judge and record both, and give what half reaches."""
    bundle = load_bundle(run)
    bundle.save(candidate, half=True)
    size = (candidate / "model.safetensors").stat().st_size
    single, half = evaluate(DATA, bundle), evaluate(DATA, load_bundle(candidate))
    accuracies = [found.methods[OURS]["test_accuracy"] for found in (single, half)]
    is_shipped = accuracies[0] - accuracies[1] <= LOST and size <= MOST_BYTES
    print(f"test accuracy in single and half precision: {accuracies}; {size:,} bytes")
    record = read_json(run / "run.json")
    records.append(
        NAME,
        {
            "is_shipped": is_shipped,
            "settings": record["config"],
            "data": record["data"]["note"] or record["data"]["name"],
            "fingerprint": record["data"]["fingerprint"],
            "n_train": record["data"]["n_train"],
            "test_accuracy_single": accuracies[0],
            **reached(half),
            "bytes": size,
            "trained_by": record["command"],
            "trained_at": record["commit"],
            "trained_on": record["machine"],
            "command": f"python -m benchmarks.{NAME} {run}",
        },
    )
    if not is_shipped:
        sys.exit(f"not to be shipped: at most {LOST} may be lost, and {MOST_BYTES:,} bytes taken")
    return half


def judge_elsewhere() -> None:
    """Record what the shipped model reaches on the test part of the copy that $TERCET_CIFAR10 names."""
    found = evaluate(DATA, load_bundle(SHIPPED[DEFAULT_MODEL]))
    figures = reached(found)
    records.append(
        NAME,
        {
            "elsewhere": found.data["name"],
            "data": records.data_label(found.data["name"]),
            **figures,
            "command": f"python -m benchmarks.{NAME}",
        },
    )
    print(f"{found.data['name']}: test accuracy {figures['test_accuracy']}")


def reached(found: Results) -> dict[str, Any]:
    """What a record says of a judged model."""
    ours = found.methods[OURS]
    return {
        "n_test": found.data["n_test"],
        "test_accuracy": ours["test_accuracy"],
        "ci95": ours["ci95"],
        **found.retrieval,
        "calibration_error": found.calibration_error,
    }


def card(run: Path, judged: Results) -> str:
    """The card of a run, with the figures of what is shipped, and those of other methods where they were trained."""
    known = load_results(run / "results.json") if (run / "results.json").exists() else judged
    low, high = judged.methods[OURS]["ci95"]
    verdict = known.verdict or (
        f"It recognises {100 * judged.methods[OURS]['test_accuracy']:.1f} % of the test images "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f})."
    )
    results = replace(
        judged, data=read_json(run / "run.json")["data"], methods={**known.methods, **judged.methods}, verdict=verdict
    )
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "run"
        (copy / "model").mkdir(parents=True)
        for name in ("run.json", "history.jsonl", "model/config.json"):
            shutil.copy(run / name, copy / name)
        results.save(copy / "results.json")
        write_card(copy)
        text = (copy / "model" / "README.md").read_text()
    for found, wanted in EDITS.items():
        assert text.count(found) == 1, found
        text = text.replace(found, wanted)
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1])) if len(sys.argv) > 1 else judge_elsewhere()
