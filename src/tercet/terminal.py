"""What a person at the terminal sees: progress with time left on stderr, tables on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from tercet.evaluation.verdict import LABELS
from tercet.preparation import OnProgress

SECONDS_BETWEEN_LINES = 15.0  # where stderr is no terminal
SHORTEST = 0.05  # seconds that are shown
UNITS = {  # of what a station counts; reading counts files, or megabytes where it downloads them
    "encoder": "steps",
    LABELS["cnn_cross_entropy"]: "steps",
    "logistic regression": "penalties",
    "features": "images",
    "test features": "images",
    "index": "images",
}


@contextmanager
def progress(quiet: bool) -> Iterator[OnProgress]:
    """A callback that shows how far each station is: bars on a terminal, a line now and then in a log file."""
    if quiet:
        yield lambda *_: None
    elif not sys.stderr.isatty():
        yield LinesOfProgress()
    else:
        columns = (
            TextColumn("{task.description:>27}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),  # what the others leave
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
        )
        times = TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left")
        with Progress(*columns, *times, console=Console(stderr=True), expand=True) as bars:
            tasks: dict[str, TaskID] = {}

            def show(station: str, done: int, total: int) -> None:
                if station not in tasks:
                    tasks[station] = bars.add_task(station, completed=done, total=total or None, unit=unit(station))
                else:
                    bars.update(tasks[station], completed=done, total=total or None)

            yield show


class LinesOfProgress:
    """Progress as lines of text: at the start of a station, at its end and every 15 seconds."""

    def __init__(self) -> None:
        self.station = ""
        self.started = self.printed = 0.0
        self.begun = 0  # what was done before, of a station that goes on

    def __call__(self, station: str, done: int, total: int) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        if station != self.station:
            self.station, self.begun, self.started, self.printed = station, done, now, 0.0
        if (done < total or not total) and now - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed, elapsed = now, now - self.started
        remaining = elapsed / (done - self.begun) * (total - done) if self.begun < done < total else None
        left = "" if remaining is None else f", {duration(remaining)} left"
        counted = f"{done:,} of {total:,} {unit(station)}".rstrip() if total else f"{done:,} found so far"
        print(f"{station}: {counted}, {duration(elapsed)}{left}", file=sys.stderr, flush=True)  # noqa: T201


def unit(station: str) -> str:
    """What a station counts, or nothing where that is plain; with several seeds each has a prefix."""
    return UNITS.get(station.rpartition(": ")[2], "")


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42.4), duration(154), duration(5606)
    ('42 s', '2 min 34 s', '1 h 33 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def print_results(methods: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """The table of results on stdout, within 80 columns; accuracies in percent."""
    count = next((figures["seeds"]["n"] for figures in methods.values() if "seeds" in figures), 0)
    timed = any(figures["fit_seconds"] >= SHORTEST for figures in methods.values())
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    interval = f"mean ± sd\nn = {count}" if count else "95 % interval"
    headings = ("test\naccuracy", interval, "macro\nF1", *["fit\nseconds"] * timed)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in methods.items():
        low, high = figures["ci95"]
        spread = f"{100 * low:.1f} to {100 * high:.1f} %"
        if seeds := figures.get("seeds"):
            spread = f"{100 * seeds['mean']:.2f} ± {100 * seeds['sd']:.2f} %"
        seconds = f"{figures['fit_seconds']:.1f}" if figures["fit_seconds"] >= SHORTEST else ""
        accuracy = f"{100 * figures['test_accuracy']:.2f} %"
        table.add_row(LABELS[name], accuracy, spread, f"{figures['macro_f1']:.3f}", *[seconds] * timed)
    console = Console()
    if not console.is_terminal:
        console.width = 100  # a file has no width
    console.print(table)
