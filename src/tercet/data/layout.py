"""Which part and class an image belongs to, told from its path alone.

Two layouts are understood, each also inside one wrapping folder: `train/`, `test/` and perhaps `val/` that hold class
folders, also by their other usual names, or class folders only. Knows nothing of files: paths are text with `/` between
the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tercet.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
WHOLE = "train"  # the part that must be there, and that of every image where there are class folders only


class Place(NamedTuple):
    """Where an image belongs; places sort by part, then class, then path."""

    part: str
    label: str
    path: str


def arrange(paths: Iterable[str]) -> tuple[list[Place], list[str]]:
    """Find each image's place: (the places in order, the paths outside of any class folder)."""
    steps = {path: path.split("/") for path in paths}
    depth = _wrapping(steps.values())
    has_parts = _has_parts({step[depth] for step in steps.values() if len(step) > depth + 1})
    places, strays = [], []
    for path, step in steps.items():
        folders = step[depth:-1]
        part = _part(folders[0]) if has_parts and folders else WHOLE
        folders = folders[1:] if has_parts else folders
        if part and folders:
            places.append(Place(part, folders[0], path))
        else:
            strays.append(path)
    return sorted(places), sorted(strays)


def _wrapping(steps: Iterable[list[str]]) -> int:
    """The number of folders to look through: 1 where all else lies in one folder that is no part and has folders."""
    inside = [step for step in steps if len(step) > 1]
    tops = {step[0] for step in inside}
    return int(len(tops) == 1 and not any(map(_part, tops)) and any(len(step) > 2 for step in inside))


def _has_parts(tops: set[str]) -> bool:
    """Whether the top folders are parts rather than classes, of which one may well be called `train`."""
    parts = {_part(top) for top in tops}
    if parts >= {"train", "test"} or (tops and None not in parts):
        if "train" not in parts:
            raise DataError(f"found {' and '.join(f'{top}/' for top in sorted(tops))} but no train/; add it.")
        return True
    return False


def _part(folder: str) -> str | None:
    """The part that a folder of this name, in capitals or not, stands for."""
    return PARTS.get(folder.casefold())
