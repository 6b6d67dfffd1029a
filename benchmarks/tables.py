"""Figures over seeds as text: means, standard deviations, paired intervals, Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.stats import t as student


def spread(values: Sequence[float], form: str = ".2f", scale: float = 1.0) -> str:
    """Mean ± standard deviation; of one value that value alone.

    >>> spread([0.8, 0.9], ".1f", 100), spread([0.8], ".1f", 100)
    ('85.0 ± 7.1', '80.0')
    """
    scaled = [scale * value for value in values]
    mean = format(fmean(scaled), form)
    return f"{mean} ± {format(stdev(scaled), form)}" if len(scaled) > 1 else mean


def mean_interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval by Student's t; of one difference the interval is everything.

    >>> [round(value, 3) for value in mean_interval([0.0, 1.0, 2.0])]
    [1.0, -1.484, 3.484]
    """
    count, mean = len(differences), fmean(differences)
    half = float(student.ppf(0.975, count - 1)) * stdev(differences) / math.sqrt(count) if count > 1 else math.inf
    return mean, mean - half, mean + half


def interval(differences: Sequence[float], form: str = "+.2f", scale: float = 1.0) -> str:
    """`mean_interval` as text; without an interval where there is only one difference."""
    mean, low, high = (scale * value for value in mean_interval(differences))
    between = f" ({format(low, form)} to {format(high, form)})" if math.isfinite(low) else ""
    return format(mean, form) + between


def markdown(rows: Sequence[Sequence[str]], *, older: int = 0) -> str:
    """A table whose first row is its head; below it how many older records it leaves out, if any."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    note = ["", f"Left out: {older} older records with other settings."] if older else []
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:], *note])
