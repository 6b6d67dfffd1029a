import logging
from dataclasses import replace

import pytest
import torch

from tercet.training.checkpoint import TrainingState
from tercet.training.loop import begin_pass
from tercet.training.passes import class_gaps, left_out, plan_pass, step_count, steps_per_epoch


def test_the_plan_differs_between_passes_and_seeds_only(tiny_set, tiny_config):
    plan = plan_pass(tiny_set.labels, tiny_config, 0)
    assert plan.shape == (3, 16)
    assert torch.equal(plan, plan_pass(tiny_set.labels, tiny_config, 0))
    assert not torch.equal(plan, plan_pass(tiny_set.labels, tiny_config, 1))
    assert not torch.equal(plan, plan_pass(tiny_set.labels, replace(tiny_config, seed=1), 0))


def test_says_once_which_classes_repeat_images(tiny_config, caplog):
    labels = torch.tensor([0] * 30 + [1] * 3)
    with caplog.at_level(logging.INFO):
        assert steps_per_epoch(labels, tiny_config) == 4
        plan_pass(labels, tiny_config, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "1 classes have fewer than 8 images and repeat some in a batch"
    ]


@pytest.mark.parametrize(("epochs", "steps"), [(0.001, 1), (1 / 3, 1), (0.9, 3), (1, 3), (1.3, 4), (2, 6), (2.0, 6)])
def test_the_steps_are_a_share_of_the_whole_epochs(tiny_set, tiny_config, epochs, steps):
    assert steps_per_epoch(tiny_set.labels, tiny_config) == 3
    assert step_count(3, epochs) == steps


def test_a_pass_shows_the_chosen_images_once_in_batches_of_the_usual_shape(tiny_config):
    labels = torch.arange(96) % 2
    shown = torch.arange(32, 96)
    plan = plan_pass(labels, tiny_config, 1, shown)
    assert plan.shape == (4, 16)
    assert sorted(plan.flatten().tolist()) == shown.tolist()
    assert (labels[plan].sum(1) == 8).all()


def test_a_few_images_come_in_batches_of_the_usual_shape_too(tiny_config):
    labels = torch.arange(96) % 2
    plan = plan_pass(labels, tiny_config, 1, torch.arange(6))
    assert plan.shape == (1, 16)
    assert set(plan.flatten().tolist()) == set(range(6))


def test_gaps_equal_the_loop():
    generator = torch.Generator().manual_seed(0)
    points, labels = torch.randn(30, 4, generator=generator), torch.arange(30) % 3 + 5
    for index, gap in enumerate(class_gaps(points, labels).tolist()):
        others = torch.arange(30) != index
        distances = {
            int(label): float((points[index] - points[(labels == label) & others].mean(0)).square().sum())
            for label in labels.unique()
        }
        own = distances.pop(int(labels[index]))
        assert gap == pytest.approx(min(distances.values()) - own, abs=1e-4)


def test_one_class_has_no_gaps():
    assert class_gaps(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64)).tolist() == [0] * 4


def test_of_each_class_the_widest_gaps_are_left_out():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    gaps = torch.tensor([0.1, 0.9, 0.5, 0.8, -1.0, -3.0, -2.0])
    assert sorted(left_out(gaps, labels, 0.5).tolist()) == [1, 3, 4]
    assert left_out(gaps, labels, 0.2).tolist() == []


def test_what_is_left_out_comes_back(tiny_config):
    labels = torch.arange(96) % 2
    measured = torch.arange(96.0) / 96
    state = TrainingState(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), [], gaps=measured.clone())
    config = replace(tiny_config, skip_share=0.5)
    begin_pass(state, labels, config)
    assert sorted(state.batches.flatten().tolist()) == list(range(96))
    seen = torch.zeros(96)
    for _ in range(20):
        begin_pass(state, labels, config)
        assert len(state.batches) == 3
        state.gaps[state.batches.flatten()] = measured[state.batches.flatten()]
        seen[state.batches.flatten()] += 1
    assert seen.min() >= 2
    assert seen[:20].min() > seen[-20:].max()  # the hard ones, which are at the front, come more often
    begin_pass(state, labels, replace(config, skip_share=0.0))
    assert len(state.batches) == 6
