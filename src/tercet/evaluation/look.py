"""How every figure looks: type, size; and how it is written. The colours are in `palette`.

Sized to be read 700 pixels wide on white. Without matplotlib's global state: no pyplot, no change to the caller's
settings. Only this module, `plots` and `curves` import matplotlib.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

from matplotlib import font_manager, style
from matplotlib.figure import Figure

from tercet.files import write_atomically

WIDTH = 7.0  # inches: 1,050 pixels, so that 10 points are 14 pixels when shown 700 wide
DPI = 150
# Asked after DejaVu Sans for the scripts that it lacks: the usual ones of Linux, macOS and Windows. A list of guesses;
# what the machine has not is left out, since matplotlib would warn of it, and then such letters show as boxes.
FALLBACK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Geeza Pro", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Nirmala UI", "Segoe UI"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Unifont"),
)


def fonts() -> list[str]:
    """DejaVu Sans, which comes with matplotlib, and the fallbacks that this machine has."""
    present = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in present)]


LOOK = {
    "figure.constrained_layout.use": True,
    "font.family": fonts(),  # the first holds for all Latin, Greek and Cyrillic names, whatever the machine has
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#8a8a8a",
    "xtick.labelcolor": "black",
    "ytick.color": "#8a8a8a",
    "ytick.labelcolor": "black",
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "text.parse_math": False,  # a class may be called "$5"
}
in_our_look = style.context(LOOK, after_reset=True)


@in_our_look
def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all and the same bytes for the same figure, and empty it."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # no font here has the letter, which shows as a box
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    figure.clear()
    write_atomically(path, content.getvalue())


def short(name: str) -> str:
    """One line of at most 18 characters; a file system's undecodable bytes become question marks."""
    name = " ".join(name.encode(errors="replace").decode().split())
    return name if len(name) <= 18 else name[:17] + "…"


def percent(share: float, _position: object = None) -> str:
    """A share as the label of a tick."""
    return f"{100 * share:.4g} %"
