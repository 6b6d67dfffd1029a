"""Reads the files of a finished run folder; what is not there is None or empty, what is damaged a sentence.

Knows the formats, not what the figures and the page make of them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tercet.errors import ModelError
from tercet.evaluation.separation import Separation, separation


def seed_folders(run: Path) -> list[Path]:
    """The folders of the single seeds, if the run has several, in order."""
    return sorted(run.glob("seed-*/"), key=lambda folder: (len(folder.name), folder.name))


def figures_folder(run: Path) -> Path:
    """The folder that shows what a run found: itself, or its first seed's."""
    return next(iter(seed_folders(run)), run) if not (run / "figures").is_dir() else run


def read_record(path: Path) -> Mapping[str, Any] | None:
    """A JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(value, dict):
        raise _damaged(path, "no JSON object")
    return value


def read_history(run: Path) -> list[Mapping[str, Any]]:
    """The records of `history.jsonl`."""
    path = run / "history.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_predictions(run: Path) -> list[dict[str, str]]:
    """The rows of `predictions.csv`, one a test image, in their order."""
    return read_rows(run / "predictions.csv")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; bytes of a file name that are no text are kept as surrogates."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, csv.Error) as error:
        raise _damaged(path, error) from error


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray] | None:
    """The arrays of these names in an `.npz`, without reading the others; a name that it lacks is left out."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in names if name in saved}
        if strangers := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{strangers[0]} is no array")
        return arrays
    except FileNotFoundError:
        return None
    except Exception as error:  # what is damaged, or an .npy, or claims a size that no memory has, fails in many ways
        raise _damaged(path, error) from error


def read_pairs(run: Path) -> Separation | None:
    """The distances between test embeddings, of the same pairs each time."""
    embedded = read_arrays(run / "embeddings.npz", "test", "test_labels")
    return separation(embedded["test"], embedded["test_labels"], seed=0) if embedded else None


def read_train_counts(run: Path, classes: Sequence[str]) -> dict[str, int]:
    """How many images of each class were trained on; empty where that is not known."""
    saved = read_arrays(run / "embeddings.npz", "train_labels")
    if not saved or not classes:
        return {}
    return dict(zip(classes, np.bincount(saved["train_labels"], minlength=len(classes)).tolist(), strict=True))


def _damaged(path: Path, fault: object) -> ModelError:
    return ModelError(f"found {path} unreadable ({fault}); expected a finished run, so run again with --overwrite.")
