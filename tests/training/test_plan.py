import logging
from dataclasses import replace

import pytest
import torch

from tercet.training.loop import plan_epoch, plan_steps


def test_the_plan_differs_between_epochs_and_seeds_only(tiny_set, tiny_config):
    plan = plan_epoch(tiny_set.labels, tiny_config, 0)
    assert plan.shape == (3, 16)
    assert torch.equal(plan, plan_epoch(tiny_set.labels, tiny_config, 0))
    assert not torch.equal(plan, plan_epoch(tiny_set.labels, tiny_config, 1))
    assert not torch.equal(plan, plan_epoch(tiny_set.labels, replace(tiny_config, seed=1), 0))


def test_says_once_which_classes_repeat_images(tiny_config, caplog):
    labels = torch.tensor([0] * 30 + [1] * 3)
    with caplog.at_level(logging.INFO):
        for epoch in (0, 1):
            plan_epoch(labels, tiny_config, epoch)
    assert [record.getMessage() for record in caplog.records] == [
        "1 classes have fewer than 8 images and repeat some in a batch"
    ]


@pytest.mark.parametrize(("epochs", "steps"), [(0.001, 1), (1 / 3, 1), (0.9, 3), (1, 3), (1.3, 4), (2, 6), (2.0, 6)])
def test_the_steps_are_the_first_of_the_whole_epochs(tiny_set, tiny_config, epochs, steps):
    whole = plan_steps(tiny_set.labels, replace(tiny_config, epochs=3))
    plan = plan_steps(tiny_set.labels, replace(tiny_config, epochs=epochs))
    assert [epoch for epoch, _ in plan] == [0, 0, 0, 1, 1, 1][:steps]
    assert all(torch.equal(indices, other) for (_, indices), (_, other) in zip(plan, whole, strict=False))
