"""Acts on a fault before it stops training: goes back to the last good weights, and on with a remedy.

Easier mining where that may help and there is one, else a lower rate; a short warm-up after either. A fault that no
remedy mends, or a fourth one, is an error. All that is decided by is in the training state, so that a resumed run
decides alike: docs/decisions/0005-act-before-stopping.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

from tercet.errors import TrainingError
from tercet.model.members import parts_of
from tercet.training.checkpoint import Intervention, TrainingState
from tercet.training.faults import (
    Fault,
    Step,
    collapsed,
    is_collapsing,
    is_idle,
    not_finite,
    nothing_to_compare,
    relative_spread,
    stuck,
    turned,
)
from tercet.training.losses import Loss

logger = logging.getLogger(__name__)

KEEP_STEPS = 20  # between two good states: a guess
GOOD_SHARE = 0.05  # of the first spread: what is below may be on the way to a collapse; a guess
MOST_INTERVENTIONS = 3  # a guess
LOWER_RATE = 0.1  # a guess; a rate a hundred times too high takes two (docs/log.md, 2026-11-24)
WARMUP_STEPS = 10  # after an intervention: a guess


class Objective(NamedTuple):
    """A loss, and its value for an encoder that has learnt nothing; None where a healthy one lies there as well."""

    name: str
    loss: Loss
    idle_loss: float | None


class Guard:
    """Asked once a step what is wrong with it, and to intervene if something is.

    `idle_loss` belongs to the loss as an Objective's does. `spreads` says that the outputs are embeddings, of which no
    member's part may fall on one point. `easier` are objectives that may take the place of the loss, from hard to easy.
    """

    def __init__(
        self,
        idle_loss: float | None = None,
        *,
        spreads: bool = False,
        members: int = 1,
        easier: Sequence[Objective] = (),
    ) -> None:
        self.idle_loss = idle_loss
        self.spreads = spreads
        self.members = members
        self.easier = easier

    def objective(self, loss: Loss, state: TrainingState) -> Objective:
        """What is trained for at this step: `loss`, until an intervention makes it easier."""
        rungs = sum(item.easier for item in state.interventions)
        return self.easier[rungs - 1] if rungs else Objective("", loss, self.idle_loss)

    def rate_share(self, state: TrainingState) -> float:
        """The share of the planned rate at this step: what interventions left, after a warm-up since the last one."""
        if not state.interventions:
            return 1.0
        since = state.step - state.interventions[-1].step
        return math.prod(item.rate for item in state.interventions) * min(1.0, (since + 1) / WARMUP_STEPS)

    def find(self, step: Step, idle_loss: float | None, state: TrainingState) -> Fault | None:
        """What is wrong with this step, if anything; notes in the state what later steps are judged by."""
        spread = min(map(relative_spread, parts_of(step.outputs, self.members))) if self.spreads else 1.0
        if step.number == 0:
            state.first_spread = spread
        state.idle_steps = state.idle_steps + 1 if is_idle(step.loss, idle_loss) else 0
        state.collapsed_steps = state.collapsed_steps + 1 if is_collapsing(spread, state.first_spread) else 0
        state.doubtful = state.idle_steps > 0 or spread < GOOD_SHARE * state.first_spread
        return (
            nothing_to_compare(step, triplets=self.spreads)
            or not_finite(step)
            or turned(step)
            or collapsed(step, spread, state.collapsed_steps)
            or stuck(step, state.idle_steps)
        )

    def keep(self, state: TrainingState) -> None:
        """Remember the state now and then, the first weights included, if nothing speaks against it."""
        if state.step % KEEP_STEPS == 0 and not state.doubtful:
            state.keep()

    def intervene(self, fault: Fault, state: TrainingState) -> None:
        """Go back to the last good state with a remedy, or raise TrainingError where none is left."""
        done, place = state.interventions, state.step
        if not fault.mendable:
            raise TrainingError(f"found {fault.found}; {fault.advice}.")
        if len(done) == MOST_INTERVENTIONS:
            tried = ", then ".join(item.remedy for item in done)
            raise TrainingError(f"found {fault.found}, and going back did not help with {tried}; {fault.advice}.")
        rungs = sum(item.easier for item in done)
        easier = fault.easier and rungs < len(self.easier)
        rate = math.prod(item.rate for item in done) * (1.0 if easier else LOWER_RATE)
        remedy = self.easier[rungs].name if easier else f"{rate:.3g} of the learning rate"
        state.go_back()
        text = f"step {place + 1} found {fault.found}: went back to step {state.step} and on with {remedy}"
        done.append(Intervention(state.step, 1.0 if easier else LOWER_RATE, easier, remedy, text))
        logger.warning("%s", text)
