"""How far apart the encoder puts images of different classes, beside images of one class.

Knows embeddings and labels only. Distances are Euclidean, smaller is nearer; pairs are drawn, not all taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from tercet.training.faults import relative_spread

PAIRS = 20_000  # of each kind: a share of one half is known to 0.7 points (95 %, if pairs were independent)
BINS = 60  # of the histogram


@dataclass(frozen=True, eq=False)
class Separation:
    """Distances of pairs of test images, and what they say."""

    same: Float[np.ndarray, " P"]  # pairs of one class, ascending
    different: Float[np.ndarray, " P"]  # pairs of two classes, ascending
    spread: float  # of the embeddings, as the guard measures it: near 0 where all are alike

    @property
    def edges(self) -> Float[np.ndarray, " E"]:
        """The edges of the histogram's bins."""
        return np.linspace(0, float(max(self.same[-1], self.different[-1])) or 1.0, BINS + 1)

    @property
    def overlap(self) -> float:
        """The share of the histograms' area that they have in common: 0 if apart, 1 if alike."""
        shares = [np.histogram(distances, self.edges)[0] / len(distances) for distances in (self.same, self.different)]
        return float(np.minimum(*shares).sum())

    @property
    def order(self) -> float:
        """How often a pair of one class is nearer than a pair of two; ties count half, so 0.5 is chance."""
        before = np.searchsorted(self.different, self.same, "left").mean() / len(self.different)
        until = np.searchsorted(self.different, self.same, "right").mean() / len(self.different)
        return float(1 - (before + until) / 2)


def separation(embeddings: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"], seed: int) -> Separation | None:
    """Draw pairs of either kind; None where there is no pair of one of them."""
    generator = np.random.default_rng(seed)
    grouped = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    has_mate = np.flatnonzero(counts[labels] > 1)
    if not len(has_mate) or counts.max() == len(labels):
        return None
    # Anchors at random; the partner is one of the n - 1 others of its class, or one of those outside of it.
    anchors = generator.choice(has_mate, PAIRS)
    rank = np.empty_like(grouped)
    rank[grouped] = np.arange(len(labels))
    own, first = counts[labels[anchors]], starts[labels[anchors]]
    steps = generator.integers(1, own)
    mates = grouped[first + (rank[anchors] - first + steps) % own]
    others_of = generator.integers(0, len(labels), PAIRS)
    own, first = counts[labels[others_of]], starts[labels[others_of]]
    strangers = grouped[(first + own + generator.integers(0, len(labels) - own)) % len(labels)]
    return Separation(
        same=np.sort(_distances(embeddings[anchors], embeddings[mates])),
        different=np.sort(_distances(embeddings[others_of], embeddings[strangers])),
        spread=relative_spread(torch.from_numpy(embeddings)),
    )


def _distances(rows: Float[np.ndarray, "P D"], others: Float[np.ndarray, "P D"]) -> Float[np.ndarray, " P"]:
    return np.asarray(np.sqrt(np.square(rows - others).sum(axis=1)))
