"""What can go wrong in a training step, and how it shows.

A step that turns the weights far has a rate too high, whatever the loss says: normalised weights and embeddings keep
even a hundredfold rate from giving NaN. Inputs are looked at only when the numbers that come out are not finite.
Knows nothing of what is done about a fault.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tercet.training.triplets import triplet_count

# docs/log.md, 2026-11-24: healthy steps turn the weights by 12 degrees at most, those of a rate many times too high by
# 25 and more; embeddings that lay below the share for 20 steps still came apart by themselves.
MOST_DEGREES = 20.0
COLLAPSED_SHARE = 0.005
COLLAPSED_STEPS = 25
NO_SPREAD = 1e-8  # of equal embeddings, up to rounding: a guess
STUCK_STEPS = 50  # caught within 50 steps
STUCK_TOLERANCE = 0.005  # relative: a guess; a healthy supcon toy stayed within 1 % for 30 steps (docs/log.md)
MOST_NAMED = 5  # images in one sentence


class Step(NamedTuple):
    """What there is to see of one step."""

    number: int
    loss: float
    degrees: float  # by which the weights turned
    outputs: Float[Tensor, "B D"]
    inputs: Tensor
    labels: Int64[Tensor, " B"]
    indices: Int64[Tensor, " B"]  # of the images, in the training part


class Fault(NamedTuple):
    """What was found, what a person may do, and whether a lower rate, or rather easier mining, may mend it."""

    found: str
    advice: str
    mendable: bool = True
    easier: bool = False


def not_finite(step: Step) -> Fault | None:
    """Numbers that are none, from the inputs, from the first weights, or else from a rate too high."""
    if math.isfinite(step.loss + step.degrees) and bool(torch.isfinite(step.outputs).all()):
        return None
    if step.inputs.is_floating_point() and len(bad := (~torch.isfinite(step.inputs)).flatten(1).any(1).nonzero()):
        images = sorted(set(step.indices[bad.flatten().cpu()].tolist()))
        named = ", ".join(map(str, images[:MOST_NAMED])) + (", ..." if len(images) > MOST_NAMED else "")
        return Fault(
            f"inputs that are not finite, of the training images with index {named}",
            "mend these images or features, or leave them out",
            mendable=False,
        )
    found = f"a loss of {step.loss} and outputs or gradients that are not finite"
    if step.number == 0:
        return Fault(
            f"{found} before anything was learnt", "look at the network's weights and the loss", mendable=False
        )
    return Fault(found, "lower the learning rate, or train in float32 with --precision fp32")


def nothing_to_compare(step: Step, *, triplets: bool) -> Fault | None:
    """A batch of one class, or one without triplets where these are what is learnt from."""
    if bool((step.labels == step.labels[0]).all()):
        found = f"a batch of {len(step.labels)} images of one class"
    elif triplets and (step.loss == 0 or not math.isfinite(step.loss)) and not triplet_count(step.labels):
        found = f"a batch of {len(step.labels)} images without a triplet, since no class has two of them"
    else:
        return None
    return Fault(found, "make batches of at least two classes with two images each", mendable=False)


def turned(step: Step) -> Fault | None:
    """One step that turns the weights so far that little of what they held is left."""
    if step.degrees <= MOST_DEGREES:
        return None
    return Fault(f"a step that turned the weights by {step.degrees:.0f} degrees", "lower the learning rate")


def is_collapsing(spread: float, first_spread: float) -> bool:
    """Whether the embeddings lie nearly on one point, beside those of the first weights."""
    return spread < COLLAPSED_SHARE * first_spread


def collapsed(step: Step, spread: float, collapsed_steps: int) -> Fault | None:
    """Equal embeddings, or nearly equal ones for too many steps in a row."""
    if spread >= NO_SPREAD and collapsed_steps < COLLAPSED_STEPS:
        return None
    if step.number == 0:
        return Fault("equal embeddings before anything was learnt", "look whether all images are alike", mendable=False)
    return Fault(
        f"a collapse of the encoder, whose embeddings of different images differ by a share of {spread:.0e} only",
        "use easier triplets (--mining all or semi-hard), a larger margin or a lower learning rate",
        easier=True,
    )


def is_idle(loss: float, idle_loss: float | None) -> bool:
    """Whether the loss is that of an encoder which has learnt nothing."""
    return idle_loss is not None and abs(loss - idle_loss) <= STUCK_TOLERANCE * idle_loss


def stuck(step: Step, idle_steps: int) -> Fault | None:
    """The loss of an encoder which has learnt nothing, for too many steps in a row."""
    if idle_steps < STUCK_STEPS:
        return None
    return Fault(
        f"a loss that stayed at {step.loss:.3f}, that of an encoder which learns nothing, for {STUCK_STEPS} steps",
        "check the labels, or use easier triplets (--mining all) or another margin",
        easier=True,
    )


def relative_spread(embeddings: Float[Tensor, "B D"]) -> float:
    """Variance of the embeddings over their mean squared length: 0 when all are equal, 1 when centred on the origin."""
    return float(embeddings.var(dim=0, correction=0).sum() / embeddings.square().sum(1).mean().clamp_min(1e-12))
