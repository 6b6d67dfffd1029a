"""The embedding laid out in the plane, for the eye: classes that the encoder keeps apart show as separate islands.

Knows nothing of figures: places for names are found in the units of the points. Which points lie together means
something; the distances between islands and their sizes do not.

References: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE"; Kobak and Berens 2019 (a start from the
principal components); Linderman et al. 2019, FIt-SNE (the gradient by interpolation on a grid); Poličar et al. 2019,
"openTSNE" (the implementation).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tercet.errors import DataError
from tercet.interruption import HeldSignals

PERPLEXITY = 30.0  # van der Maaten and Hinton 2008 advise 5 to 50
FEWEST_POINTS = 4
FFT_FROM = 3_000  # rows; there the grid of the interpolated gradient begins to beat the Barnes-Hut tree
MOST_HIDDEN = 1 / 3  # of the points of a class, by its name: a guess
ASIDE = 0.6  # of its height, from the middle of a name to the nearest point beside it: half of it and some air
STEPS_HELD = 20  # after which a signal acts: half a second at 10,000 rows
CELL = 2  # side of the grid's cells, where Linderman et al. take 1: less time, nearly the same neighbours (docs/log.md)


def tsne(embeddings: Float[Tensor, "N D"], seed: int) -> Float[np.ndarray, "N 2"]:
    """t-SNE of the embeddings: float32 points in the order of the rows, the same bytes for the same seed.

    The perplexity is lowered to (N - 1) / 3 where there are few points. Embeddings that are all equal come out as one
    shapeless cloud. A signal waits for up to 20 steps, the first of them for the neighbours as well: compiled code of
    openTSNE can crash on what is raised in it.
    """
    if len(embeddings) < FEWEST_POINTS:
        raise DataError(
            f"found {len(embeddings)} embeddings to project; t-SNE needs at least {FEWEST_POINTS}, so add images."
        )
    rows = embeddings.detach().cpu().numpy().astype(np.float64)
    has_plane = rows.shape[1] >= 2 and bool(np.ptp(rows, axis=0).any())  # principal components need a spread to find
    with HeldSignals() as signals:
        from openTSNE import TSNE  # seconds to import, so only where a picture is wanted

        points = TSNE(
            perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
            initialization="pca" if has_plane else "random",
            neighbors="exact",  # the approximate index is slower at 10,000 rows
            negative_gradient_method="bh" if len(rows) < FFT_FROM else "fft",
            ints_in_interval=CELL,
            random_state=seed,
            n_jobs=1,  # a second thread gains nothing at 10,000 rows, and with Barnes-Hut no two runs agree
            callbacks=lambda *_: signals.let_go(),
            callbacks_every_iters=STEPS_HELD,
        ).fit(rows)
    return np.asarray(points, dtype=np.float32)


def name_places(
    points: Float[np.ndarray, "N 2"],
    labels: Int[np.ndarray, " N"],
    boxes: Float[np.ndarray, "C 2"],
    *,
    must_place: bool,
) -> dict[int, Float[np.ndarray, " 2"]]:
    """Where to write each class's name: on the densest of its points where the name overlaps no earlier one.

    `boxes` holds the width and height of each name. Only the denser half of a class is tried, so that no name lands on
    a stray point. A class that finds no free place is written on its densest point if `must_place`, else left out.
    A name that would hide much of its class stands beside what it would hide, towards the middle of the picture.
    """
    cells, smoothing = 64, 3.0  # of the grid that the density is read from, and in cells
    low, span = points.min(axis=0), float(np.ptp(points, axis=0).max()) or 1.0
    positions = ((points - low) / span * (cells - 1)).round().astype(int)
    centres, taken = np.empty((0, 2)), np.empty((0, 2))
    middle = float(points[:, 1].min() + points[:, 1].max()) / 2
    places: dict[int, Float[np.ndarray, " 2"]] = {}
    for label in np.unique(labels).tolist():
        members = labels == label
        counts = np.zeros((cells, cells))
        np.add.at(counts, tuple(positions[members].T), 1)
        density = gaussian_filter(counts, smoothing, mode="constant")[tuple(positions[members].T)]
        densest = points[members][np.argsort(-density, kind="stable")][: (len(density) + 1) // 2]
        is_blocked = _overlaps(densest, boxes[label], centres, taken).any(axis=1)
        if is_blocked.all() and not must_place:
            continue
        place = densest[int(is_blocked.argmin())]
        beside = _beside(place, boxes[label], points[members], middle)
        places[label] = place if _overlaps(beside[None], boxes[label], centres, taken).any() else beside
        centres, taken = np.vstack([centres, places[label]]), np.vstack([taken, boxes[label]])
    return places


def _overlaps(
    places: Float[np.ndarray, "P 2"],
    box: Float[np.ndarray, " 2"],
    centres: Float[np.ndarray, "K 2"],
    taken: Float[np.ndarray, "K 2"],
) -> Bool[np.ndarray, "P K"]:
    found: Bool[np.ndarray, "P K"] = (np.abs(places[:, None] - centres) < (box + taken) / 2).all(axis=2)
    return found


def _beside(
    place: Float[np.ndarray, " 2"], box: Float[np.ndarray, " 2"], members: Float[np.ndarray, "N 2"], middle: float
) -> Float[np.ndarray, " 2"]:
    """The place itself where a name there hides few members, else the next one that hides none."""

    def hidden(place: Float[np.ndarray, " 2"]) -> Float[np.ndarray, "n 2"]:
        under: Float[np.ndarray, "n 2"] = members[(np.abs(members - place) < box / 2).all(axis=1)]
        return under

    if len(hidden(place)) <= MOST_HIDDEN * len(members):
        return place
    way = 1 if place[1] < middle else -1
    while len(under := hidden(place)):
        place = np.array([place[0], way * ((way * under[:, 1]).max() + ASIDE * box[1])])
    return place
