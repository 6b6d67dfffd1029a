"""How good predictions and embeddings are. Counts and shares in, numbers out; knows no model and no file."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tercet.geometry.distances import squared_distances
from tercet.geometry.neighbors import CHUNK_ELEMENTS


def confusion_matrix(
    labels: Int64[Tensor, " N"], predicted: Int64[Tensor, " N"], class_count: int
) -> Int64[Tensor, "C C"]:
    """Counts, true class by row, predicted class by column.

    >>> confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)
    tensor([[1, 1],
            [0, 1]])
    """
    return torch.bincount(labels * class_count + predicted, minlength=class_count**2).reshape(class_count, class_count)


def accuracy(confusion: Int64[Tensor, "C C"]) -> float:
    """Share of all images on the diagonal."""
    return int(confusion.trace()) / max(1, int(confusion.sum()))


def recalls(confusion: Int64[Tensor, "C C"]) -> Float[Tensor, " C"]:
    """Share of each class that was found; NaN for a class without images."""
    return confusion.diagonal() / confusion.sum(1)


def balanced_accuracy(confusion: Int64[Tensor, "C C"]) -> float:
    """Mean recall over the classes that have images."""
    return float(recalls(confusion).nanmean())


def macro_f1(confusion: Int64[Tensor, "C C"]) -> float:
    """Mean over classes of 2 TP / (2 TP + FP + FN), over classes that occur as a label or a prediction."""
    found = confusion.sum(0) + confusion.sum(1)  # 2 TP + FP + FN
    return float((2 * confusion.diagonal() / found)[found > 0].mean())


def wilson_interval(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share of independent trials; with no trials, all of [0, 1].

    Reference: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.

    >>> [round(bound, 3) for bound in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    if total == 0:
        return 0.0, 1.0
    share, spread = correct / total, z * z / total
    center = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def expected_calibration_error(
    probabilities: Float[Tensor, "N C"], labels: Int64[Tensor, " N"], bin_count: int = 15
) -> float:
    """Mean gap between confidence and accuracy over `bin_count` equal bins of confidence, weighted by their images.

    Reference: Guo et al., On calibration of modern neural networks, ICML 2017, equation 3.
    """
    confidence, predicted = probabilities.max(1)
    bins = (confidence * bin_count).long().clamp(0, bin_count - 1)
    gaps = torch.zeros(bin_count, dtype=torch.float64).index_add_(
        0, bins, (confidence - (predicted == labels).float()).double()
    )
    return float(gaps.abs().sum() / max(1, len(labels)))


def retrieval(embeddings: Float[Tensor, "N D"], labels: Int64[Tensor, " N"]) -> tuple[float, float]:
    """Recall@1 and MAP@R of each row searched among all others; rows without a second of their class are left out.

    For a query with R others of its class, MAP@R is the mean over the R nearest of precision-at-i where the i-th is of
    the class, and 0 where it is not.

    Reference: Musgrave et al., A metric learning reality check, ECCV 2020, section 3.2.
    """
    counts = torch.bincount(labels)[labels] - 1  # R of each row
    deepest = int(counts.max()) if len(counts) else 0
    if deepest < 1:
        return math.nan, math.nan
    rows = max(1, CHUNK_ELEMENTS // len(embeddings))
    first, average = 0.0, 0.0
    for start in range(0, len(embeddings), rows):
        own = torch.arange(start, min(start + rows, len(embeddings)), device=labels.device)
        distances = squared_distances(embeddings[own], embeddings)  # [rows, N]
        distances[own - start, own] = torch.inf
        order = distances.topk(deepest, dim=1, largest=False).indices
        precision = _average_precision_at_r(labels[order] == labels[own, None], counts[own])
        has_mates = counts[own] > 0
        first += float((labels[order[:, 0]] == labels[own])[has_mates].sum())
        average += float(precision[has_mates].sum())
    queries = int((counts > 0).sum())
    return first / queries, average / queries


def _average_precision_at_r(hits: Bool[Tensor, "M R"], counts: Int64[Tensor, " M"]) -> Float[Tensor, " M"]:
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    hits = hits & (ranks <= counts[:, None])  # each query looks only as deep as its own R
    precision = hits.cumsum(1) / ranks
    return (precision * hits).sum(1) / counts.clamp_min(1)
