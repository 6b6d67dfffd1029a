"""The one training loop: for the encoder by a loss on embeddings, and for the classifier it is compared with.

One forward pass an image: the loss finds its triplets inside the batch. The order of images, their augmentation and any
random mining derive from (seed, pass, step), so a run that resumes from a checkpoint repeats the uninterrupted one. An
epoch is as many steps as show every image once; a pass may leave images out (`passes`), and then takes fewer.
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
from tercet.interruption import HeldSignals
from tercet.memory import keep_freed_memory
from tercet.model.features import FeatureSet
from tercet.model.precision import autocast
from tercet.training.checkpoint import Checkpoint, History, TrainingState
from tercet.training.faults import Step
from tercet.training.guard import Guard
from tercet.training.losses import Loss
from tercet.training.optimizers import build_optimizers, take_step
from tercet.training.passes import RETURN, class_gaps, left_out, plan_pass, step_count, steps_per_epoch
from tercet.training.randomness import derived_seed

logger = logging.getLogger(__name__)

# (image indices [B], number of the pass, generator) -> what the network takes
Inputs = Callable[[Tensor, int, torch.Generator], Tensor]
Describe = Callable[[nn.Module, Tensor, Tensor], dict[str, float]]  # (average, last outputs, their labels) -> record
OnStep = Callable[[int, int], None]  # (steps done, steps in all)
CHECKPOINT_SECONDS = 20.0
LOST_SECONDS = 1.0  # of training, at most, where it is interrupted while an epoch is described
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
    scores: Callable[[Tensor], Tensor] = lambda outputs: outputs,
    on_step: OnStep = lambda *_: None,
) -> tuple[nn.Module, History]:
    """Train `network` by `loss(network(inputs), labels)`; return the running average of its weights and the history.

    `inputs` gives a batch, augmented; `generator` is reseeded at every step, and a loss that draws holds the same; by
    the `scores` of outputs images are left out; `describe` adds to each epoch's record. Where training goes wrong the
    guard goes on from a good state, or raises TrainingError. A request to end (Ctrl-C, SIGTERM) saves the step first.
    """
    keep_freed_memory()
    device = next(network.parameters()).device
    steps = step_count(steps_an_epoch := steps_per_epoch(labels, config), config.epochs)
    optimizers = build_optimizers(network, config)
    state = TrainingState(network, copy.deepcopy(network), optimizers, gaps=torch.zeros(len(labels)))
    checkpoint.restore(state)
    with HeldSignals() as signals:
        while state.step < steps:
            closes = state.step + 1 == steps or (state.step + 1) % steps_an_epoch == 0
            if closes and checkpoint.age_seconds() > LOST_SECONDS:
                checkpoint.save(state)
            if state.batch == len(state.batches):
                begin_pass(state, labels, config)
            guard.keep(state)
            started = time.perf_counter()
            indices = state.batches[state.batch]
            generator.manual_seed(derived_seed(config.seed, "step", state.step))
            batch, batch_labels = inputs(indices, state.passes - 1, generator).to(device), labels[indices].to(device)
            set_rates(optimizers, rate_scale(state.step / steps, config.warmup_share) * guard.rate_share(state))
            objective = guard.objective(loss, state)
            outputs, value, degrees = learn(network, objective.loss, batch, batch_labels, optimizers, config.precision)
            step = Step(state.step, value, degrees, outputs, batch, batch_labels, indices)
            if fault := guard.find(step, objective.idle_loss, state):
                guard.intervene(fault, state)  # back to the last good weights, or a TrainingError
                continue
            if config.skip_share:
                state.gaps[indices] = class_gaps(scores(outputs.float()), batch_labels).cpu()
            state.step, state.batch = state.step + 1, state.batch + 1
            update_average(state.average, network, min(config.averaging, state.step / (state.step + 10)))
            state.count(step.loss, len(batch), time.perf_counter() - started)
            on_step(state.step, steps)
            if closes:
                with signals.acting():  # describing may take long, and was saved for
                    description = describe(state.average, outputs.float(), batch_labels)
                state.close_epoch(math.ceil(state.step / steps_an_epoch), description)
                logger.info("%g epochs: %s", config.epochs, state.history[-1])
            if signals.came or state.step == steps or checkpoint.age_seconds() > CHECKPOINT_SECONDS:
                checkpoint.save(state)
                signals.let_go()
    return state.average, state.history


def learn(
    network: nn.Module,
    loss: Loss,
    batch: Tensor,
    labels: Int64[Tensor, " B"],
    optimizers: list[torch.optim.Optimizer],
    precision: str,
) -> tuple[Tensor, float, float]:
    """Take a step on a batch: what the network gave, the loss of it, and the degrees that the weights turned by."""
    with autocast(precision, batch.device):
        outputs = network(batch)
    value = loss(outputs.float(), labels)
    value.backward()
    degrees = take_step(optimizers)
    return outputs.detach(), float(value.detach()), degrees


def begin_pass(state: TrainingState, labels: Int64[Tensor, " N"], config: Config) -> None:
    """Plan the next pass, which from the second on leaves out the images that are told apart best."""
    shown = None
    if state.passes and config.skip_share:
        out = left_out(state.gaps, labels, config.skip_share)
        state.gaps[out] -= RETURN * state.gaps.std()  # so that they come back
        shown = torch.ones(len(labels), dtype=torch.bool).index_fill(0, out, value=False).nonzero().flatten()
    state.batches = plan_pass(labels, config, state.passes, shown)
    state.passes, state.batch = state.passes + 1, 0


def image_inputs(images: UInt8[Tensor, "N 3 H H"], config: Config) -> Inputs:
    """Batches of these images, augmented as configured, on the device that all images are moved to if few enough."""
    if images.nbytes <= MOST_DEVICE_BYTES:
        images = images.to(config.device)
    return lambda indices, number, generator: augment(images[indices], indices, number, config, generator)


def feature_inputs(features: FeatureSet) -> Inputs:
    """Batches of features: a random view of each image, in which random features tell nothing of it.

    Those are set to their mean over the images, and the others moved away from theirs: the expected value stays.
    Reference: Srivastava et al., Dropout, 2014; on features of a frozen network.
    """
    mean = features.judged.mean(0)

    def inputs(indices: Tensor, number: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        view = torch.randint(features.views.shape[1], (len(indices),), generator=generator)
        found = features.views[indices, view].float()
        kept = torch.rand(found.shape, generator=generator) >= FEATURE_DROPOUT
        return mean + (found - mean) * kept / (1 - FEATURE_DROPOUT)

    return inputs


def augment(
    images: UInt8[Tensor, "B 3 H H"],
    indices: Int64[Tensor, " B"],
    number: int,
    config: Config,
    generator: torch.Generator,
) -> UInt8[Tensor, "B 3 S S"]:
    """Mirror, crop and blank out parts of a batch. Images larger than the network's size need no mirrored border.

    Mirroring alternates: half of the images, drawn by the seed, are mirrored in even passes and the others in odd ones,
    so a pair of passes shows both sides of every image in it. Reference: Jordan 2024. An encoder of mirrored filters
    embeds both alike and does without.
    """
    if config.flip and not config.mirrored:
        # A multiplicative hash of (seed, index): its top bit is the image's side in pass 0.
        sides = (indices * 2_654_435_761 + derived_seed(config.seed, "flip") % 2**31) // 2**31 % 2
        images = flip(images, (sides + number) % 2 == 1)
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
