"""The one training loop: for the encoder by a loss on embeddings, and for the classifier it is compared with.

One forward pass an image: the loss finds its triplets inside the batch. The order of images, their augmentation and any
random mining derive from (seed, epoch, step), so a run that resumes from a checkpoint repeats the uninterrupted one.
Knows nothing of what the network is made of, nor of the test set.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from tercet.config import Config
from tercet.data.augment import cutout, flip, random_crop
from tercet.data.batches import batch_shape, epoch_batches
from tercet.memory import keep_freed_memory
from tercet.model.features import FeatureSet
from tercet.model.precision import autocast
from tercet.training.checkpoint import Checkpoint, History, TrainingState
from tercet.training.faults import Step
from tercet.training.guard import Guard
from tercet.training.losses import Loss
from tercet.training.optimizers import build_optimizers, take_step
from tercet.training.randomness import derived_generator, derived_seed

logger = logging.getLogger(__name__)

# (image indices [B], epoch, generator) -> what the network takes
Inputs = Callable[[Tensor, int, torch.Generator], Tensor]
Describe = Callable[[nn.Module, Tensor, Tensor], dict[str, float]]  # (average, last outputs, their labels) -> record
OnStep = Callable[[int, int], None]  # (steps done, steps in all)
CHECKPOINT_SECONDS = 20.0
MOST_DEVICE_BYTES = 2 * 2**30  # of images that another device than the CPU holds from the start: a guess
FEATURE_DROPOUT = 0.5  # docs/log.md, 2026-11-24


def train_network(
    network: nn.Module,
    loss: Loss,
    labels: Int64[Tensor, " N"],
    inputs: Inputs,
    config: Config,
    *,
    generator: torch.Generator,
    checkpoint: Checkpoint,
    guard: Guard,
    describe: Describe,
    on_step: OnStep = lambda *_: None,
) -> tuple[nn.Module, History]:
    """Train `network` by `loss(network(inputs), labels)`; return the running average of its weights and the history.

    `inputs` gives a batch of images, augmented, or of whatever stands for them. `config` is resolved. `generator` is
    reseeded at every step; a loss that draws random numbers holds the same object. `describe` adds to the record of
    each epoch.
    Where training goes wrong the guard goes back and on with a remedy; it raises TrainingError where none is left, and
    checkpoints written before stay good.
    """
    keep_freed_memory()
    device = next(network.parameters()).device
    plan = plan_steps(labels, config)
    optimizers = build_optimizers(network, config)
    state = TrainingState(network, copy.deepcopy(network), optimizers)
    checkpoint.restore(state)
    saved = time.monotonic()
    while state.step < len(plan):
        guard.keep(state)
        started = time.perf_counter()
        epoch, indices = plan[state.step]
        generator.manual_seed(derived_seed(config.seed, "step", state.step))
        batch, batch_labels = inputs(indices, epoch, generator).to(device), labels[indices].to(device)
        set_rates(optimizers, rate_scale(state.step / len(plan), config.warmup_share) * guard.rate_share(state))
        with autocast(config.precision, device):
            outputs = network(batch)
        objective = guard.objective(loss, state)
        value = objective.loss(outputs.float(), batch_labels)
        value.backward()
        degrees = take_step(optimizers)
        step = Step(state.step, float(value.detach()), degrees, outputs.detach(), batch, batch_labels, indices)
        if fault := guard.find(step, objective.idle_loss, state):
            guard.intervene(fault, state)  # back to the last good weights, or a TrainingError
            continue
        state.step += 1
        update_average(state.average, network, min(config.averaging, state.step / (state.step + 10)))
        state.count(step.loss, len(batch), time.perf_counter() - started)
        on_step(state.step, len(plan))
        if state.step == len(plan) or plan[state.step][0] != epoch:
            state.close_epoch(epoch + 1, describe(state.average, outputs.detach().float(), batch_labels))
            logger.info("epoch %d of %g: %s", epoch + 1, config.epochs, state.history[-1])
        if state.step == len(plan) or time.monotonic() - saved > CHECKPOINT_SECONDS:
            checkpoint.save(state)
            saved = time.monotonic()
    return state.average, state.history


def plan_steps(labels: Int64[Tensor, " N"], config: Config) -> list[tuple[int, Int64[Tensor, " B"]]]:
    """The epoch and the image indices of every step; a last epoch that is not whole ends early. At least one step."""
    plan = [
        (epoch, indices) for epoch in range(math.ceil(config.epochs)) for indices in plan_epoch(labels, config, epoch)
    ]
    steps_per_epoch = len(plan) / math.ceil(config.epochs)  # every epoch has as many
    return plan[: max(1, round(config.epochs * steps_per_epoch))]


def plan_epoch(labels: Int64[Tensor, " N"], config: Config, epoch: int) -> Int64[Tensor, "S B"]:
    """The indices of each batch of one epoch; says in the log which classes must repeat images."""
    counts = [count for count in torch.bincount(labels).tolist() if count]
    classes_per_batch, images_per_class = batch_shape(counts, config.batch_size)
    short = sum(count < images_per_class for count in counts)
    if epoch == 0 and short:
        logger.info("%d classes have fewer than %d images and repeat some in a batch", short, images_per_class)
    return epoch_batches(labels, classes_per_batch, images_per_class, derived_generator(config.seed, "batches", epoch))


def image_inputs(images: UInt8[Tensor, "N 3 H H"], config: Config) -> Inputs:
    """Batches of these images, augmented as configured, on the device that all images are moved to if few enough."""
    if images.nbytes <= MOST_DEVICE_BYTES:
        images = images.to(config.device)
    return lambda indices, epoch, generator: augment(images[indices], indices, epoch, config, generator)


def feature_inputs(features: FeatureSet) -> Inputs:
    """Batches of features: a random view of each image, in which random features tell nothing of it.

    Those are set to their mean over the images, and the others moved away from theirs: the expected value stays.
    Reference: Srivastava et al., Dropout, 2014; on features of a frozen network.
    """
    mean = features.judged.mean(0)

    def inputs(indices: Tensor, epoch: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        view = torch.randint(features.views.shape[1], (len(indices),), generator=generator)
        found = features.views[indices, view].float()
        kept = torch.rand(found.shape, generator=generator) >= FEATURE_DROPOUT
        return mean + (found - mean) * kept / (1 - FEATURE_DROPOUT)

    return inputs


def augment(
    images: UInt8[Tensor, "B 3 H H"],
    indices: Int64[Tensor, " B"],
    epoch: int,
    config: Config,
    generator: torch.Generator,
) -> UInt8[Tensor, "B 3 S S"]:
    """Mirror, crop and blank out parts of a batch. Images larger than the network's size need no mirrored border.

    Mirroring alternates: half of the images, drawn by the seed, are mirrored in even epochs and the others in odd ones,
    so each pair of epochs shows both sides of every image once. Reference: Jordan 2024.
    """
    if config.flip:
        # A multiplicative hash of (seed, index): its top bit is the image's side in epoch 0.
        sides = (indices * 2_654_435_761 + derived_seed(config.seed, "flip") % 2**31) // 2**31 % 2
        images = flip(images, (sides + epoch) % 2 == 1)
    side = images.shape[-1]
    size = config.size or side
    images = random_crop(images, size, config.crop_padding if size == side else 0, generator)
    return cutout(images, config.cutout, generator)


def rate_scale(progress: float, warmup_share: float) -> float:
    """The rate's share of its peak: linearly up over the warm-up, then linearly down to zero."""
    return min((progress + 1e-3) / (warmup_share + 1e-3), (1 - progress) / (1 - warmup_share))


def set_rates(optimizers: list[torch.optim.Optimizer], scale: float) -> None:
    """Set every learning rate to `scale` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * scale


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running average of weights and statistics by 1 - decay towards the network's."""
    for kept, current in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(current, 1 - decay)
        else:
            kept.copy_(current)
