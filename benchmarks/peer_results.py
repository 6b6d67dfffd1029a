"""What results/peers.jsonl says: the two tables, and accuracy over training time as one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks import records
from benchmarks.peer_losses import OURS, PEERS
from benchmarks.recipes import RECIPES
from benchmarks.tables import markdown, spread
from tercet.evaluation.look import WIDTH, in_our_look, percent
from tercet.evaluation.palette import MARKERS, PALETTE

NAME = "peers"
Curves = Mapping[str, Sequence[tuple[float, float]]]  # name -> (minutes in steps, validation accuracy)


def runs(table: str, method: str) -> list[dict[str, Any]]:
    """The runs of one method with its newest settings and minutes."""
    found = records.newest(records.select(records.read(NAME), kind="run", table=table, method=method))
    return records.select(found, minutes=found[-1]["minutes"]) if found else []


def nearest() -> str | None:
    """The peer of table (a) that is best on validation."""
    found = {method: runs("a", method) for method in PEERS}
    scores = {
        method: some[0]["head_validation_accuracy"] for method, some in found.items() if some and "error" not in some[0]
    }
    return max(scores, key=lambda method: scores[method]) if scores else None


def table() -> str:
    """Both tables as Markdown, in percent; mean ± standard deviation where there are several seeds."""
    columns = ["n", "accuracy on the frozen embedding", "recall@1", "MAP@R", "minutes", "steps"]
    rows_a = [["loss and mining (a)", "setting", *columns]]
    rows_b = [["recipe (b): as published, not their setting", "D", *columns]]
    for method in (OURS, *PEERS):
        if found := runs("a", method):
            setting = ", ".join(f"{name} {value}" for name, value in found[-1]["settings"]["loss_settings"].items())
            rows_a.append([method, setting, *_cells(found)])
    if ours := runs("a", OURS):
        rows_b.append([OURS, str(ours[-1]["dimensions"]), *_cells(ours)])
    for method in RECIPES:
        if found := runs("b", method):
            rows_b.append([method, str(found[-1]["dimensions"]), *_cells(found)])
    return f"{markdown(rows_a)}\n\n{markdown(rows_b)}"


def _cells(found: list[dict[str, Any]]) -> list[str]:
    whole = [record for record in found if "error" not in record]
    if not whole:
        return [str(len(found)), f"training failed: {found[-1]['error']}", *[""] * 4]
    cells = [spread([record[name] for record in whole], scale=100) for name in ("head_accuracy", "recall@1", "map@r")]
    return [str(len(whole)), *cells, f"{whole[-1]['minutes']:g}", f"{whole[-1]['steps']:,}"]


def curves() -> tuple[Curves, Curves]:
    """The points of the first seed, of (a) and of (b)."""
    found = {method: runs("a", method) for method in (OURS, *PEERS)}, {method: runs("b", method) for method in RECIPES}
    losses, recipes = (
        {method: _over_time(some[0]) for method, some in group.items() if some and "points" in some[0]}
        for group in found
    )
    return losses, recipes


def _over_time(record: dict[str, Any]) -> list[tuple[float, float]]:
    return [(record["minutes"] * step / record["steps"], accuracy) for step, accuracy in record["points"]]


@in_our_look
def figure(losses: Curves, recipes: Curves) -> Figure:
    """Validation accuracy of the 10 nearest neighbours against minutes of training, on a logarithmic axis.

    The first curve of `losses` is ours and stands in both panels.
    """
    drawn = Figure(figsize=(WIDTH, 5.2))
    panels = drawn.subplots(1, 2)  # each with a scale of its own, since (b) spans far more than (a)
    ours, names = dict(list(losses.items())[:1]), [*losses, *recipes]  # one colour a name in both panels
    titles = ("Same training, other losses", "Recipes as published")
    for axes, title, curves in zip(panels, titles, (losses, {**ours, **recipes}), strict=True):
        axes.set(title=title, xlabel="training time, minutes", xscale="log")
        for name, points in curves.items():
            _draw(axes, name, points, names.index(name))
        axes.xaxis.set_major_locator(LogLocator(base=2))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:.3g}"))
        axes.yaxis.set_major_formatter(percent)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    panels[0].set_ylabel("validation accuracy, 10 neighbours")
    return drawn


def _draw(axes: Axes, name: str, points: Sequence[tuple[float, float]], place: int) -> None:
    minutes = [time for time, _ in points]
    color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
    width = 2.5 if place == 0 else 1.5
    accuracies = [accuracy for _, accuracy in points]
    axes.plot(minutes, accuracies, color=color, marker=marker, linewidth=width, label=name, clip_on=False)
