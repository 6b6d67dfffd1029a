"""Recipes as their projects publish them, as near as PyTorch alone goes. Each trains on CIFAR-10 at 32 pixels.

- The project that tercet grew from: the classic network, 1,024 random triplets an iteration, a forward pass each for
  anchors, positives and negatives, squared distances of raw embeddings, margin 1, Adam 1e-3, no augmentation.
- pytorch-metric-learning's example on CIFAR-100 (examples/notebooks/MetricLossOnly.ipynb): ResNet-18 for 64 pixels,
  64-d embeddings, batches of 8 classes x 4, TripletMarginLoss with margin 0.1, MultiSimilarityMiner with 0.1, Adam.
  There the network starts from ImageNet weights at a rate of 1e-5; here it starts from scratch as all others do, at the
  1e-4 that the example gives its new layer.
- SupContrast (github.com/HobbitLong/SupContrast): ResNet-18 at 32 pixels, two views of each image, a projection to 128
  for the loss only, since the 512 features before it are what is judged (Khosla et al. 2020), temperature 0.1, SGD with
  the script's defaults for a batch of 256 (0.05, momentum 0.9, decay 1e-4), cosine. Its README has ResNet-50 and 1,024
  images, which makes a step many times longer.

Everything else of ours, the precision that the self-test chooses and channels last, is theirs as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.peer_losses import Mined, library
from benchmarks.reference import ORIGINAL
from benchmarks.views import color_jitter, resized_crop
from tercet.config import Config, resolve
from tercet.data.batches import epoch_batches
from tercet.data.imageset import ImageSet
from tercet.errors import TrainingError
from tercet.model.precision import autocast
from tercet.training.encoder import fresh_encoder
from tercet.training.losses import supervised_contrastive_loss
from tercet.training.randomness import derived_generator, derived_seed

TRIPLETS = 1_024
VIEWED = 256  # images of a SupContrast batch, each in two views


class Recipe(NamedTuple):
    """A network from uint8 images to embeddings, and what moves it: step(number of this step, steps in all)."""

    network: nn.Module
    step: Callable[[int, int], None]


class Embedder(nn.Module):
    """Raw images of any size -> embeddings: standardise, backbone, to unit length."""

    def __init__(self, backbone: nn.Module, train: ImageSet) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        mean, std = train.channel_statistics()
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1))
        self.register_buffer("std", std.reshape(1, 3, 1, 1))
        self.backbone = backbone

    def features(self, images: Tensor) -> Tensor:
        """What the backbone gives."""
        pixels = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        found: Tensor = self.backbone(pixels).float()
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of unit length."""
        return nn.functional.normalize(self.features(images), dim=1)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut. Reference: He et al., Deep residual learning, CVPR 2016."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        changes = stride != 1 or before != after
        shortcut = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)] if changes else []
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, features: Tensor) -> Tensor:
        """Features of half the side where the stride is 2."""
        return nn.functional.relu(self.body(features) + self.shortcut(features))


def resnet18(*stem: nn.Module, last: nn.Module) -> nn.Sequential:
    """Stem to 64 channels, four pairs of blocks, mean over places, `last`."""
    layers: list[nn.Module] = [*stem]
    for before, after in ((64, 64), (64, 128), (128, 256), (256, 512)):
        layers += [Block(before, after, 1 if after == 64 else 2), Block(after, after, 1)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def original(train: ImageSet, config: Config) -> Recipe:
    """Three forward passes of random triplets."""
    classic = resolve(
        replace(ORIGINAL, seed=config.seed, device=config.device),
        image_count=len(train),
        size=train.images.shape[-1],
        flip=False,
    )
    network = fresh_encoder(classic, train, normalize=False).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    generator = derived_generator(config.seed, "original")
    members = [torch.nonzero(train.labels == label).flatten() for label in range(len(train.classes))]

    def drawn(indices: Tensor) -> Tensor:
        return indices[torch.randint(len(indices), (1,), generator=generator)]

    def step(number: int, steps: int) -> None:  # noqa: ARG001
        anchors = torch.randint(len(train), (TRIPLETS,), generator=generator)
        positives, negatives = [], []
        for label in train.labels[anchors].tolist():
            other = int(torch.randint(len(members) - 1, (1,), generator=generator))
            positives.append(drawn(members[label]))
            negatives.append(drawn(members[other + (other >= label)]))
        with autocast(config.precision, torch.device(config.device)):
            a, p, n = (
                network(train.images[indices].to(config.device)).float()
                for indices in (anchors, torch.cat(positives), torch.cat(negatives))
            )
        loss = ((a - p).square().sum(1) - (a - n).square().sum(1) + 1).clamp_min(0).mean()
        _move(optimizer, loss)

    return Recipe(network, step)


def library_example(train: ImageSet, config: Config) -> Recipe:
    """pytorch-metric-learning's example."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "library example"))
        enlarge = nn.Upsample(size=64, mode="bilinear")
        stem = (enlarge, nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        network = Embedder(resnet18(*stem, last=nn.Linear(512, 64)), train).to(config.device)
    loss = Mined(library("losses").TripletMarginLoss(margin=0.1), library("miners").MultiSimilarityMiner(epsilon=0.1))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    generator = derived_generator(config.seed, "library example")
    batches: list[Tensor] = []

    def step(number: int, steps: int) -> None:  # noqa: ARG001
        if not batches:
            batches.extend(epoch_batches(train.labels, min(8, len(train.classes)), 4, generator))
        indices = batches.pop()
        views = resized_crop(train.images[indices], 64, (0.16, 1.0), generator)
        with autocast(config.precision, torch.device(config.device)):
            embeddings = network(views.to(config.device))
        _move(optimizer, loss(embeddings, train.labels[indices].to(config.device)))

    return Recipe(network, step)


def supcontrast(train: ImageSet, config: Config) -> Recipe:
    """SupContrast with two views."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "supcontrast"))
        stem = (nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        projection = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128)).to(config.device)
        network = Embedder(resnet18(*stem, last=nn.Identity()), train).to(config.device)
    rate = 0.05
    weights = [*network.parameters(), *projection.parameters()]
    optimizer = torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=1e-4)
    generator = derived_generator(config.seed, "supcontrast")
    batches: list[Tensor] = []

    def step(number: int, steps: int) -> None:
        if not batches:
            order = torch.randperm(len(train), generator=generator)
            batches.extend(order[: max(1, len(order) // VIEWED) * VIEWED].split(VIEWED))
        indices = batches.pop().repeat(2)
        crops = resized_crop(train.images[indices], train.images.shape[-1], (0.2, 1.0), generator)
        views = color_jitter(crops, generator)
        for group in optimizer.param_groups:  # down to a thousandth
            group["lr"] = rate * (1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * number / steps)) / 2)
        with autocast(config.precision, torch.device(config.device)):
            projected = projection(network.features(views.to(config.device)))
        embeddings = nn.functional.normalize(projected.float(), dim=1)
        loss = supervised_contrastive_loss(embeddings, train.labels[indices].to(config.device), temperature=0.1)
        _move(optimizer, loss * (0.1 / 0.07))  # its loss is scaled by temperature over base temperature

    return Recipe(network, step)


RECIPES: dict[str, Callable[[ImageSet, Config], Recipe]] = {
    "the original project's": original,
    "pytorch-metric-learning's example": library_example,
    "SupContrast's": supcontrast,
}


def train_recipe(
    recipe: Recipe, steps: int, evaluate: Callable[[nn.Module], float], marks: Sequence[int]
) -> tuple[list[tuple[int, float]], float]:
    """Train; give (step, `evaluate(network)`) at the marks and the end, and the seconds of the steps."""
    points, seconds = [], 0.0
    for number in range(1, steps + 1):
        started = time.perf_counter()
        recipe.step(number - 1, steps)
        seconds += time.perf_counter() - started
        if number == steps or number in marks:
            points.append((number, evaluate(recipe.network)))
    return points, seconds


def _move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if not math.isfinite(value := float(loss.detach())):  # after the step, to wait for a device that works by itself
        raise TrainingError(f"found a loss of {value}.")
