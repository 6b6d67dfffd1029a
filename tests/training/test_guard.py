import math

import pytest
import torch

from tercet.errors import TrainingError
from tercet.training.guard import STUCK_STEPS, Guard, relative_spread

SPREAD_OUT = torch.eye(4)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number(loss):
    with pytest.raises(TrainingError, match="learning rate is too high"):
        Guard().check(loss, SPREAD_OUT)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_outputs_that_are_no_numbers(wrong):
    outputs = SPREAD_OUT.clone()
    outputs[1, 2] = wrong
    with pytest.raises(TrainingError, match="lower it, or train in float32"):
        Guard().check(0.5, outputs)


@pytest.mark.parametrize("point", [torch.zeros(4), torch.full((4,), 3.0)], ids=["origin", "elsewhere"])
def test_collapse_onto_one_point(point):
    outputs = point.expand(6, 4) + 1e-4 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * point
    with pytest.raises(TrainingError, match="the encoder collapsed"):
        Guard(spreads=True).check(0.5, outputs)
    Guard(spreads=False).check(0.5, outputs)  # logits of a classifier may agree


def test_a_small_scale_is_no_collapse():
    Guard(spreads=True).check(0.5, 1e-3 * SPREAD_OUT)


def test_relative_spread_by_hand():
    # 1 and 3: variance 1 over mean square 5. Opposite points: variance 1 over 1.
    assert relative_spread(torch.tensor([[1.0], [3.0]])) == pytest.approx(1 / 5)
    assert relative_spread(torch.tensor([[1.0], [-1.0]])) == pytest.approx(1.0)
    assert relative_spread(torch.ones(3, 2)) == 0


def test_stuck_at_the_idle_loss():
    guard = Guard(idle_loss=0.5)
    for _ in range(STUCK_STEPS - 1):
        guard.check(0.5001, SPREAD_OUT)
    with pytest.raises(TrainingError, match=r"stayed at 0\.500"):
        guard.check(0.4999, SPREAD_OUT)


def test_one_step_away_from_the_idle_loss_clears_it():
    guard = Guard(idle_loss=0.5)
    for step in range(3 * STUCK_STEPS):
        guard.check(0.49 if step % STUCK_STEPS == 0 else 0.5, SPREAD_OUT)


def test_training_that_begins_at_the_idle_loss_and_moves_on_is_healthy():
    guard = Guard(idle_loss=0.5, spreads=True)
    for step in range(200):
        guard.check(0.5 * 0.99 ** max(0, step - 20), SPREAD_OUT)


def test_without_an_idle_loss_a_constant_loss_passes():
    guard = Guard(spreads=True)
    for _ in range(2 * STUCK_STEPS):
        guard.check(0.5, SPREAD_OUT)
