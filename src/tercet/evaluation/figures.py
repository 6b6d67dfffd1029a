"""Draws the figures of a run folder from what the run saved: history, projection, predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch

from tercet.errors import ModelError
from tercet.evaluation import plots
from tercet.geometry.metrics import confusion_matrix


def write_figures(run: Path) -> None:
    """Write `figures/*.png`; a figure whose data the run does not have is left out."""
    folder = run / "figures"
    if (run / "history.jsonl").is_file():
        folder.mkdir(exist_ok=True)
        history = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
        plots.save(plots.accuracy_figure(history), folder / "accuracy.png")
        plots.save(plots.loss_figure(history), folder / "loss.png")
    if not (run / "predictions.csv").is_file():
        return
    try:
        data = json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]
        classes = tuple(data["classes"])
        position = {name: index for index, name in enumerate(classes)}
        with (run / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [(position[row["label"]], position[row["predicted"]]) for row in csv.DictReader(file)]
        pairs = torch.tensor(rows)
        confusion = confusion_matrix(pairs[:, 0], pairs[:, 1], len(classes)).numpy()
        plots.save(plots.confusion_figure(confusion, classes), folder / "confusion.png")
        if (run / "tsne.npz").is_file():
            with np.load(run / "tsne.npz", allow_pickle=False) as saved:
                points, labels = saved["points"], saved["labels"]
            title = f"t-SNE of the test embeddings: {data['note'] or data['name']}"
            plots.save(plots.tsne_figure(points, labels, classes, title), folder / "tsne.png")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ModelError(f"the run in {run} is damaged ({error}); run it again with --overwrite.") from error
