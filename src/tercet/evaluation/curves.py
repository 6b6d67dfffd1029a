"""The curves of training: each function takes the history and returns a matplotlib figure.

Knows nothing of run folders or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tercet.evaluation.look import WIDTH, in_our_look, percent
from tercet.evaluation.palette import PALETTE

History = Sequence[Mapping[str, Any]]  # the lines of history.jsonl

PHASES = {"encoder": (PALETTE[0], "o"), "cnn": (PALETTE[5], "s"), "head": (PALETTE[2], "^")}


@in_our_look
def accuracy_figure(history: History) -> Figure:
    """Validation accuracy of encoder and same network by cross-entropy against training time; the head's by epoch."""
    validation = "validation_accuracy"
    learners = {
        "encoder, nearest neighbours": ("encoder", validation),
        "same network, cross-entropy": ("cnn", validation),
    }
    head = {"training": ("head", "train_accuracy"), "validation": ("head", validation)}
    panels = [
        ("Validation accuracy", "training time, s", learners, "seconds"),
        ("Small network (head)", "epoch", head, "epoch"),
    ]
    panels = [panel for panel in panels if any(_curve(history, *key, panel[3]) for key in panel[2].values())]
    figure = Figure(figsize=(WIDTH, 3.4))
    for column, (title, label, curves, horizontal) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), column + 1, title=title, xlabel=label)
        for name, (phase, quantity) in curves.items():
            curve = _curve(history, phase, quantity, horizontal)
            _draw(axes, curve, phase, label=name, dashed=quantity == "train_accuracy")
        axes.yaxis.set_major_formatter(percent)
        axes.set_ylim(top=min(1, axes.get_ylim()[1]))
        axes.legend(loc="best")
        axes.xaxis.set_major_locator(MaxNLocator(integer=horizontal == "epoch", nbins=6, min_n_ticks=1))
    return figure


@in_our_look
def loss_figure(history: History) -> Figure:
    """The losses by epoch, each with its own scale; under the encoder's, the share of triplets still active."""
    left = [("Encoder: loss", "encoder", "loss"), ("Encoder: share of triplets active", "encoder", "active_share")]
    right = [("Same network, cross-entropy: loss", "cnn", "loss"), ("Small network (head): loss", "head", "loss")]
    columns = [[panel for panel in column if _curve(history, *panel[1:], "epoch")] for column in (left, right)]
    columns = [column for column in columns if column]
    figure = Figure(figsize=(WIDTH, 4.8 if any(len(column) > 1 for column in columns) else 3.4))
    parts = figure.subfigures(1, len(columns), squeeze=False)[0] if columns else []
    for part, column in zip(parts, columns, strict=True):
        heights = [1 if quantity == "active_share" else 2 for _, _, quantity in column]
        panels = part.subplots(len(column), squeeze=False, height_ratios=heights)[:, 0]
        panels[-1].set_xlabel("epoch")
        for axes, (title, phase, quantity) in zip(panels, column, strict=True):
            axes.set_title(title)
            _draw(axes, _curve(history, phase, quantity, "epoch"), phase)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
            if quantity == "active_share":
                axes.yaxis.set_major_formatter(percent)
                axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    return figure


def _curve(history: History, phase: str, quantity: str, horizontal: str) -> list[tuple[float, float]]:
    lines = [line for line in history if line["phase"] == phase and line.get(quantity) is not None]
    return [(float(line[horizontal]), float(line[quantity])) for line in lines]


def _draw(axes: Axes, curve: list[tuple[float, float]], phase: str, label: str = "", dashed: bool = False) -> None:
    if not curve:
        return
    color, marker = PHASES[phase]
    axes.plot(
        *zip(*curve, strict=True),
        color=color,
        marker=marker,  # so that one epoch shows too
        markevery=max(1, len(curve) // 20),
        linestyle="--" if dashed else "-",
        markerfacecolor="white" if dashed else color,
        label=label,
        clip_on=False,
    )
