"""Losses and miners of pytorch-metric-learning, each with the short grid that its setting is chosen from.

Each is trained by our loop as it is: network, batches, augmentation, optimizer, schedule, guard. A loss with weights of
its own (proxies, class weights) has them trained by the same optimizer, and images, where any are left out, left out by
its logits, as ours by the distances to its proxies; others by the embeddings. Proxies of which only the direction
counts begin as long as ours, since the longer they are, the less a step turns them; the library's are 9 and 20 times as
long. Distances and defaults are the library's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tercet.config import Config
from tercet.data.imageset import ImageSet
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.encoder import GALLERY_IMAGES, fresh_encoder, knn_accuracy, part_inputs, train_encoder
from tercet.training.guard import Guard, Objective
from tercet.training.loop import train_network
from tercet.training.proxies import WithLoss
from tercet.training.randomness import derived_generator, derived_seed

OURS = "proxy triplet (tercet)"
Settings = dict[str, Any]


def library(module: str) -> Any:
    """A module of pytorch-metric-learning, or one sentence."""
    try:
        return import_module(f"pytorch_metric_learning.{module}")
    except ImportError as error:
        raise SystemExit(
            f"this needs the losses of pytorch-metric-learning ({error}); run `pip install pytorch-metric-learning`."
        ) from error


def library_version() -> str | None:
    """Its version, if it is installed."""
    try:
        return version("pytorch-metric-learning")
    except PackageNotFoundError:
        return None


class Mined(nn.Module):
    """A loss on what a miner leaves of the batch."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The value of the loss."""
        found: Tensor = self.loss(embeddings, labels, self.miner(embeddings, labels) if self.miner else None)
        return found

    @torch.no_grad()
    def scores(self, embeddings: Tensor) -> Tensor:
        """By what passes leave images out."""
        logits: Callable[[Tensor], Tensor] | None = getattr(self.loss, "get_logits", None)
        return logits(embeddings) if logits else embeddings


class Classifier(nn.Module):
    """A linear layer and cross-entropy, as one loss on embeddings."""

    def __init__(self, dimensions: int, class_count: int, label_smoothing: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dimensions, class_count)
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The value of the loss."""
        found: Tensor = self.loss(self.linear(embeddings), labels)
        return found

    @torch.no_grad()
    def scores(self, embeddings: Tensor) -> Tensor:
        """By what passes leave images out."""
        found: Tensor = self.linear(embeddings)
        return found


class Directions(nn.Module):
    """A network with its embeddings brought to unit length, so that all are searched by the cosine."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of unit length."""
        return nn.functional.normalize(self.network(images).float(), dim=1)


class Peer(NamedTuple):
    """How to make the loss `(embeddings, labels) -> scalar`, and the settings to choose from."""

    make: Callable[[Settings, Config, int], Mined | Classifier]  # (settings, configuration, number of classes)
    grid: tuple[Settings, ...]
    normalize: bool | None = None  # None is as configured
    easier: tuple[str, ...] = ()  # peers whose losses the guard may go on with where training goes wrong, as with ours


def _loss(name: str, *arguments: Any, **settings: Any) -> nn.Module:
    made: nn.Module = getattr(library("losses"), name)(*arguments, **settings)
    return made


def _miner(name: str, **settings: Any) -> nn.Module:
    made: nn.Module = getattr(library("miners"), name)(**settings)
    return made


def _by_proxies(name: str, settings: Settings, config: Config, class_count: int) -> Mined:
    """A loss that compares with proxies, which are scaled to the mean squared length of `Proxies`, 1/3."""
    loss = _loss(name, class_count, config.dimensions, **settings)
    with torch.no_grad():
        for proxies in loss.parameters():
            proxies.mul_((class_count / 3) ** 0.5 / proxies.norm())
    return Mined(loss)


# A library's default stands in each grid; the other values are guesses around it, with more where
# the best of a row of values was its last.
MARGINS = tuple({"margin": margin} for margin in (0.025, 0.05, 0.1, 0.2, 0.4))
TEMPERATURES = tuple({"temperature": temperature} for temperature in (0.05, 0.1, 0.2))
SLOPES = ({"beta": 50, "base": 0.5}, {"beta": 10, "base": 0.5}, {"beta": 50, "base": 1.0})
PEERS = {
    "triplet, semi-hard": Peer(
        lambda settings, *_: Mined(
            _loss("TripletMarginLoss", **settings),
            _miner("TripletMarginMiner", **settings, type_of_triplets="semihard"),
        ),
        MARGINS,
    ),
    "triplet, batch-hard": Peer(
        lambda settings, *_: Mined(_loss("TripletMarginLoss", **settings), _miner("BatchHardMiner")),
        MARGINS,
        easier=("triplet, semi-hard",),
    ),
    "multi-similarity": Peer(
        lambda settings, *_: Mined(_loss("MultiSimilarityLoss", **settings), _miner("MultiSimilarityMiner")), SLOPES
    ),
    "supcon": Peer(lambda settings, *_: Mined(_loss("SupConLoss", **settings)), TEMPERATURES),
    "proxy anchor": Peer(
        partial(_by_proxies, "ProxyAnchorLoss"),
        tuple({"alpha": alpha} for alpha in (32, 16, 8, 4, 2)),
    ),
    "normalised softmax": Peer(
        partial(_by_proxies, "NormalizedSoftmaxLoss"),
        (*TEMPERATURES, {"temperature": 0.4}),
    ),
    "cross-entropy": Peer(
        lambda _, config, classes: Classifier(config.dimensions, classes, config.label_smoothing),
        ({},),
        normalize=False,
    ),
}


def train_peer(
    name: str,
    settings: Settings,
    config: Config,
    train: ImageSet,
    validation: ImageSet,
    checkpoint: Checkpoint | None = None,
) -> tuple[nn.Module, History]:
    """The encoder trained by a peer's loss, or by ours, and the history with the 10 nearest neighbours' accuracy."""
    if name == OURS:
        return train_encoder(config, train, validation, checkpoint=checkpoint)
    peer = PEERS[name]
    encoder = fresh_encoder(config, train, normalize=config.normalize if peer.normalize is None else peer.normalize)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "peer"))
        loss, *easier = (
            maker.make(settings, config, len(train.classes)).to(config.device)
            for maker in (peer, *(PEERS[other] for other in peer.easier))
        )
    chosen = torch.randperm(len(train), generator=derived_generator(config.seed, "gallery"))[:GALLERY_IMAGES]
    gallery = train.select(chosen)
    average, history = train_network(
        WithLoss(encoder, loss),
        loss,
        train.labels,
        part_inputs(train, config),
        config,
        generator=torch.Generator(),
        checkpoint=checkpoint or Checkpoint(None, ""),
        guard=Guard(spreads=True, easier=[Objective(*pair, None) for pair in zip(peer.easier, easier, strict=True)]),
        describe=lambda average, _outputs, _labels: {
            "validation_accuracy": knn_accuracy(Directions(average), gallery, validation, config.precision)
        },
        scores=loss.scores,
    )
    assert isinstance(average, WithLoss)
    return average.encoder.eval(), history
