"""Pictures of what a run found: each function takes data and returns a matplotlib figure.

Knows nothing of run folders or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import patheffects
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tercet.evaluation.look import WIDTH, in_our_look, percent, short
from tercet.evaluation.palette import MARKERS, PALETTE
from tercet.evaluation.projection import name_places
from tercet.evaluation.separation import Separation

CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
MAX_LABELLED_CELLS = 20  # classes to a side beyond which no number fits its cell
MAX_NAMED_CLASSES = 150  # beyond, names would be smaller than print


@in_our_look
def tsne_figure(
    points: Float[np.ndarray, "N 2"], labels: Int[np.ndarray, " N"], classes: Sequence[str], title: str
) -> Figure:
    """Points in the plane, one colour a class, with its name written where the class lies densest.

    Beyond 20 classes colours repeat with another shape and a legend is added; a name with no free place is left to it.
    """
    width, height = np.ptp(points, axis=0).tolist()
    figure = Figure(figsize=(WIDTH, WIDTH * min(0.95, max(0.6, height / (width or 1.0)))))
    axes = figure.add_subplot(title=title, xticks=[], yticks=[], aspect="equal", anchor="NW")
    axes.spines[:].set_visible(False)
    order = np.random.default_rng(0).permutation(len(points))  # so that no class covers another for coming later
    points, labels = points[order], labels[order]
    shapes = labels // len(PALETTE)
    for shape in np.unique(shapes):
        chosen = shapes == shape
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=float(np.clip(20_000 / len(points), 4, 30)),
            c=np.array(PALETTE)[labels[chosen] % len(PALETTE)],
            marker=MARKERS[shape % len(MARKERS)],
            alpha=0.7,
            linewidths=0,
        )
    has_legend = len(classes) > len(PALETTE)
    font_size = 12 if len(classes) <= 10 else 10 if not has_legend else 7
    names = [short(name) for name in classes]
    letter = max(width, height) / 5.5 * font_size / 72  # in the units of the points, 5.5 inches across
    boxes = np.array([[0.7 * len(name), 1.3] for name in names]) * letter
    for label, place in name_places(points, labels, boxes, must_place=not has_legend).items():
        axes.annotate(
            names[label],
            tuple(place),
            size=font_size,
            weight="bold",
            **CENTRED,
            path_effects=[patheffects.withStroke(linewidth=font_size / 3.5, foreground="white")],
        )
    if has_legend:
        _add_class_legend(figure, names)
    return figure


def _add_class_legend(figure: Figure, names: Sequence[str]) -> None:
    columns = 4
    looks = [
        (MARKERS[label // len(PALETTE) % len(MARKERS)], PALETTE[label % len(PALETTE)]) for label in range(len(names))
    ]
    handles = [Line2D([], [], linestyle="none", marker=marker, color=color) for marker, color in looks]
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(names) // columns))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=8, handletextpad=0.2)


@in_our_look
def confusion_figure(confusion: Int[np.ndarray, "C C"], classes: Sequence[str]) -> Figure:
    """Each true class a row, each predicted class a column, as percentages of the row.

    The number of test images stands beside the row's name. Above 20 classes the colour alone speaks.
    """
    counts = confusion.sum(axis=1)
    percentages = 100 * confusion / np.maximum(counts, 1)[:, None]
    size = len(classes)
    named = range(size if size <= MAX_NAMED_CLASSES else 0)
    side = max(WIDTH, 0.14 * min(size, MAX_NAMED_CLASSES))
    figure = Figure(figsize=(side, 0.9 * side))
    axes = figure.add_subplot(xlabel="predicted class", ylabel="true class (images)")
    axes.set_title("Share of each true class, %")
    # The square root keeps a confusion of one in a hundred visible beside a diagonal of ninety.
    image = axes.imshow(percentages, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    font_size = 10 if size <= 10 else 8 if size <= MAX_LABELLED_CELLS else 7
    names = [short(classes[index]) for index in named]
    turn = 90 if size > 10 else 45 if max(map(len, names)) > 3 else 0
    axes.set_xticks(named, names, rotation=turn, size=font_size)
    if turn == 45:
        for tick_label in axes.get_xticklabels():
            tick_label.set(ha="right", rotation_mode="anchor")
    row_names = [f"{name} ({count:,})" for name, count in zip(names, counts[: len(names)], strict=True)]
    axes.set_yticks(named, row_names, size=font_size)
    axes.tick_params(length=0)
    if size > MAX_LABELLED_CELLS:
        figure.colorbar(image, shrink=0.6, aspect=30)
        return figure
    for row, column in np.argwhere(confusion > 0):
        share = percentages[row, column]
        axes.annotate(
            f"{share:.{1 if size <= 10 and share < 99.95 else 0}f}" if size <= 10 or share >= 0.5 else "<1",
            (column, row),
            size=font_size,
            color="white" if share > 35 else "black",
            **CENTRED,
        )
    return figure


@in_our_look
def distances_figure(pairs: Separation) -> Figure:
    """Two histograms of the distances between test embeddings: of pairs of one class, and of two."""
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.add_subplot(title="Distances between test images", xlabel="Euclidean distance (smaller is nearer)")
    kinds = (("same class", pairs.same, PALETTE[0], "-"), ("different classes", pairs.different, PALETTE[5], "--"))
    for name, distances, color, line in kinds:
        heights = np.histogram(distances, pairs.edges)[0] / len(distances)
        axes.stairs(heights, pairs.edges, fill=True, color=color, alpha=0.3)
        axes.stairs(heights, pairs.edges, color=color, linestyle=line, linewidth=2, label=name)
    axes.set_ylabel("share of pairs")
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlim(0, 1.02 * pairs.edges[-1])
    axes.legend(loc="best")
    return figure
