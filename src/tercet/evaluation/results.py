"""Results: what `results.json` holds, from the predictions of each method on the same test images.

Knows probabilities and labels only; no network and no file but the two it writes.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.data.imageset import ImageSet
from tercet.files import write_atomically
from tercet.geometry.metrics import accuracy, balanced_accuracy, confusion_matrix, macro_f1, recalls, wilson_interval


@dataclass(frozen=True)
class Results:
    """All figures of a run, as in `results.json`."""

    data: dict[str, Any]  # name, classes, number of images of each part
    methods: dict[str, dict[str, Any]]  # by name: test_accuracy, ci95, balanced_accuracy, macro_f1, per_class, ...
    retrieval: dict[str, float | None]  # recall@1 and map@r among the test images
    calibration_error: float  # expected, of the triplet encoder with its head; 0 to 1
    verdict: str  # ahead of the CNN, level with it or behind, by a paired test; empty where it was not compared
    timing: dict[str, float] = field(default_factory=dict)  # seconds by station
    peak_memory_bytes: int | None = None  # of the process; None where the system does not tell

    def to_json(self) -> str:
        """As JSON text; a number that does not exist, such as the recall of an empty class, becomes null."""
        return json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_atomically(path, self.to_json() + "\n")


def load_results(path: Path) -> Results:
    """Read what `save` wrote."""
    return Results(**json.loads(path.read_text(encoding="utf-8")))


def method_figures(
    probabilities: Float[Tensor, "N C"], labels: Int64[Tensor, " N"], classes: Sequence[str], fit_seconds: float
) -> dict[str, Any]:
    """The figures of one method on the test set."""
    confusion = confusion_matrix(labels, probabilities.argmax(1), len(classes))
    counts, found = confusion.sum(1).tolist(), recalls(confusion).tolist()
    return {
        "test_accuracy": accuracy(confusion),
        "ci95": list(wilson_interval(int(confusion.trace()), len(labels))),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "fit_seconds": round(fit_seconds, 3),
        "per_class": {
            name: {"n": count, "recall": recall} for name, count, recall in zip(classes, counts, found, strict=True)
        },
    }


def write_predictions(path: Path, test: ImageSet, probabilities: Float[Tensor, "N C"]) -> None:
    """`predictions.csv`: index, path, label, predicted and its probability, class names in words."""
    confidence, predicted = probabilities.max(1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "path", "label", "predicted", "probability"])
    for index, (label, guess, share) in enumerate(
        zip(test.labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
    ):
        path_inside = test.paths[index] if test.paths else ""
        writer.writerow([index, path_inside, test.classes[label], test.classes[guess], f"{share:.6f}"])
    write_atomically(path, text.getvalue())


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def correctness(probabilities: Float[Tensor, "N C"], labels: Int64[Tensor, " N"]) -> Tensor:
    """Whether each image was classified rightly, as bool [N]."""
    return torch.eq(probabilities.argmax(1), labels)
