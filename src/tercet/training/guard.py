"""Stops training that has gone wrong, with a sentence that names the cause and the remedy.

Three faults: a loss that is no number, embeddings that all fall on one point (collapse), and a loss that stays at the
value it has when nothing is learnt: the margin for triplets, the logarithm of the batch size less one for supcon.
"""

from __future__ import annotations

import math
from collections import deque

import torch
from jaxtyping import Float
from torch import Tensor

from tercet.errors import TrainingError

SMALLEST_SPREAD = 1e-4  # variance over squared length; a guess
STUCK_STEPS = 50  # caught within 50 steps
STUCK_TOLERANCE = 0.005  # relative: a guess; a healthy supcon toy stayed within 1 % for 30 steps (docs/log.md)


class Guard:
    """Watches loss and outputs, one call a step.

    `idle_loss` is the loss of an encoder that has learnt nothing, None where the loss does not tell; `spreads` says
    that the outputs are embeddings, which must not fall on one point.
    """

    def __init__(self, idle_loss: float | None = None, *, spreads: bool = False) -> None:
        self.idle_loss = idle_loss
        self.spreads = spreads
        self.recent: deque[float] = deque(maxlen=STUCK_STEPS)

    def check(self, loss: float, outputs: Float[Tensor, "B D"]) -> None:
        """Raise TrainingError if the step shows one of the faults."""
        if not math.isfinite(loss) or not bool(torch.isfinite(outputs).all()):
            raise TrainingError(
                f"found a loss of {loss} or embeddings that are no numbers: the learning rate is too high; "
                "lower it, or train in float32 with --precision fp32."
            )
        if self.spreads and (spread := relative_spread(outputs)) < SMALLEST_SPREAD:
            raise TrainingError(
                f"the encoder collapsed: embeddings of different images differ by a share of {spread:.0e} only; "
                "use easier triplets (--mining all or semi-hard), a larger margin or a lower learning rate."
            )
        if self.idle_loss is None:
            return
        self.recent.append(loss)
        stuck = [abs(value - self.idle_loss) <= STUCK_TOLERANCE * self.idle_loss for value in self.recent]
        if len(stuck) == STUCK_STEPS and all(stuck):
            raise TrainingError(
                f"the loss has stayed at {self.idle_loss:.3f}, that of an encoder which learns nothing, for "
                f"{STUCK_STEPS} steps; check the labels, or use easier triplets (--mining all) or another margin."
            )


def relative_spread(embeddings: Float[Tensor, "B D"]) -> float:
    """Variance of the embeddings over their mean squared length: 0 when all are equal, 1 when centred on the origin."""
    return float(embeddings.var(dim=0, correction=0).sum() / embeddings.square().sum(1).mean().clamp_min(1e-12))
