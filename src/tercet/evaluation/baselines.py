"""What the encoder is compared with: the same network by cross-entropy, logistic regression on pixels, the majority.

Each takes the training and validation parts and gives a function from images to probabilities. Choices are made on
the validation part; the test set never comes here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tercet.config import Config
from tercet.data.imageset import ImageSet
from tercet.model.embed import embed
from tercet.model.features import Part, judged
from tercet.model.members import parts_of, widths_of_parts
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.encoder import fresh_encoder, part_inputs
from tercet.training.guard import Guard
from tercet.training.loop import OnStep, train_network
from tercet.training.member_losses import for_each_member
from tercet.training.randomness import derived_seed

Classify = Callable[[Tensor], Tensor]  # uint8 [N, 3, H, W], of the CNN what it learns from -> probabilities [N, C]

# From strong to weak regularisation, each fit starting from the one before; the range is a guess.
INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2)
MOST_IMAGES = 50_000  # as in CIFAR-10, so that time and memory stay what they are there: 0.6 GB as float32
MOST_PIXELS_ACROSS = 32  # the same
MOST_ITERATIONS = 60  # a fit: 41.0 % on CIFAR-10, JPEG copy, in under a minute (benchmarks/results/reference.jsonl)


def fit_cnn(
    config: Config,
    train: Part,
    validation: Part,
    *,
    checkpoint: Checkpoint,
    on_step: OnStep = lambda *_: None,
) -> tuple[Classify, History]:
    """`train_cnn` as a way to classify."""
    network, history = train_cnn(config, train, validation, checkpoint=checkpoint, on_step=on_step)
    return lambda inputs: torch.softmax(embed(network, inputs), dim=1), history


class MemberReaders(nn.Module):
    """A linear layer for each member of the encoder: in training the logits of each, else of their mean probability."""

    def __init__(self, dimensions: int, class_count: int, members: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, class_count) for width in widths_of_parts(dimensions, members))

    def forward(self, embeddings: Float[Tensor, "B D"]) -> Float[Tensor, "B ..."]:
        """`[B, members * C]` in training, else `[B, C]`."""
        parts = parts_of(embeddings, len(self.layers))
        logits = [layer(part) for layer, part in zip(self.layers, parts, strict=True)]
        return torch.cat(logits, dim=1) if self.training else torch.stack(logits).log_softmax(2).logsumexp(0)


def train_cnn(
    config: Config,
    train: Part,
    validation: Part,
    *,
    checkpoint: Checkpoint,
    on_step: OnStep = lambda *_: None,
) -> tuple[nn.Sequential, History]:
    """The encoder's network and a linear layer, trained by cross-entropy on the images the encoder sees.

    What is frozen in the encoder is frozen here: both then see the same features of the images. Same first weights,
    batches, augmentation, optimizer, schedule and averaging; label smoothing is its own. Each member has its own layer
    and cross-entropy, as it has its own triplet loss. Of the result the first part gives embeddings, the whole logits.
    """
    encoder = fresh_encoder(config, train, normalize=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "classifier"))
        shape = config.dimensions, len(train.classes)
        reader = nn.Linear(*shape) if config.members == 1 else MemberReaders(*shape, config.members)
        network = nn.Sequential(encoder, reader.to(config.device))

    def describe(average: nn.Module, outputs: Tensor, labels: Tensor) -> dict[str, float]:  # noqa: ARG001
        predicted = embed(average, judged(validation), precision=config.precision).argmax(1)
        return {"validation_accuracy": float((predicted == validation.labels).float().mean())}

    average, history = train_network(
        network,
        for_each_member(
            partial(nn.functional.cross_entropy, label_smoothing=config.label_smoothing),
            replace(config, normalize=False),
        ),
        train.labels,
        part_inputs(train, config),
        config,
        generator=torch.Generator(),
        checkpoint=checkpoint,
        guard=Guard(),
        describe=describe,
        scores=lambda outputs: torch.stack(parts_of(outputs, config.members)).mean(0),
        on_step=on_step,
    )
    assert isinstance(average, nn.Sequential)
    return average.eval(), history


def fit_logistic_regression(train: ImageSet, validation: ImageSet, on_step: OnStep = lambda *_: None) -> Classify:
    """Multi-class logistic regression on standardised pixels, its penalty chosen on the validation part.

    Images larger than 32 x 32 are averaged down to it first.
    Of a large training part an equal share of each class is taken.
    """
    mean, std = (statistic.reshape(3, 1, 1).numpy() for statistic in train.channel_statistics())
    by_class = train.labels.argsort(stable=True)
    chosen = by_class[:: math.ceil(len(train) / MOST_IMAGES)].sort().values  # evenly from each class
    labels = train.labels[chosen].numpy()

    def standardize(images: Tensor) -> Float[np.ndarray, "N F"]:
        pixels = _averaged_down(images)
        pixels -= mean
        pixels /= std
        return pixels.reshape(len(pixels), -1)

    pixels, validation_pixels = standardize(train.images[chosen]), standardize(validation.images)
    model = LogisticRegression(max_iter=MOST_ITERATIONS, warm_start=True)
    best: tuple[float, Float[np.ndarray, "C F"], Float[np.ndarray, " C"]] | None = None
    for done, inverse_penalty in enumerate(INVERSE_PENALTIES, start=1):
        model.set_params(C=inverse_penalty)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early regularises as well
            model.fit(pixels, labels)
        score = float((model.predict(validation_pixels) == validation.labels.numpy()).mean())
        if best is None or score > best[0]:
            best = score, model.coef_.copy(), model.intercept_.copy()
        on_step(done, len(INVERSE_PENALTIES))
    assert best is not None
    model.coef_, model.intercept_ = best[1:]

    def classify(images: Tensor) -> Tensor:
        probabilities = torch.zeros(len(images), len(train.classes))
        probabilities[:, model.classes_] = torch.from_numpy(model.predict_proba(standardize(images))).float()
        return probabilities

    return classify


def _averaged_down(images: UInt8[Tensor, "N 3 H H"]) -> Float[np.ndarray, "N 3 h h"]:
    """The images as float32, of at most 32 x 32 pixels; a few at a time, for the whole would not fit in memory."""
    if images.shape[-1] <= MOST_PIXELS_ACROSS:
        return images.numpy().astype(np.float32)
    small = torch.empty(len(images), 3, MOST_PIXELS_ACROSS, MOST_PIXELS_ACROSS)
    for place, few in zip(small.split(100), images.split(100), strict=True):
        place.copy_(nn.functional.adaptive_avg_pool2d(few.float(), MOST_PIXELS_ACROSS))
    return small.numpy()


def fit_majority(train: ImageSet) -> Classify:
    """The share of each class in the training part, whatever the image."""
    shares = torch.tensor(train.class_counts()) / len(train)
    return lambda images: shares.expand(len(images), -1)
