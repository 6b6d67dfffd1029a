"""Training of the encoder: the configured loss, the loop, and what is recorded of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from tercet.config import CLASS_LOSSES, Config
from tercet.data.batches import batch_shape
from tercet.geometry.neighbors import knn_probabilities, nearest
from tercet.model.adapter import new_adapter
from tercet.model.embed import embed
from tercet.model.encoder import new_encoder
from tercet.model.features import FeatureSet, Part, judged
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.guard import Guard, Objective
from tercet.training.loop import Inputs, OnStep, feature_inputs, image_inputs, train_network
from tercet.training.losses import LOSSES, Loss, active_share
from tercet.training.member_losses import MemberProxies, as_trained, for_each_member
from tercet.training.proxies import Proxies, WithLoss
from tercet.training.randomness import derived_generator

GALLERY_IMAGES = 5_000  # training images that each epoch's validation is compared with: a guess
NEIGHBORS = 10
EASIER_MININGS = {"hard": ("semi-hard", "all"), "semi-hard": ("all",)}


def fresh_encoder(config: Config, train: Part, *, normalize: bool) -> nn.Module:
    """The untrained encoder of this configuration, on its device. Preprocessing comes from the training part.

    Of features it is an adapter.
    """
    generator = derived_generator(config.seed, "weights")
    if isinstance(train, FeatureSet):
        adapter = new_adapter(train, dimensions=config.dimensions, normalize=normalize, generator=generator)
        return adapter.to(config.device)
    assert config.encoder is not None
    encoder = new_encoder(
        config.encoder,
        train.images,
        train.channel_statistics(),
        size=config.size or train.images.shape[-1],
        dimensions=config.dimensions,
        widths=config.widths,
        normalize=normalize,
        mirrored=bool(config.mirrored),
        members=config.members,
        generator=generator,
    )
    return encoder.to(config.device)


def part_inputs(part: Part, config: Config) -> Inputs:
    """Batches of a part for training, augmented."""
    return feature_inputs(part) if isinstance(part, FeatureSet) else image_inputs(part.images, config)


def train_encoder(
    config: Config,
    train: Part,
    validation: Part,
    *,
    loss: Loss | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = lambda *_: None,
) -> tuple[nn.Module, History]:
    """Train a fresh encoder by the configured loss, or by `loss(embeddings, labels)` if given; `config` is resolved.

    The history holds, for each epoch, the mean loss, the share of active triplets in its last batch and the accuracy of
    the nearest neighbours on the validation part.
    """
    network = fresh_encoder(config, train, normalize=config.normalize)
    shape = batch_shape(train.class_counts(), config.batch_size)
    generator = torch.Generator()
    scores: Callable[[Tensor], Tensor] = nn.Identity()
    if loss:
        guard, loss = Guard(spreads=True, members=config.members), for_each_member(loss, config)
    elif config.loss == "proxy-triplet":
        guard = configured_guard(config, (len(train.classes), 1), generator)
        make = Proxies if config.members == 1 else MemberProxies
        loss = make(len(train.classes), config, derived_generator(config.seed, "proxies")).to(config.device)
        network, scores = WithLoss(network, loss), loss.scores
    else:
        guard, loss = configured_guard(config, shape, generator), configured_loss(config, generator)
    chosen = torch.randperm(len(train), generator=derived_generator(config.seed, "gallery"))[:GALLERY_IMAGES]
    gallery = train.select(chosen)

    def describe(average: nn.Module, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        parts = as_trained(outputs, config.members, normalize=config.normalize)
        shares = [active_share(part, labels, margin=float(config.margin or 0)) for part in parts]
        return {
            "active_share": fmean(shares),
            "validation_accuracy": knn_accuracy(average, gallery, validation, config.precision),
        }

    average, history = train_network(
        network,
        loss,
        train.labels,
        part_inputs(train, config),
        config,
        generator=generator,
        checkpoint=checkpoint or Checkpoint(None, ""),
        guard=guard,
        describe=describe,
        scores=scores,
        on_step=on_step,
    )
    trained = average.encoder if isinstance(average, WithLoss) else average
    return trained.eval(), history


def configured_loss(config: Config, generator: torch.Generator) -> Loss:
    """The loss that the configuration names, with its settings bound; of those without proxies."""
    settings: dict[str, Any] = {
        "centroid-triplet": {"temperature": config.temperature, "margin": config.margin},
        "triplet": {"margin": config.margin, "mining": config.mining, "generator": generator},
        "supcon": {"temperature": config.temperature},
    }
    assert config.loss is not None
    return for_each_member(partial(LOSSES[config.loss], **settings[config.loss]), config)


def configured_guard(config: Config, shape: tuple[int, int], generator: torch.Generator) -> Guard:
    """The guard for the configured loss, with the minings that are easier than the configured one, if any are.

    `shape` is the number of classes in a batch and of images of each.
    """
    easier = EASIER_MININGS.get(config.mining or "", ())
    milder = [replace(config, mining=mining) for mining in easier]
    objectives = [
        Objective(f"--mining {config.mining}", configured_loss(config, generator), idle_loss(config, shape))
        for config in milder
    ]
    return Guard(idle_loss(config, shape), spreads=True, members=config.members, easier=objectives)


def idle_loss(config: Config, shape: tuple[int, int]) -> float | None:
    """The loss of an encoder that tells nothing apart, where a healthy one moves away from it at once.

    `shape` is the number of classes in a batch and of images of each. The mean over *active* triplets of all or of
    random ones lies near the margin in healthy training as well, since solved triplets drop out of it; so it says
    nothing.
    """
    classes, images = shape
    if config.loss == "supcon":
        return math.log(classes * images - 1)
    if config.loss in CLASS_LOSSES:
        behind = (config.margin or 0) / (config.temperature or 1)  # by how much the own class's score is
        smoothing = config.label_smoothing if config.loss == "proxy-triplet" else 0.0
        return math.log(classes - 1 + math.exp(-behind)) + (1 - smoothing + smoothing / classes) * behind
    return (config.margin or None) if config.mining in ("hard", "semi-hard") else None


def knn_accuracy(network: nn.Module, gallery: Part, queries: Part, precision: str) -> float:
    """Share of queries whose nearest neighbours in the gallery vote for the right class."""
    gallery_embeddings = embed(network, judged(gallery), precision=precision)
    query_embeddings = embed(network, judged(queries), precision=precision)
    _, indices = nearest(query_embeddings, gallery_embeddings, NEIGHBORS)
    votes = knn_probabilities(gallery.labels[indices], len(gallery.classes))
    return float((votes.argmax(1) == queries.labels).float().mean())
