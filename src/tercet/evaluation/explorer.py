"""The interactive t-SNE of the report: its HTML and the data that `report.js` reads.

Points are given on a grid and probabilities in thousandths, so that 10,000 images fit a page of 5 MB. The still picture
stays where no script runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tercet.evaluation.markup import escape, section
from tercet.evaluation.palette import PALETTE
from tercet.evaluation.projection import name_places
from tercet.evaluation.thumbnails import columns_of

GRID = 4095  # steps along the longer side: finer than a screen at four-fold zoom
LETTER = 0.022  # height of a name, as a share of the map's width: 16 of 700 pixels
MOST_NAMES = 20  # classes beyond which the map has no room for names
CARD_SIDE = 112  # pixels of the picture beside a dot
HEADING = "The embedding"
PAGE = """<div id="explorer" hidden>
<div class="tools">
<input id="search" type="search" placeholder="{search}" aria-label="{search}" autocomplete="off">
<span id="found" role="status"></span>
<button id="mistakes" aria-pressed="false">✗ Mark mistakes</button>
<span><button id="nearer" aria-label="Zoom in">+</button><button id="farther" aria-label="Zoom out">−</button><button
id="whole">Reset</button></span>
</div>
<div id="plot">
<canvas id="map" class="chart" tabindex="0" role="application" aria-describedby="map-help"
aria-label="Map of the test images"></canvas>
<div id="card" role="status" hidden>
<canvas id="card-picture" width="{side}" height="{side}" role="img" aria-label="The image"></canvas>
<strong id="card-name"></strong>
<dl><dt>true</dt><dd id="card-true"></dd><dt>predicted</dt><dd id="card-predicted"></dd>
<dt>probability</dt><dd id="card-probability"></dd></dl>
</div>
</div>
<div class="tools"><button id="all">All classes</button><button id="none">None</button></div>
<div id="legend" role="group" aria-label="Classes shown"></div>
<p class="soft" id="map-help">{explanation} Point at a dot, tap it, or go from dot to dot with the arrow keys to see the
image. The buttons above hide and show classes; + and − zoom, and then dragging moves.</p>
</div>
<script type="application/json" id="points">{data}</script>"""


def explorer_section(still: str, explanation: str, data: Mapping[str, Any] | None) -> str:
    """The still picture, and what replaces it, with its explanation, where there is `data` and a script runs."""
    if data is None:
        return section(HEADING, still)
    search = "Search by file name" if data["names"] else "Search by the image's number"
    # Escaped so that nothing in it ends the element, whatever a file is called.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = PAGE.format(search=search, explanation=escape(explanation), data=text, side=CARD_SIDE)
    return section(HEADING, f'<div id="still">{still}</div>{page}')


def explorer_data(
    points: Float[np.ndarray, "N 2"],
    indices: Int[np.ndarray, " N"],
    predictions: Sequence[Mapping[str, str]],
    classes: Sequence[str],
    sheet: str,
) -> dict[str, Any]:
    """What the script needs; `indices` are rows of `predictions`, `sheet` the address of the thumbnails or ""."""
    rows = [predictions[index] for index in indices]
    position = {name: label for label, name in enumerate(classes)}
    paths = [row["path"] for row in rows]
    return {
        **map_data(points, np.array([position[row["label"]] for row in rows]), classes),
        "predicted": [position[row["predicted"]] for row in rows],
        "probability": [round(1000 * float(row["probability"])) for row in rows],
        "indices": indices.tolist(),
        "names": paths if all(paths) else None,
        "sheet": sheet,
        "columns": columns_of(len(rows)),
    }


def map_data(points: Float[np.ndarray, "N 2"], labels: Int[np.ndarray, " N"], classes: Sequence[str]) -> dict[str, Any]:
    """The points on a grid whose second axis runs downwards, as on a screen; and the classes, where and how shown."""
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    grid = np.rint((points - low) / span * GRID).astype(int)
    grid[:, 1] = grid[:, 1].max() - grid[:, 1]
    places: dict[int, Any] = {}
    if len(classes) <= MOST_NAMES:
        boxes = np.array([[0.65 * len(name), 1.3] for name in classes]) * LETTER * GRID
        places = name_places(grid.astype(float), labels, boxes, must_place=True)
    return {
        "x": grid[:, 0].tolist(),
        "y": grid[:, 1].tolist(),
        "labels": labels.tolist(),
        "classes": list(classes),
        "colors": list(PALETTE),
        "places": [[label, *place.astype(int).tolist()] for label, place in places.items()],
    }
