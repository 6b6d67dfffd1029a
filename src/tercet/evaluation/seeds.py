"""One table from the runs of several seeds: means, standard deviations, and the verdict over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from tercet.evaluation.results import Results
from tercet.evaluation.verdict import verdict_of_seeds

MEANS = ("test_accuracy", "balanced_accuracy", "macro_f1", "fit_seconds")


def combine_seeds(results: Sequence[Results]) -> Results:
    """The mean figures of at least two runs that differ in the seed; each method also lists its accuracies by seed.

    `ci95` spans the test images of all runs on average and leaves out the variance between seeds, which "sd" shows.
    """
    first = results[0]
    methods: dict[str, dict[str, Any]] = {}
    for name in first.methods:
        runs = [result.methods[name] for result in results]
        accuracies = [run["test_accuracy"] for run in runs]
        methods[name] = {
            **{key: fmean(run[key] for run in runs) for key in MEANS},
            "ci95": [fmean(run["ci95"][end] for run in runs) for end in (0, 1)],
            "per_class": {
                label: {"n": figures["n"], "recall": _mean([run["per_class"][label]["recall"] for run in runs])}
                for label, figures in runs[0]["per_class"].items()
            },
            "seeds": {
                "n": len(runs),
                "mean": fmean(accuracies),
                "sd": stdev(accuracies),
                "values": accuracies,
            },
        }
    return replace(
        first,
        methods=methods,
        retrieval={key: _mean([result.retrieval[key] for result in results]) for key in first.retrieval},
        calibration_error=fmean(result.calibration_error for result in results),
        verdict=verdict_of_seeds({name: figures["seeds"]["values"] for name, figures in methods.items()}),
        timing={key: fmean(result.timing[key] for result in results) for key in first.timing},
        peak_memory_bytes=max((result.peak_memory_bytes or 0 for result in results), default=0) or None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
