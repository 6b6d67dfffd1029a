"""What results/peers.jsonl says: the two tables, and accuracy over training time as one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks import records
from benchmarks.peer_losses import OURS, PEERS, library_version
from benchmarks.recipes import RECIPES
from benchmarks.tables import markdown, spread
from tercet.evaluation.look import WIDTH, in_our_look, percent
from tercet.evaluation.palette import MARKERS, PALETTE
from tercet.training.checkpoint import Checkpoint

NAME = "peers"
TABLED = ("quick", "standard")  # presets, each with tables of its own
HELPED = " (the guard stepped in)"
COLUMNS = ("n", "accuracy on the frozen embedding", "recall@1", "MAP@R", "minutes", "as they ran", "steps")
Curves = Mapping[str, Sequence[tuple[float, float]]]  # name -> (minutes in steps, validation accuracy)


def append(record: dict[str, Any], trained: Checkpoint | None = None) -> None:
    """Add a record, with the version of the library, and remove what its training kept meanwhile."""
    options = [f" --preset {record['preset']}" if "preset" in record else ""]  # tuning is for every preset
    options.append(f" --minutes {record['minutes']:g}" if "minutes" in record else "")
    command = f"python -m benchmarks.{NAME}{''.join(options)}"
    made_by = {"pytorch-metric-learning": library_version(), "command": command}
    records.append(NAME, {**record, **made_by}, trained)


def runs(preset: str, table: str, method: str) -> list[dict[str, Any]]:
    """The longest runs of one method with its newest settings, by seed; of data and precision measured last."""
    every = records.select(records.read(NAME), kind="run", preset=preset)
    last = {name: every[-1][name] for name in ("data", "precision")} if every else {}
    found = records.newest(records.select(every, table=table, method=method, **last))
    longest = max((record["minutes"] for record in found), default=0)
    return sorted(records.select(found, minutes=longest), key=lambda record: int(record["seed"]))


def whole(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those in which training did not go wrong."""
    return [record for record in found if "error" not in record]


def nearest(preset: str) -> str | None:
    """The peer of table (a) that is best on validation."""
    found = {method: whole(runs(preset, "a", method)) for method in PEERS}
    scores = {method: some[0]["head_validation_accuracy"] for method, some in found.items() if some}
    return max(scores, key=lambda method: scores[method]) if scores else None


def table(preset: str) -> str:
    """Both tables as Markdown, in percent; mean ± standard deviation where there are several seeds."""
    rows_b = [["recipe as published, not in its setting", "D", *COLUMNS]]
    recipes = {method: found for method in RECIPES if (found := runs(preset, "b", method))}
    if not recipes:
        return losses_table(preset)
    for method, found in {OURS: runs(preset, "a", OURS), **recipes}.items():
        if found:
            dimensions = [str(record["dimensions"]) for record in whole(found)]
            rows_b.append([method, dimensions[-1] if dimensions else "", *_cells(found)])
    return f"{losses_table(preset)}\n\n{markdown(rows_b)}"


def losses_table(preset: str, *, short: bool = False) -> str:
    """Table (a) as Markdown; `short` leaves out what a run was set to and how long it took."""
    rows = [["loss and mining", "setting", *COLUMNS]]
    for method in (OURS, *PEERS):
        if found := runs(preset, "a", method):
            setting = ", ".join(f"{name} {value}" for name, value in found[-1]["settings"]["loss_settings"].items())
            helped = any(record.get("interventions") for record in found)  # records of before 2026-11-30 do not say
            rows.append([f"{method}{HELPED if helped else ''}", setting, *_cells(found)])
    return markdown([[row[0], *row[2:6]] for row in rows] if short else rows)


def _cells(found: list[dict[str, Any]]) -> list[str]:
    good = whole(found)
    if not good:
        return [str(len(found)), f"training failed: {found[-1]['error']}", *[""] * 5]
    count = str(len(good)) if len(good) == len(found) else f"{len(good)} of {len(found)}, training failed in the others"
    cells = [spread([record[name] for record in good], scale=100) for name in ("head_accuracy", "recall@1", "map@r")]
    ran = spread([record["step_seconds"] for record in good], ".1f", 1 / 60)
    return [count, *cells, f"{good[-1]['minutes']:g}", ran, f"{good[-1]['steps']:,}"]


def curves(preset: str) -> tuple[Curves, Curves]:
    """The points of the first seed, of (a) and of (b)."""
    losses, recipes = (
        {method: _over_time(good[0]) for method in methods if (good := whole(runs(preset, table, method)))}
        for table, methods in (("a", (OURS, *PEERS)), ("b", tuple(RECIPES)))
    )
    return losses, recipes


def _over_time(record: dict[str, Any]) -> list[tuple[float, float]]:
    return [(record["minutes"] * step / record["steps"], accuracy) for step, accuracy in record["points"]]


@in_our_look
def figure(losses: Curves, recipes: Curves) -> Figure:
    """Validation accuracy of the 10 nearest neighbours against minutes of training, on a logarithmic axis.

    Ours stands in both panels; without recipes there is one.
    """
    ours = {name: points for name, points in losses.items() if name == OURS}
    panels = {"Same training, other losses": losses}
    if recipes:
        panels["Recipes as published"] = {**ours, **recipes}
    drawn = Figure(figsize=(WIDTH, 5.2))
    names = list({OURS: (), **losses, **recipes})  # one colour a name in both panels
    columns = 1 if recipes else 3  # of a legend
    row = drawn.subplots(1, len(panels), squeeze=False)[0]  # each with a scale of its own, since (b) spans far more
    for axes, (title, curves) in zip(row, panels.items(), strict=True):
        axes.set(title=title, xlabel="training time, minutes", xscale="log")
        for name, points in curves.items():
            _draw(axes, name, points, names.index(name))
        axes.xaxis.set_major_locator(LogLocator(base=2))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: f"{minutes:.3g}"))
        axes.yaxis.set_major_formatter(percent)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8, ncols=columns)
    row[0].set_ylabel("validation accuracy, 10 neighbours")
    return drawn


def _draw(axes: Axes, name: str, points: Sequence[tuple[float, float]], place: int) -> None:
    minutes = [time for time, _ in points]
    color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
    width, layer = (2.5, 3) if place == 0 else (1.5, 2)
    accuracies = [accuracy for _, accuracy in points]
    axes.plot(minutes, accuracies, color=color, marker=marker, linewidth=width, zorder=layer, label=name, clip_on=False)
