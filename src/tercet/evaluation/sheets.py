"""Sheets of pictures in the report: test images with their nearest neighbours, and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tercet.evaluation.markup import data_address, escape, probability, section
from tercet.evaluation.thumbnails import COARSE_BELOW

NEIGHBORS_NOTE = (
    "Each row begins with a test image, chosen at random class by class; after it come the training images that the "
    "encoder puts nearest to it, the nearest first. ✓ marks those of the same class, ✗ those of another; the number is "
    "the Euclidean distance, smaller is nearer, of which tercet search and serve give the square."
)
MISTAKES_NOTE = (
    "The test images classified wrongly with the highest probability, the most confident first: what it is, what it "
    "was taken for, and how probable that seemed. Sometimes it is the label that is mistaken."
)


def neighbors_section(
    examples: Mapping[str, np.ndarray],
    tiles: Sequence[bytes],
    side: int,
    predictions: Sequence[Mapping[str, str]],
    classes: Sequence[str],
) -> str:
    """A row for each query; `tiles` are `side` pixels wide, each query's before those of its neighbours."""
    rows, remaining = [], iter(tiles)
    for row, query in enumerate(examples["queries"].tolist()):
        label = predictions[query]["label"]
        figures = [_tile(next(remaining), side, f"Test {_named(query, predictions[query]['path'])}", label, "query")]
        for rank, distance in enumerate(examples["distances"][row].tolist()):
            index, found = int(examples["neighbors"][row, rank]), classes[examples["neighbor_labels"][row, rank]]
            path = examples["neighbor_paths"][row, rank] if examples["neighbor_paths"].size else ""
            mark, kind = ("✓", "right") if found == label else ("✗", "wrong")
            name = f"Training {_named(index, path)}"
            figures.append(_tile(next(remaining), side, name, found, kind, f"{mark} {distance:.2f}"))
        rows.append(f'<ol class="sheet neighbors">{"".join(figures)}</ol>')
    return section("Nearest neighbours", f'<p class="soft">{NEIGHBORS_NOTE}</p>{"".join(rows)}' if rows else "")


def mistakes_section(
    examples: Mapping[str, np.ndarray],
    tiles: Sequence[bytes],
    side: int,
    predictions: Sequence[Mapping[str, str]],
) -> str:
    """A tile for each mistake; `tiles` as in `neighbors_section`, the mistakes' coming last."""
    mistakes: list[int] = examples["mistakes"].tolist()
    first = examples["queries"].size + examples["neighbors"].size
    figures = []
    for index, tile in zip(mistakes, tiles[first:], strict=False):  # the grid's last row may end in empty tiles
        row = predictions[index]
        taken = f"✗ {row['predicted']}", probability(float(row["probability"]))
        figures.append(_tile(tile, side, f"Test {_named(index, row['path'])}", row["label"], "wrong", *taken))
    sheet = f'<ol class="sheet">{"".join(figures)}</ol>' if figures else "<p>No test image was classified wrongly.</p>"
    return section("Most confident mistakes", (f'<p class="soft">{MISTAKES_NOTE}</p>' if figures else "") + sheet)


def _tile(tile: bytes, side: int, name: str, title: str, kind: str, *lines: str) -> str:
    coarse = ' class="coarse"' if side < COARSE_BELOW else ""
    below = "".join(f"<span>{escape(line)}</span>" for line in lines)
    return (
        f'<li class="{kind}"><img{coarse} alt="{escape(name)}" title="{escape(name)}" '
        f'src="{data_address(tile, "webp")}"><b>{escape(title)}</b>{below}</li>'
    )


def _named(index: int, path: Any) -> str:
    return f"image {path or index}"
