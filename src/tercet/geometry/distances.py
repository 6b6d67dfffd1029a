"""Distances between embeddings, and the one sign convention: a distance, smaller is nearer.

No similarity crosses a function boundary anywhere in tercet. Distances here are squared Euclidean, the quantity in the
triplet loss; for unit vectors it equals 2 - 2 cos, so it orders neighbours exactly as the cosine does.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def squared_distances(queries: Float[Tensor, "M D"], gallery: Float[Tensor, "N D"]) -> Float[Tensor, "M N"]:
    """Squared Euclidean distance of every query to every gallery row, never negative.

    Computed as |x|^2 + |y|^2 - 2 x.y: one matrix product, no `[M, N, D]` tensor. Rounding leaves an error of a few
    units in the last place of |x|^2, so two equal rows may come out at 1e-7 rather than 0.

    >>> import torch
    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """
    query_norms = queries.square().sum(1)[:, None]  # [M, 1]
    gallery_norms = gallery.square().sum(1)[None, :]  # [1, N]
    # In place: of [M, N] there is one tensor, not four.
    return (query_norms + gallery_norms).addmm_(queries, gallery.T, alpha=-2).clamp_min_(0)
