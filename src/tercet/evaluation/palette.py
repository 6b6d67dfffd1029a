"""The colours and shapes of the classes, in every figure and on every page."""

from __future__ import annotations

# Six of the eight of Okabe and Ito 2008, "Color Universal Design" (black is left to the writing, yellow is lost on
# white), extended greedily by the colour farthest from all before it (OKLab, the worst of normal sight and the three
# dichromacies as simulated by Machado et al. 2009). tests/evaluation/test_plots.py measures the least distance.
PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#600018", "#180090", "#605448", "#a8d8a8"),
    *("#9c6cfc", "#5400e4", "#b42484", "#00e4f0", "#483054", "#e4cc00", "#c0a89c", "#905400", "#841800", "#8400a8"),
)
MARKERS = "o^sDvP"  # the next shape each time the colours are used up
