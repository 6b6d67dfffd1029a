"""A sheet: images that were searched by, each beside what was found for it, as one picture for people to look at."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from tercet.data.archive import read_file
from tercet.data.decode import Pixels, read_image, read_short_side
from tercet.errors import DataError, UsageError
from tercet.evaluation.look import DPI, in_our_look, save
from tercet.evaluation.palette import PALETTE
from tercet.evaluation.thumbnails import COARSE_BELOW
from tercet.inference.gallery import Match

# In pixels: a tile, what is between two, two lines below one, what parts a query from its results and from the next.
TILE, GAP, CAPTION, AISLE, BREAK = 180, 16, 60, 40, 28
FRAME = 4  # around a query
COLUMNS = 5  # results side by side
MOST_ROWS = 100  # 24,000 pixels, which viewers still open: a guess
SMALL, LEADING = 8, 22  # points, and the pixels from one line to the next
QUERY, FAINT, EMPTY, LINE = PALETTE[0], "#707070", 236, 216
LONGEST = 40  # characters of a name that might fit


def check_sheet(path: Path, queries: int, k: int) -> None:
    """UsageError where a sheet would not fit, or its name says that it is no PNG."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--sheet is {path}; expected a name that ends in .png.")
    if (rows := queries * _rows(k)) > MOST_ROWS:
        raise UsageError(
            f"--sheet would have {rows:,} rows of {COLUMNS}; expected {MOST_ROWS} or fewer: ask for less by one sheet."
        )


@in_our_look
def write_sheet(path: Path, found: Sequence[tuple[str, Sequence[Match]]]) -> None:
    """Draw the queries, one at least, and the files found for each, as they lie on the disk now.

    What cannot be read is an empty tile that says so.
    """
    most = max(len(matches) for _, matches in found)
    columns = math.ceil(most / _rows(most))  # as many in each row, where there are several
    width = GAP + TILE + AISLE + columns * (TILE + GAP)
    height = GAP - BREAK + sum(_rows(len(matches), columns) * (TILE + CAPTION) + BREAK for _, matches in found)
    pixels = np.full((height, width, 3), 255, np.uint8)
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    figure.set_layout_engine("none")
    captions = Captions(figure)
    top = GAP
    for query, matches in found:
        if top > GAP:
            pixels[top - BREAK // 2, GAP : width - GAP] = LINE
        frame = slice(top - FRAME, top + TILE + FRAME), slice(GAP - FRAME, GAP + TILE + FRAME)
        pixels[frame] = tuple(bytes.fromhex(QUERY[1:]))
        _place(pixels, captions, query, GAP, top)
        captions.write(GAP, top + TILE, "query", query, QUERY)
        for rank, match in enumerate(matches):
            left = GAP + TILE + AISLE + rank % columns * (TILE + GAP)
            below = top + rank // columns * (TILE + CAPTION)
            _place(pixels, captions, match.path, left, below)
            captions.write(left, below + TILE, f"{match.distance:.3f}", match.path)
        top += _rows(len(matches), columns) * (TILE + CAPTION) + BREAK
    figure.figimage(pixels, origin="upper")
    try:
        save(figure, path)
    except OSError as error:
        raise DataError(f"--sheet {path} cannot be written ({error.strerror}); give another path.") from error


class Captions:
    """Writes on a figure by pixels from its upper left corner."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        self.font = FontProperties(size=SMALL)

    def write(self, left: int, top: int, title: str, path: str, color: str = "black") -> None:
        """Two lines below a tile: a title, and the file's name and folder as far as they fit."""
        self._text(left, top + 8, title, color=color, weight="bold", va="top")
        self._text(left, top + 8 + LEADING, self.fitted(str(Path(*Path(path).parts[-2:]))), color=FAINT, va="top")

    def note(self, left: int, top: int, text: str) -> None:
        """Words in the middle of a tile."""
        self._text(left + TILE / 2, top + TILE / 2, text, color=FAINT, ha="center", va="center")

    def fitted(self, name: str) -> str:
        """The name as wide as a tile at most: letters are left out in the middle, since names differ at their ends."""
        name = " ".join(name.encode(errors="replace").decode().split())
        for kept in range(min(len(name), LONGEST), 0, -1):
            whole = kept == len(name)
            text = name if whole else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
            if self._width(text) <= TILE:
                return text
        return ""

    def _width(self, text: str) -> float:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # as in `save`
            return float(self.renderer.get_text_width_height_descent(text, self.font, ismath=False)[0])

    def _text(self, left: float, top: float, text: str, **look: Any) -> None:
        width, height = self.figure.get_size_inches() * DPI
        self.figure.text(left / width, 1 - top / height, text, fontsize=SMALL, **look)


def _rows(results: int, columns: int = COLUMNS) -> int:
    return max(1, math.ceil(results / max(1, columns)))


def _place(pixels: Pixels, captions: Captions, path: str, left: int, top: int) -> None:
    tile = _tile(path)
    pixels[top : top + TILE, left : left + TILE] = EMPTY if tile is None else tile
    if tile is None:
        captions.note(left, top, "cannot be read")


def _tile(path: str) -> Pixels | None:
    """The middle of an image, as the encoder sees it; None where it is gone or cannot be read."""
    try:
        content = read_file(Path(path))
        short_side = read_short_side(BytesIO(content)) or TILE
        if short_side >= COARSE_BELOW:
            return read_image(BytesIO(content), TILE)
        places = np.arange(TILE) * short_side // TILE  # each pixel a square
        return read_image(BytesIO(content), short_side)[places][:, places]
    except (OSError, DataError):
        return None
