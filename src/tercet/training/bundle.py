"""Training of a whole Bundle, in memory: the encoder, then the head on its embeddings.

Knows no files but a checkpoint, the finished stages and the cache of features, and nothing of the test set.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from tercet.config import Config
from tercet.data.imageset import ImageSet
from tercet.model.adapter import Adapter, with_adapter
from tercet.model.bundle import Bundle
from tercet.model.embed import embed
from tercet.model.encoder import Encoder
from tercet.model.features import Part, compute_features, judged
from tercet.model.head import Head
from tercet.model.pretrained import own_network
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.encoder import train_encoder
from tercet.training.head import HIDDEN, fit_head, head_images
from tercet.training.loop import OnStep
from tercet.training.losses import Loss
from tercet.training.stages import NOWHERE, Product, Stages, timed

Pair = tuple[Tensor, Tensor]  # embeddings [N, D] and labels [N]
COPIED_IMAGES = 1_000  # at a time, where not all are embedded


@dataclass(frozen=True, eq=False)
class Learned:
    """What training gives, with the seconds it took."""

    bundle: Bundle
    network: nn.Module  # what was trained: the bundle's encoder, or what in it takes features
    history: History
    train: Part
    validation: Part
    chosen: Int64[Tensor, " M"]  # the training images that the head learnt from
    read: Pair  # their embeddings and labels
    validation_read: Pair
    feature_seconds: float  # 0 where there are none
    encoder_seconds: float  # features and steps
    embedding_seconds: float  # of what the head learns from
    head_seconds: float


def train_bundle(
    config: Config,
    train: ImageSet,
    validation: ImageSet,
    *,
    frozen: Encoder | None = None,
    loss: Loss | None = None,
    checkpoint: Checkpoint | None = None,
    stages: Stages = NOWHERE,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Learned:
    """Train the encoder, freeze it, fit the head on its embeddings; `config` is resolved.

    `frozen` gives the features that are trained on where that is not done on the images themselves.
    """
    (train_part, validation_part), feature_seconds = as_taken(
        frozen, train, validation, both_sides=bool(config.flip), on_step=partial(on_progress, "features")
    )
    network, records = train_encoder(
        config,
        train_part,
        validation_part,
        loss=loss,
        checkpoint=checkpoint,
        on_step=partial(on_progress, "encoder"),
    )
    chosen = head_images(train.labels, config.head_images, config.seed)
    embedded = stages.once("head_embeddings", partial(embed_some, network, train_part, chosen, config.precision))
    embedded_validation = stages.once(
        "validation_embeddings", partial(embed_all, network, judged(validation_part), config.precision)
    )
    pairs = (
        (embedded.tensors["embeddings"], train.labels[chosen]),
        (embedded_validation.tensors["embeddings"], validation.labels),
    )
    fitted = stages.once("head", partial(_fit_head, *pairs, train.class_counts(), config))
    head = Head(config.dimensions, len(train.classes), HIDDEN)
    head.load_state_dict(dict(fitted.tensors))
    history = [{"phase": "encoder", **record} for record in records]
    history += [{"phase": "head", **record} for record in fitted.record["history"]]
    return Learned(
        Bundle(image_encoder(frozen, network), head.eval(), train.classes, bundle_settings(config, frozen)),
        network,
        history,
        train_part,
        validation_part,
        chosen,
        *pairs,
        feature_seconds,
        feature_seconds + records[-1]["seconds"],
        embedded.record["seconds"],
        fitted.record["seconds"],
    )


def embed_all(network: nn.Module, taken: Tensor, precision: str) -> Product:
    """The embeddings of all that the network is given."""
    embeddings, seconds = timed(lambda: embed(network, taken, precision=precision))
    return Product({"embeddings": embeddings}, {"seconds": seconds})


def embed_some(network: nn.Module, part: Part, chosen: Int64[Tensor, " M"], precision: str) -> Product:
    """The embeddings of some images of a part, a few of which are copied at a time."""
    pieces, seconds = timed(
        lambda: [embed(network, judged(part.select(few)), precision=precision) for few in chosen.split(COPIED_IMAGES)]
    )
    return Product({"embeddings": torch.cat(pieces)}, {"seconds": seconds})


def _fit_head(train: Pair, validation: Pair, class_counts: Sequence[int], config: Config) -> Product:
    (head, history), seconds = timed(
        lambda: fit_head(
            train,
            validation,
            class_counts=class_counts,
            hidden=HIDDEN,
            seed=config.seed,
            class_weight=config.class_weight,
        )
    )
    return Product(head.state_dict(), {"history": history, "seconds": seconds})


def as_taken(
    frozen: Encoder | None, *parts: ImageSet, both_sides: bool, on_step: OnStep = lambda *_: None
) -> tuple[Sequence[Part], float]:
    """The parts as the network that learns takes them, and the seconds it took to make them so.

    They are the images, or the features that the frozen network gives.
    """
    return (parts, 0.0) if frozen is None else compute_features(frozen, parts, both_sides=both_sides, on_step=on_step)


def image_encoder(frozen: Encoder | None, network: nn.Module) -> Encoder:
    """The encoder of images that was trained, or that the trained network and the frozen one make; on the CPU."""
    if frozen is not None:
        assert isinstance(network, Adapter)
        return copy.deepcopy(with_adapter(frozen, network)).cpu()
    assert isinstance(network, Encoder)
    return network.cpu()


def bundle_settings(config: Config, frozen: Encoder | None) -> dict[str, Any]:
    """What a Bundle must know to be built again."""
    names = ("encoder", "widths", "dimensions", "normalize", "mirrored", "members", "size")
    settings = {name: getattr(config, name) for name in names}
    own = own_network(frozen.backbone) if frozen else None
    return {**settings, "backbone": type(own).__name__ if own is not None else None, "hidden": HIDDEN}
