"""Runs and an estimator that take seconds, and what must repeat of a run."""

import json
from pathlib import Path
from unittest.mock import patch

from tercet.config import PRESETS, Config
from tercet.estimator import TripletClassifier

SMALL = Config(epochs=2, fewest_steps=16, batch_size=24, widths=(8, 16, 16), dimensions=16, precision="fp32")
NARROW = Config(fewest_steps=20, widths=(8, 8, 8), precision="fp32")  # for `quick`, where learning well is not asked
METHODS = {
    *("triplet_mlp_head", "triplet_linear_head", "triplet_knn"),
    *("cnn_cross_entropy", "logistic_regression", "majority"),
}


class NarrowClassifier(TripletClassifier):
    """For processes that scikit-learn starts, in which no fixture is at work."""

    def fit(self, X, y):
        with patch.dict(PRESETS, quick=NARROW):
            return super().fit(X, y)


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def without_times(results: Path) -> dict:
    kept = json.loads(results.read_text())
    kept.pop("timing"), kept.pop("peak_memory_bytes")
    for figures in kept["methods"].values():
        figures.pop("fit_seconds")
    return kept
