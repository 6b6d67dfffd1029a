"""Training of a whole Bundle, in memory: the encoder, then the head on its embeddings.

Knows no files but a checkpoint, the finished stages and the cache of features, and nothing of the test set.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from tercet.training.head import HIDDEN, fit_head
from tercet.training.loop import OnStep
from tercet.training.losses import Loss
from tercet.training.stages import NOWHERE, Product, Stages, timed


@dataclass(frozen=True, eq=False)
class Learned:
    """What training gives, with the seconds it took."""

    bundle: Bundle
    network: nn.Module  # what was trained: the bundle's encoder, or what in it takes features
    history: History
    train: Part
    validation: Part
    train_embeddings: Tensor
    validation_embeddings: Tensor
    feature_seconds: float  # 0 where there are none
    encoder_seconds: float  # features, steps and the embedding of the training part
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
    embedded = stages.once("train_embeddings", partial(_embed, network, train_part, config))
    embedded_validation = stages.once("validation_embeddings", partial(_embed, network, validation_part, config))
    train_embeddings = embedded.tensors["embeddings"]
    validation_embeddings = embedded_validation.tensors["embeddings"]
    pairs = (train_embeddings, train.labels), (validation_embeddings, validation.labels)
    fitted = stages.once("head", partial(_fit_head, *pairs, len(train.classes), config))
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
        train_embeddings,
        validation_embeddings,
        feature_seconds,
        feature_seconds + records[-1]["seconds"] + embedded.record["seconds"],
        fitted.record["seconds"],
    )


def _embed(network: nn.Module, part: Part, config: Config) -> Product:
    embeddings, seconds = timed(lambda: embed(network, judged(part), precision=config.precision))
    return Product({"embeddings": embeddings}, {"seconds": seconds})


def _fit_head(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], class_count: int, config: Config
) -> Product:
    (head, history), seconds = timed(
        lambda: fit_head(
            train,
            validation,
            class_count=class_count,
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
    names = ("encoder", "widths", "dimensions", "normalize", "mirrored", "size")
    settings = {name: getattr(config, name) for name in names}
    own = own_network(frozen.backbone) if frozen else None
    return {**settings, "backbone": type(own).__name__ if own is not None else None, "hidden": HIDDEN}
