"""One self-contained HTML page about a run, from the files of its folder.

Draws nothing: figures are embedded as they lie in the folder. The page needs no network, and a script for the
interactive map only. What the run lacks is left out.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tercet.errors import ModelError
from tercet.evaluation.doubts import doubts
from tercet.evaluation.examples import COLUMNS
from tercet.evaluation.explorer import explorer_data, explorer_section
from tercet.evaluation.markup import data_address, escape, listing, section
from tercet.evaluation.report_figures import FIGURES, figure, separation_sentence
from tercet.evaluation.report_sections import (
    classes_section,
    explanation,
    measures_section,
    repetition_section,
    results_section,
    seeds_section,
    summary,
    warnings_section,
)
from tercet.evaluation.saved import (
    figures_folder,
    read_arrays,
    read_history,
    read_pairs,
    read_predictions,
    read_record,
    read_train_counts,
    seed_folders,
)
from tercet.evaluation.sheets import mistakes_section, neighbors_section
from tercet.evaluation.thumbnails import read_tiles
from tercet.files import write_atomically

# The policy forbids what the page does not need, whatever a class or file is called: of scripts and styles it admits
# those of these hashes alone, of pictures those in the page.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src '{style_hash}'; \
script-src '{script_hash}'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
{script}
</body>
</html>
"""


def write_report(run: Path) -> Path:
    """Write `report.html` into the run folder, and return its path.

    A folder of several seeds has no figures of its own: those of its first seed stand in, and every seed's page is
    linked.
    """
    results = read_record(run / "results.json")
    if results is None:
        raise ModelError(
            f"found no results.json in {run}; expected a finished run, so let `tercet run DATA --out {run}` end first."
        )
    try:
        body = _body(run, results)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"the run in {run} is damaged ({error}); run it again with --overwrite.") from error
    style, script = _resource("report.css"), _resource("report.js")
    page = PAGE.format(
        title=escape(_title(run, results)),
        style=style,
        style_hash=_hash(style),
        script_hash=_hash(script),
        script=f"<script>{script}</script>" if 'id="points"' in body else "",
        body=body,
    )
    path = run / "report.html"
    write_atomically(path, page.encode(errors="replace"))  # a file name may hold bytes that are no text
    return path


def _body(run: Path, results: Mapping[str, Any]) -> str:
    source, record, seeds = figures_folder(run), read_record(run / "run.json") or {}, seed_folders(run)
    note = "" if source == run else f" Seed {source.name.removeprefix('seed-')}."
    data = results.get("data") or {}
    classes = data.get("classes") or []
    predictions, pairs = read_predictions(source), read_pairs(source)
    histories = {folder: read_history(folder) for folder in seeds or [run]}
    records = [line for history in histories.values() for line in history]
    reasons = doubts(results, read_train_counts(source, classes), pairs, records)
    distances = figure(source, "distances.png", note)
    training = "".join(figure(source, name, note) for name in ("accuracy.png", "loss.png"))
    sections = [
        summary(_title(run, results), results, reasons),
        explanation(record.get("config") or {}) if results.get("methods") else "",
        results_section(results),
        seeds_section([folder.name for folder in seeds if (folder / "report.html").is_file()]),
        warnings_section(reasons, data.get("skipped_files") or []),
        _map_section(source, predictions, classes, note),
        section("Same class or not", separation_sentence(pairs) + distances if distances else ""),
        *_sheets(source, predictions, classes),
        section("What is taken for what", figure(source, "confusion.png", note)),
        classes_section(results, _confusions(predictions)),
        section("Training", training + listing(_helped(histories, run), "warnings")),
        measures_section(results),
        repetition_section(record, results),
    ]
    return "\n".join(filter(None, sections))


def _title(run: Path, results: Mapping[str, Any]) -> str:
    return f"tercet report: {results.get('data', {}).get('name', run.name)}"


def _helped(histories: Mapping[Path, Sequence[Mapping[str, Any]]], run: Path) -> list[str]:
    """Where training went wrong and what was done about it."""
    return [
        f"{'' if folder == run else f'{folder.name}, '}{line.get('phase', '')} epoch {line.get('epoch', '?')}: "
        f"{line['intervention']}"
        for folder, history in histories.items()
        for line in history
        if line.get("intervention")
    ]


def _map_section(run: Path, predictions: Sequence[Mapping[str, str]], classes: Sequence[str], note: str) -> str:
    still, data, sample = figure(run, "tsne.png", note), None, note
    projection = read_arrays(run / "tsne.npz", "points", "indices")
    if projection and predictions:
        points = projection["points"]
        indices = projection.get("indices", np.arange(len(points)))
        if len(points) < len(predictions):
            sample = f" Shown is a random sample of {len(points):,} of the {len(predictions):,} test images.{note}"
        thumbnails = run / "thumbnails.webp"
        sheet = data_address(thumbnails.read_bytes(), "webp") if thumbnails.is_file() else ""
        data = explorer_data(points, indices, predictions, classes, sheet)
    return explorer_section(still, FIGURES["tsne.png"][1] + sample, data)


def _sheets(run: Path, predictions: Sequence[Mapping[str, str]], classes: Sequence[str]) -> list[str]:
    names = ("queries", "neighbors", "neighbor_labels", "neighbor_paths", "distances", "mistakes")
    examples = read_arrays(run / "examples.npz", *names)
    if not examples or not predictions or not (run / "examples.webp").is_file():
        return []
    tiles, side = read_tiles(run / "examples.webp", COLUMNS)
    return [
        neighbors_section(examples, tiles, side, predictions, classes),
        mistakes_section(examples, tiles, side, predictions),
    ]


def _confusions(predictions: Sequence[Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """For each class the number of its images given to each other class."""
    confusions: dict[str, dict[str, int]] = {}
    for row in predictions:
        if row["label"] != row["predicted"]:
            others = confusions.setdefault(row["label"], {})
            others[row["predicted"]] = others.get(row["predicted"], 0) + 1
    return confusions


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
