import math

import pytest
import torch

from tercet.training import faults
from tercet.training.faults import (
    COLLAPSED_STEPS,
    STUCK_STEPS,
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

SPREAD_OUT = torch.eye(4)


def step(**changes):
    """A healthy step on four images, the eighth to the eleventh of the training part."""
    healthy = Step(30, 0.5, 4.0, SPREAD_OUT, torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), torch.arange(8, 12))
    return healthy._replace(**changes)


def spoiled(tensor, *place, value=math.nan):
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


def test_a_healthy_step_has_no_fault():
    assert not_finite(step()) is None
    assert nothing_to_compare(step(), triplets=True) is None
    assert turned(step()) is None
    assert collapsed(step(), relative_spread(SPREAD_OUT), 0) is None
    assert stuck(step(), 0) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": math.nan},
        {"loss": -math.inf},
        {"degrees": math.nan},
        {"outputs": spoiled(SPREAD_OUT, 1, 2)},
        {"outputs": spoiled(SPREAD_OUT, 1, 2, value=math.inf)},
    ],
    ids=["loss", "infinite loss", "gradient", "output", "infinite output"],
)
def test_numbers_that_are_not_finite_come_from_the_rate_where_the_inputs_are_sound(changes):
    fault = not_finite(step(**changes))
    assert fault.mendable
    assert not fault.easier
    assert "lower the learning rate" in fault.advice
    first = not_finite(step(number=0, **changes))
    assert not first.mendable
    assert "before anything was learnt" in first.found


def test_inputs_that_are_not_finite_are_named_and_not_blamed_on_the_rate():
    fault = not_finite(step(loss=math.nan, inputs=spoiled(spoiled(torch.ones(4, 3), 1, 2), 3, 0, value=-math.inf)))
    assert not fault.mendable
    assert "index 9, 11" in fault.found
    assert "rate" not in fault.found + fault.advice
    many = not_finite(step(loss=math.nan, inputs=torch.full((4, 3), math.nan), indices=torch.tensor([5, 5, 2, 9])))
    assert "index 2, 5, 9" in many.found


def test_of_many_images_the_first_are_named():
    indices = torch.arange(20)
    fault = not_finite(step(loss=math.nan, inputs=torch.full((20, 3), math.nan), indices=indices))
    assert "index 0, 1, 2, 3, 4, ..." in fault.found


def test_whole_numbers_are_always_finite():
    fault = not_finite(step(loss=math.nan, inputs=torch.zeros(4, 3, dtype=torch.uint8)))
    assert "learning rate" in fault.advice


def test_a_batch_of_one_class_has_no_remedy():
    for triplets in (True, False):
        fault = nothing_to_compare(step(labels=torch.ones(4, dtype=torch.int64)), triplets=triplets)
        assert "4 images of one class" in fault.found
        assert not fault.mendable


@pytest.mark.parametrize("loss", [0.0, math.nan])
def test_a_batch_without_pairs_has_no_triplet(loss):
    alone = step(loss=loss, labels=torch.arange(4))
    assert "without a triplet" in nothing_to_compare(alone, triplets=True).found
    assert nothing_to_compare(alone, triplets=False) is None  # a classifier needs none


def test_a_loss_of_zero_is_healthy_when_every_triplet_is_solved():
    assert nothing_to_compare(step(loss=0.0), triplets=True) is None


def test_a_step_that_turns_the_weights_far():
    assert turned(step(degrees=faults.MOST_DEGREES)) is None
    fault = turned(step(degrees=66.4))
    assert "turned the weights by 66 degrees" in fault.found
    assert fault.mendable
    assert not fault.easier


def test_a_collapse_takes_many_steps_or_equal_embeddings():
    assert collapsed(step(), 1e-5, COLLAPSED_STEPS - 1) is None
    for fault in (collapsed(step(), 1e-5, COLLAPSED_STEPS), collapsed(step(), 1e-12, 1)):
        assert "a collapse of the encoder" in fault.found
        assert fault.easier


def test_equal_embeddings_before_anything_was_learnt_have_no_remedy():
    fault = collapsed(step(number=0), 0.0, 1)
    assert "look whether all images are alike" in fault.advice
    assert not fault.mendable


def test_the_spread_is_judged_beside_that_of_the_first_weights():
    assert is_collapsing(1e-3, first_spread=0.3)
    assert not is_collapsing(1e-3, first_spread=0.01)  # a deep network may begin there


def test_stuck_at_the_idle_loss():
    assert is_idle(0.5001, 0.5)
    assert not is_idle(0.49, 0.5)
    assert not is_idle(0.5, None)
    assert stuck(step(), STUCK_STEPS - 1) is None
    fault = stuck(step(), STUCK_STEPS)
    assert "stayed at 0.500" in fault.found
    assert fault.easier


def test_relative_spread_by_hand():
    # 1 and 3: variance 1 over mean square 5. Opposite points: variance 1 over 1.
    assert relative_spread(torch.tensor([[1.0], [3.0]])) == pytest.approx(1 / 5)
    assert relative_spread(torch.tensor([[1.0], [-1.0]])) == pytest.approx(1.0)
    assert relative_spread(torch.ones(3, 2)) == 0
    assert relative_spread(1e-3 * SPREAD_OUT) == pytest.approx(relative_spread(SPREAD_OUT))
