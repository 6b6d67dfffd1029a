"""What is read off a frozen embedding, the same way in each of the training benchmarks.

The test set comes to `judge` and `search` only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tercet.config import Config
from tercet.data.imageset import ImageSet
from tercet.geometry.metrics import expected_calibration_error, retrieval
from tercet.model.embed import embed
from tercet.model.head import Head
from tercet.training.bundle import Pair, embed_some
from tercet.training.head import HIDDEN, WEIGHT_DECAYS, fit_head, head_images
from tercet.training.randomness import derived_generator


def fit_probe(
    train: Pair,
    validation: Pair,
    class_counts: Sequence[int],
    config: Config,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
) -> tuple[Head, float]:
    """The small network on frozen embeddings, as tercet fits it, and its accuracy on the validation part.

    The `class_counts` are of the set that `train` was drawn from.
    """
    head, history = fit_head(
        train,
        validation,
        class_counts=class_counts,
        hidden=HIDDEN,
        seed=config.seed,
        class_weight=config.class_weight,
        weight_decays=weight_decays,
    )
    return head.eval(), float(history[-1]["validation_accuracy"])


def hold_out(pair: Pair, share: float, seed: int) -> tuple[Pair, Pair]:
    """(the rest, a random share): the latter for the choice of the head's weight decay where nothing else is left."""
    embeddings, labels = pair
    order = torch.randperm(len(labels), generator=derived_generator(seed, "held out"))
    count = max(1, round(share * len(labels)))
    chosen, rest = order[:count], order[count:]
    return (embeddings[rest], labels[rest]), (embeddings[chosen], labels[chosen])


def stratified(labels: Tensor, share: float, seed: int) -> Tensor:
    """Indices of a random share of each class, at least two images of it."""
    generator = derived_generator(seed, "few labels", str(share))
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        count = max(2, round(share * len(members)))
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(chosen)


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """(N, C, H, W) images moved by so many pixels; what comes into view repeats the border."""
    rows, columns = (
        (torch.arange(side) - by).clamp(0, side - 1) for side, by in zip(images.shape[2:], (down, right), strict=True)
    )
    return images[:, :, rows[:, None], columns]


@torch.no_grad()
def probabilities(head: nn.Module, embeddings: Tensor) -> Tensor:
    """The share of each class."""
    return torch.softmax(head(embeddings), dim=1)


def judge(shares: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and calibration error."""
    return int((shares.argmax(1) == labels).sum()) / len(labels), expected_calibration_error(shares, labels)


def search(embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    """Recall@1 and MAP@R by the cosine, so that embeddings of any length are searched alike."""
    recall_at_1, map_at_r = retrieval(nn.functional.normalize(embeddings, dim=1), labels)
    return {"recall@1": recall_at_1, "map@r": map_at_r}


def embedded(network: nn.Module, train: ImageSet, validation: ImageSet, config: Config) -> tuple[Pair, Pair]:
    """What the head learns from, and the validation part, at the precision of training."""
    chosen = head_images(train.labels, config.head_images, config.seed)
    read = embed_some(network, train, chosen, config.precision).tensors["embeddings"]
    return (read, train.labels[chosen]), (
        embed(network, validation.images, precision=config.precision),
        validation.labels,
    )


def read_off(
    network: nn.Module, train: ImageSet, validation: ImageSet, test: ImageSet, config: Config
) -> tuple[dict[str, float], Pair]:
    """The figures of a frozen embedding with the small network on it; then the embedded test part.

    The training part is embedded at the precision of training, the test part in float32 as a Bundle does it.
    """
    pairs = embedded(network, train, validation, config)
    head, validation_accuracy = fit_probe(*pairs, train.class_counts(), config)
    embeddings = embed(network, test.images)
    accuracy, error = judge(probabilities(head, embeddings), test.labels)
    figures = {
        "head_accuracy": accuracy,
        "head_calibration_error": error,
        "head_validation_accuracy": validation_accuracy,
    }
    return figures | search(embeddings, test.labels), (embeddings, test.labels)
