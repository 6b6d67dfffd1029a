"""One self-contained HTML page about a run, from the JSON, CSV and PNG files of its folder.

Knows no tensors and draws nothing: figures are embedded as they lie in the folder. The page needs no network and no
script. What the run lacks is left out.
"""

from __future__ import annotations

import csv
import json
from base64 import b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from tercet.errors import ModelError
from tercet.evaluation.report_sections import (
    classes_section,
    escape,
    figure_section,
    measures_section,
    repetition_section,
    results_section,
    seeds_section,
    summary,
    warnings_section,
)
from tercet.files import write_atomically

# The policy forbids what the page does not need, whatever a class name may hold.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

# heading -> for each figure of that section its file, what it shows to one who cannot see it, and its caption
FIGURES = {
    "The embedding": [
        (
            "tsne.png",
            "Scatter plot: each test image a point, coloured by its class, class names written on the clusters.",
            "The embeddings of the test images laid out in the plane by t-SNE. Points that lie together are alike to "
            "the encoder; distances between islands and their sizes mean nothing.",
        )
    ],
    "Training": [
        (
            "accuracy.png",
            "Line chart: validation accuracy of encoder and CNN against training time, and of the small network.",
            "Accuracy on the validation images, which no method was trained on; for the small network on its training "
            "images too. The encoder is judged by the nearest neighbours in its embedding.",
        ),
        (
            "loss.png",
            "Line charts: the loss of each training by epoch.",
            "The losses have different scales and meanings. The encoder's is the mean over active triplets, which "
            "solved ones leave: their share says more.",
        ),
    ],
    "What is taken for what": [
        (
            "confusion.png",
            "Confusion matrix: for each true class the percentage of its test images given to each class.",
            "Embedding and small network on the test images: each row a true class, each column a predicted one.",
        )
    ],
}


def write_report(run: Path) -> Path:
    """Write `report.html` into the run folder, and return its path.

    A folder of several seeds has no figures of its own: those of its first seed stand in, and every seed's page is
    linked.
    """
    results = _read_json(run / "results.json")
    if results is None:
        raise ModelError(
            f"found no results.json in {run}; expected a finished run, so let `tercet run DATA --out {run}` end first."
        )
    seeds = sorted(run.glob("seed-*/"), key=lambda folder: (len(folder.name), folder.name))
    source = run if (run / "figures").is_dir() or not seeds else seeds[0]
    note = "" if source == run else f" Seed {source.name.removeprefix('seed-')}."
    figures = {
        heading: figure_section(
            heading,
            [
                (b64encode((source / "figures" / name).read_bytes()).decode(), alternative, caption + note)
                for name, alternative, caption in parts
                if (source / "figures" / name).is_file()
            ],
        )
        for heading, parts in FIGURES.items()
    }
    title = f"tercet report: {results.get('data', {}).get('name', run.name)}"
    sections = [
        summary(title, results),
        results_section(results),
        seeds_section([folder.name for folder in seeds if (folder / "report.html").is_file()]),
        *figures.values(),
        classes_section(results, _confusions(run / "predictions.csv")),
        measures_section(results),
        warnings_section(results),
        repetition_section(_read_json(run / "run.json") or {}, results),
    ]
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    page = PAGE.format(title=escape(title), style=style, body="\n".join(filter(None, sections)))
    path = run / "report.html"
    write_atomically(path, page.encode(errors="replace"))  # a file name may hold bytes that are no text
    return path


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"found {path} unreadable ({error}); expected JSON, so run again with --overwrite.") from error
    if not isinstance(value, dict):
        raise ModelError(f"found no JSON object in {path}; expected one, so run again with --overwrite.")
    return value


def _confusions(path: Path) -> dict[str, dict[str, int]]:
    """For each class the number of its images given to each other class; empty without predictions."""
    confusions: dict[str, dict[str, int]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                if row["label"] != row["predicted"]:
                    others = confusions.setdefault(row["label"], {})
                    others[row["predicted"]] = others.get(row["predicted"], 0) + 1
    return confusions
