"""The verdict in plain words: ahead, level or behind, by a paired test on the same test images.

Reference: McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 1947;
the exact binomial form. Over several seeds: the paired t interval of the differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from jaxtyping import Bool
from scipy import stats
from torch import Tensor

SIGNIFICANCE = 0.05
LABELS = {  # in tables
    "triplet_mlp_head": "triplet encoder + MLP head",
    "triplet_linear_head": "triplet encoder + linear head",
    "triplet_knn": "triplet encoder + kNN",
    "cnn_cross_entropy": "same network, cross-entropy",
    "logistic_regression": "logistic regression on pixels",
    "majority": "majority class",
}
NAMES = {  # in sentences
    "triplet_mlp_head": "the triplet encoder with a small network",
    "cnn_cross_entropy": "the same network trained by cross-entropy",
    "logistic_regression": "logistic regression on pixels",
    "majority": "the majority class",
}


def mcnemar(ours: Bool[Tensor, " N"], theirs: Bool[Tensor, " N"]) -> float:
    """Two-sided p value that two methods, judged on the same images, are equally good; 1 where they never differ.

    >>> import torch
    >>> mcnemar(torch.tensor([True] * 6), torch.tensor([False] * 6))
    0.03125
    """
    only_ours = int((ours & ~theirs).sum())
    differing = only_ours + int((theirs & ~ours).sum())
    return float(stats.binomtest(only_ours, differing).pvalue) if differing else 1.0


def verdict_of_one(correct: dict[str, Bool[Tensor, " N"]]) -> str:
    """Compare `triplet_mlp_head` with each baseline on one test set."""
    ours = correct["triplet_mlp_head"]
    parts = []
    for name, theirs in correct.items():
        if not name.startswith("triplet_"):
            p_value = mcnemar(ours, theirs)
            points = 100 * (float(ours.float().mean()) - float(theirs.float().mean()))
            parts.append(_comparison(name, points, p_value < SIGNIFICANCE, f"McNemar p {_shown(p_value)}"))
    return (
        f"{NAMES['triplet_mlp_head'].capitalize()} is {_joined(parts)}, on the same {len(ours):,} test images. "
        "One run: the intervals leave out the variance between seeds."
    )


def verdict_of_seeds(accuracies: dict[str, Sequence[float]]) -> str:
    """Compare `triplet_mlp_head` with each baseline over runs that differ in the seed; at least two runs."""
    ours = accuracies["triplet_mlp_head"]
    parts = []
    for name, theirs in accuracies.items():
        if not name.startswith("triplet_"):
            differences = [100 * (a - b) for a, b in zip(ours, theirs, strict=True)]
            middle = fmean(differences)
            quantile = float(stats.t.ppf(1 - SIGNIFICANCE / 2, len(ours) - 1))
            half = quantile * stdev(differences) / math.sqrt(len(ours))
            interval = f"95 % interval {middle - half:+.1f} to {middle + half:+.1f}"
            parts.append(_comparison(name, middle, abs(middle) > half, interval))
    subject = NAMES["triplet_mlp_head"].capitalize()
    return f"{subject} is {_joined(parts)}, paired over {len(ours)} seeds on the same test set."


def _comparison(name: str, points: float, differs: bool, evidence: str) -> str:
    if not differs:
        return f"level with {NAMES[name]} ({points:+.1f} points, {evidence})"
    return f"{'ahead of' if points > 0 else 'behind'} {NAMES[name]} by {abs(points):.1f} points ({evidence})"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _shown(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"
