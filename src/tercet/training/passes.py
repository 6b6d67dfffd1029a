"""Passes over the training images: the batches of one, and which images it leaves out.

An image far from every class but its own has little left to teach. From the second pass on, each leaves out of every
class a share of the images that were farthest when last seen, so that the same steps go to the others more often.
Knows labels and distances, no images. What it brings: docs/log.md, 2026-11-24.
"""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.config import Config
from tercet.data.batches import batch_shape, epoch_batches
from tercet.training.losses import class_distances
from tercet.training.randomness import derived_generator

logger = logging.getLogger(__name__)

RETURN = 0.5  # standard deviations by which a gap falls for each pass that leaves its image out: a guess


def steps_per_epoch(labels: Int64[Tensor, " N"], config: Config) -> int:
    """The batches that show every image once; says in the log which classes must repeat images."""
    counts = [count for count in torch.bincount(labels).tolist() if count]
    _, images_per_class = batch_shape(counts, config.batch_size)
    if short := sum(count < images_per_class for count in counts):
        logger.info("%d classes have fewer than %d images and repeat some in a batch", short, images_per_class)
    return len(plan_pass(labels, config, 0))


def step_count(steps_an_epoch: int, epochs: float) -> int:
    """The steps of the whole training, at least one; of 2.5 epochs the last ends after half of its steps."""
    return min(max(1, round(epochs * steps_an_epoch)), math.ceil(epochs) * steps_an_epoch)


def plan_pass(
    labels: Int64[Tensor, " N"], config: Config, number: int, shown: Int64[Tensor, " n"] | None = None
) -> Int64[Tensor, "S B"]:
    """The image indices of each batch of a pass that shows all images, or those of `shown`."""
    counts = [count for count in torch.bincount(labels).tolist() if count]
    classes_per_batch, images_per_class = batch_shape(counts, config.batch_size)
    generator = derived_generator(config.seed, "batches", number)
    if shown is None:
        return epoch_batches(labels, classes_per_batch, images_per_class, generator)
    return shown[epoch_batches(labels[shown], classes_per_batch, images_per_class, generator)]


@torch.no_grad()
def class_gaps(embeddings: Float[Tensor, "B D"], labels: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
    """How much farther each image is from the nearest mean of another class of the batch than from its own's.

    Squared distances; its own mean is that of the other images. 0 where the batch holds one class.
    """
    distances, own, _ = class_distances(embeddings, labels)
    if distances.shape[1] == 1:
        return torch.zeros_like(embeddings[:, 0])
    to_own = distances.gather(1, own[:, None])
    return (distances.scatter(1, own[:, None], torch.inf).amin(1, keepdim=True) - to_own).squeeze(1)


def left_out(gaps: Float[Tensor, " N"], labels: Int64[Tensor, " N"], share: float) -> Int64[Tensor, " n"]:
    """The images of the widest gaps, that share of each class."""
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        chosen.append(members[gaps[members].argsort(descending=True, stable=True)[: int(share * len(members))]])
    return torch.cat(chosen)
