"""Chooses the images that the report and the service show, and saves what showing them takes.

A random sample for the interactive t-SNE, a few images with their nearest training images, the mistakes made with most
confidence, and a random sample of the training images. Knows embeddings, labels and pixels; how they are laid out on
the page is the business of `sheets` and `explorer`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.data.batches import places_in_classes
from tercet.data.imageset import ImageSet
from tercet.evaluation.thumbnails import columns_of, write_grid
from tercet.files import write_arrays, write_atomically
from tercet.geometry.neighbors import nearest
from tercet.training.randomness import derived_generator

MOST_SHOWN = 10_000  # points of the t-SNE: what a page of 5 MB holds, and 17 s of one core
MOST_PICTURED = 5_000  # training images: beside a new image one like it is found among so many
PICTURED_PIXELS = MOST_PICTURED * 64 * 64  # of their grid, which no page has to hold: tiles of 64 pixels at least
QUERIES = 10  # as many as CIFAR-10 has classes
NEIGHBORS = 8
MISTAKES = 24
COLUMNS = 1 + NEIGHBORS  # of the grid of examples: a query and its neighbours a row, then the mistakes


def shown_indices(count: int, seed: int) -> Int64[Tensor, " M"]:
    """Which of `count` test images are laid out in the plane, ascending: all, or a random sample."""
    return _sample(count, MOST_SHOWN, seed, "shown")


def _sample(count: int, most: int, seed: int, purpose: str) -> Int64[Tensor, " M"]:
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=derived_generator(seed, purpose))[:most].sort().values


def spread_over_classes(labels: Int64[Tensor, " N"], count: int, seed: int) -> Int64[Tensor, " M"]:
    """Random images, no class having two more than another as long as it has any left, in the order of the classes."""
    shuffled = torch.randperm(len(labels), generator=derived_generator(seed, "queries"))
    chosen = shuffled[places_in_classes(labels[shuffled]).argsort(stable=True)[:count]]
    return chosen[labels[chosen].argsort(stable=True)]


def confident_mistakes(
    probabilities: Float[Tensor, "N C"], labels: Int64[Tensor, " N"], count: int = MISTAKES
) -> Int64[Tensor, " M"]:
    """The images classified wrongly, the most confident first."""
    confidence, predicted = probabilities.max(1)
    wrong = torch.nonzero(predicted != labels).flatten()
    return wrong[confidence[wrong].argsort(descending=True, stable=True)[:count]]


def save_thumbnails(run: Path, test: ImageSet, shown: Int64[Tensor, " M"]) -> None:
    """Write `thumbnails.webp`: the test images at `shown`, in that order."""
    write_grid(run / "thumbnails.webp", test.images, shown, columns_of(len(shown)))


def save_training_images(run: Path, train: ImageSet, seed: int) -> None:
    """Write `train_thumbnails.webp`, all training images or a random sample, and `train_images.csv`, which says of all.

    A row an image, in the order of the embeddings: index, path, label, and the tile that shows it, empty where none
    does.
    """
    pictured = _sample(len(train), MOST_PICTURED, seed, "pictured")
    grid = run / "train_thumbnails.webp"
    write_grid(grid, train.images, pictured, columns_of(len(pictured)), most_pixels=PICTURED_PIXELS)
    tiles = {index: tile for tile, index in enumerate(pictured.tolist())}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "path", "label", "tile"])
    for index, label in enumerate(train.labels.tolist()):
        path = train.paths[index] if train.paths else ""
        writer.writerow([index, path, train.classes[label], tiles.get(index, "")])
    write_atomically(run / "train_images.csv", text.getvalue())


def save_examples(
    run: Path,
    train: tuple[ImageSet, Float[Tensor, "N D"]],
    test: tuple[ImageSet, Float[Tensor, "M D"]],
    probabilities: Float[Tensor, "M C"],
    seed: int,
) -> None:
    """Write `examples.npz`, which images are shown, and `examples.webp`, what they look like."""
    (gallery, gallery_embeddings), (images, embeddings) = train, test
    queries = spread_over_classes(images.labels, QUERIES, seed)
    distances, neighbors = nearest(embeddings[queries], gallery_embeddings, NEIGHBORS)
    mistakes = confident_mistakes(probabilities, images.labels)
    paths = [[gallery.paths[index] for index in row] for row in neighbors.tolist()] if gallery.paths else []
    write_arrays(
        run / "examples.npz",
        queries=queries.numpy(),
        neighbors=neighbors.numpy(),
        neighbor_labels=gallery.labels[neighbors].numpy(),
        neighbor_paths=np.array(paths, dtype=np.str_),
        distances=distances.sqrt().numpy(),
        mistakes=mistakes.numpy(),
    )
    rows = [
        part
        for row, query in enumerate(queries.tolist())
        for part in (images.images[query, None], gallery.images[neighbors[row]])
    ]
    pictures = torch.cat([*rows, images.images[mistakes]])
    write_grid(run / "examples.webp", pictures, torch.arange(len(pictures)), COLUMNS, lossless=True)
