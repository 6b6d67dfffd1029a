"""The figures of a run: each function takes data and returns a matplotlib figure, `save` writes it.

The only importer of matplotlib, and without its global state: no pyplot, no change to the caller's settings. Knows
nothing of run folders or models. Sized to be read 700 pixels wide on white.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import patheffects, style
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tercet.evaluation.projection import name_places
from tercet.files import write_atomically

History = Sequence[Mapping[str, Any]]  # the lines of history.jsonl

# Six of the eight of Okabe and Ito 2008, "Color Universal Design" (black is left to the writing, yellow is lost on
# white), extended greedily by the colour farthest from all before it (OKLab, the worst of normal sight and the three
# dichromacies as simulated by Machado et al. 2009). tests/evaluation/test_plots.py measures the least distance.
PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#600018", "#180090", "#605448", "#a8d8a8"),
    *("#9c6cfc", "#5400e4", "#b42484", "#00e4f0", "#483054", "#e4cc00", "#c0a89c", "#905400", "#841800", "#8400a8"),
)
MARKERS = "o^sDvP"  # the next shape each time the colours are used up
PHASES = {"encoder": (PALETTE[0], "o"), "cnn": (PALETTE[5], "s"), "head": (PALETTE[2], "^")}
WIDTH = 7.0  # inches: 1,050 pixels, so that 10 points are 14 pixels when shown 700 wide
DPI = 150
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
MAX_LABELLED_CELLS = 20  # classes to a side beyond which no number fits its cell
MAX_NAMED_CLASSES = 150  # beyond, names would be smaller than print

LOOK = {
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the picture does not depend on the machine's fonts
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#8a8a8a",
    "xtick.labelcolor": "black",
    "ytick.color": "#8a8a8a",
    "ytick.labelcolor": "black",
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called "$5"
}
in_our_look = style.context(LOOK, after_reset=True)


@in_our_look
def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all and the same bytes for the same figure, and empty it."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    figure.clear()
    write_atomically(path, content.getvalue())


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
    names = [_short(name) for name in classes]
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
def accuracy_figure(history: History) -> Figure:
    """Validation accuracy against training time for the encoder and the CNN; the head's accuracies by epoch."""
    validation = "validation_accuracy"
    learners = {"encoder, nearest neighbours": ("encoder", validation), "CNN, cross-entropy": ("cnn", validation)}
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
        axes.yaxis.set_major_formatter(_percent)
        axes.set_ylim(top=min(1, axes.get_ylim()[1]))
        axes.legend(loc="best")
        axes.xaxis.set_major_locator(MaxNLocator(integer=horizontal == "epoch", nbins=6, min_n_ticks=1))
    return figure


@in_our_look
def loss_figure(history: History) -> Figure:
    """The losses by epoch, each with its own scale; under the encoder's, the share of triplets still active."""
    left = [("Encoder loss", "encoder", "loss"), ("Share of triplets active", "encoder", "active_share")]
    right = [("CNN loss", "cnn", "loss"), ("Small network (head) loss", "head", "loss")]
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
                axes.yaxis.set_major_formatter(_percent)
                axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    return figure


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
    names = [_short(classes[index]) for index in named]
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


def _percent(share: float, _position: object = None) -> str:
    return f"{100 * share:.4g} %"


def _short(name: str) -> str:
    """One line of at most 18 characters; a file system's undecodable bytes become question marks."""
    name = " ".join(name.encode(errors="replace").decode().split())
    return name if len(name) <= 18 else name[:17] + "…"
