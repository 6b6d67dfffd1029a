"""Exact nearest neighbours by squared Euclidean distance, in chunks of bounded memory."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.geometry.distances import squared_distances

CHUNK_ELEMENTS = 16_000_000  # distances held at a time: 64 MB of float32
GALLERY_ROWS = 65_536  # compared at a time: 32 MB at 128 numbers


def nearest(
    queries: Float[Tensor, "M D"], gallery: Float[Tensor, "N D"], k: int
) -> tuple[Float[Tensor, "M k"], Int64[Tensor, "M k"]]:
    """The k nearest gallery rows of each query, nearest first: (squared distances, indices).

    k is lowered to the number of rows there are. The gallery is read from its first row to its last and nothing of its
    size is made, so it may be a file mapped into memory.
    """
    k = min(k, len(gallery))
    rows = max(1, CHUNK_ELEMENTS // max(1, min(len(gallery), GALLERY_ROWS)))
    found = [_nearest_of_chunk(chunk, gallery, k) for chunk in queries.split(rows)]
    return torch.cat([distances for distances, _ in found]), torch.cat([indices for _, indices in found])


def _nearest_of_chunk(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    best = queries.new_empty(len(queries), 0)
    indices = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(gallery), GALLERY_ROWS):
        distances = _distances(queries, gallery[start : start + GALLERY_ROWS])  # [M, rows]
        values, positions = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        if start == 0:
            best, indices = values, positions
            continue
        candidates = torch.cat([best, values], dim=1)
        best, kept = candidates.topk(min(k, candidates.shape[1]), dim=1, largest=False)
        indices = torch.cat([indices, positions + start], dim=1).gather(1, kept)
    return best, indices


def _distances(queries: Tensor, gallery: Tensor) -> Tensor:
    if len(queries) > 1:
        return squared_distances(queries, gallery)
    # A matrix product does not pay for one row; this passes over the gallery once and makes nothing of its size.
    return torch.cdist(queries, gallery, compute_mode="donot_use_mm_for_euclid_dist").square_()


def knn_probabilities(neighbor_labels: Int64[Tensor, "M k"], class_count: int) -> Float[Tensor, "M C"]:
    """The share of each class among the k neighbours of each query, which come nearest first.

    Neighbours are weighted by 1 / (1 + rank / k): a gentle preference for the nearer ones that settles most ties and
    needs no length scale.
    """
    k = neighbor_labels.shape[1]
    weights = 1 / (1 + torch.arange(k, device=neighbor_labels.device) / k)  # [k]
    votes = torch.zeros(len(neighbor_labels), class_count, device=neighbor_labels.device)
    votes.scatter_add_(1, neighbor_labels, weights.expand_as(neighbor_labels).contiguous())
    return votes / votes.sum(1, keepdim=True)
