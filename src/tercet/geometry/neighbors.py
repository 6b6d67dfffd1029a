"""Exact nearest neighbours by squared Euclidean distance, in chunks of bounded memory."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.geometry.distances import squared_distances

CHUNK_ELEMENTS = 16_000_000  # distances held at a time: 64 MB of float32


def nearest(
    queries: Float[Tensor, "M D"], gallery: Float[Tensor, "N D"], k: int
) -> tuple[Float[Tensor, "M k"], Int64[Tensor, "M k"]]:
    """The k nearest gallery rows of each query, nearest first: (squared distances, indices).

    k is lowered to the number of rows there are.
    """
    k = min(k, len(gallery))
    rows = max(1, CHUNK_ELEMENTS // max(1, len(gallery)))
    distances, indices = [], []
    for start in range(0, len(queries), rows):
        chunk = squared_distances(queries[start : start + rows], gallery)  # [rows, N]
        values, positions = chunk.topk(k, dim=1, largest=False)
        distances.append(values)
        indices.append(positions)
    if not distances:
        return queries.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=queries.device)
    return torch.cat(distances), torch.cat(indices)


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
