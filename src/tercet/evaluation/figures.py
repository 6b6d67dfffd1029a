"""Draws the figures of a run folder from what the run saved: history, projection, embeddings, predictions."""

from __future__ import annotations

from pathlib import Path

import torch

from tercet.errors import ModelError
from tercet.evaluation import curves, plots
from tercet.evaluation.look import save
from tercet.evaluation.saved import read_arrays, read_history, read_pairs, read_predictions, read_record
from tercet.files import make_folder
from tercet.geometry.metrics import confusion_matrix


def write_figures(run: Path) -> None:
    """Write `figures/*.png`; a figure whose data the run does not have is left out."""
    folder = run / "figures"
    if history := read_history(run):
        make_folder(folder)
        save(curves.accuracy_figure(history), folder / "accuracy.png")
        save(curves.loss_figure(history), folder / "loss.png")
    rows = read_predictions(run)
    if not rows:
        return
    make_folder(folder)
    try:
        data = (read_record(run / "run.json") or {})["data"]
        classes = tuple(data["classes"])
        position = {name: index for index, name in enumerate(classes)}
        answers = torch.tensor([(position[row["label"]], position[row["predicted"]]) for row in rows])
        confusion = confusion_matrix(answers[:, 0], answers[:, 1], len(classes)).numpy()
        save(plots.confusion_figure(confusion, classes), folder / "confusion.png")
        if projection := read_arrays(run / "tsne.npz", "points", "labels"):
            title = f"t-SNE of the test embeddings: {data['note'] or data['name']}"
            figure = plots.tsne_figure(projection["points"], projection["labels"], classes, title)
            save(figure, folder / "tsne.png")
        if pairs := read_pairs(run):
            save(plots.distances_figure(pairs), folder / "distances.png")
    except (ValueError, KeyError, IndexError) as error:
        raise ModelError(f"the run in {run} is damaged ({error}); run it again with --overwrite.") from error
