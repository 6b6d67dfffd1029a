from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from tercet.config import CHOICES
from tercet.data.augment import random_crop
from tercet.data.imageset import ImageSet
from tercet.training import loop
from tercet.training.checkpoint import Checkpoint, TrainingState
from tercet.training.encoder import train_encoder
from tercet.training.guard import Guard
from tercet.training.loop import (
    augment,
    image_inputs,
    rate_scale,
    train_network,
    update_average,
)


class Interruption(Exception):  # noqa: N818
    """Stands for the process being killed."""


def stop_after(steps):
    def on_step(done, total):
        if done == steps:
            raise Interruption

    return on_step


def without_seconds(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def same_weights(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.fixture
def training(tiny_set, tiny_config, make_set, monkeypatch):
    """Training of the tiny encoder, a checkpoint after every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    return partial(train_encoder, train=tiny_set, validation=make_set(12, seed=1)), tiny_config


def resumed(training, config, folder, steps):
    """The outcome of a training that was killed in the step after `steps` checkpoints."""
    checkpoint = Checkpoint(folder, "key")
    with pytest.raises(Interruption):
        training(config, checkpoint=checkpoint, on_step=stop_after(steps + 1))
    return training(config, checkpoint=checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"mining": "random"},
        {"optimizer": "adam", "learning_rate": 1e-3},
        {"loss": "supcon", "mining": None, "cutout": 3},
        {"epochs": 5.5 / 3},
    ],
    ids=["all", "random mining", "adam", "supcon", "part of an epoch"],
)
def test_a_resumed_run_equals_the_uninterrupted_one(training, tmp_path, change):
    train, config = training
    config = replace(config, **change)
    whole, whole_history = train(config)
    assert len(whole_history) == 2
    for steps in (1, 3, 5):  # within an epoch, between the two, before the last step
        encoder, history = resumed(train, config, tmp_path / str(steps), steps)
        assert same_weights(encoder, whole)
        assert without_seconds(history) == without_seconds(whole_history)


def test_a_run_that_loses_the_optimizer_state_does_not(training, tmp_path, monkeypatch):
    train, config = training
    whole, _ = train(config)
    every_tensor = TrainingState.tensors
    monkeypatch.setattr(
        TrainingState,
        "tensors",
        lambda state: {k: v for k, v in every_tensor(state).items() if not k.startswith("optimizer")},
    )
    encoder, _ = resumed(train, config, tmp_path, 3)
    assert not same_weights(encoder, whole)


def test_a_finished_training_is_not_repeated(training, tmp_path):
    train, config = training
    first, history = train(config, checkpoint=Checkpoint(tmp_path, "key"))
    again, same_history = train(config, checkpoint=Checkpoint(tmp_path, "key"), on_step=stop_after(1))
    assert same_weights(first, again)
    assert same_history == history


def train_linear(tiny_set, config, loss, **changes):
    class Pixels(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3 * 12 * 12, 2)

        def forward(self, images):
            return self.layer(images.flatten(1) / 255)

    arguments = {
        "generator": torch.Generator(),
        "checkpoint": Checkpoint(None, ""),
        "guard": Guard(),
        "describe": lambda _average, _outputs, labels: {"seen": float(len(labels))},
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Pixels()
    return network, *train_network(
        network, loss, tiny_set.labels, image_inputs(tiny_set.images, config), config, **(arguments | changes)
    )


def test_trains_any_network_by_any_loss_and_records_each_epoch(tiny_set, tiny_config):
    steps = []
    config = replace(tiny_config, learning_rate=0.1, epochs=8)
    brightness = tiny_set.images // 4 + 100 * tiny_set.labels[:, None, None, None].to(torch.uint8)
    bright = ImageSet(brightness, tiny_set.labels, tiny_set.classes)  # the second class is the brighter one
    _, _, history = train_linear(
        bright, config, nn.functional.cross_entropy, on_step=lambda done, total: steps.append((done, total))
    )
    assert steps == [(step, 8 * 3) for step in range(1, 8 * 3 + 1)]
    assert [(record["epoch"], record["step"], record["images"]) for record in history] == [
        (epoch, 3 * epoch, 48 * epoch) for epoch in range(1, 9)
    ]
    assert all(record["seen"] == 16 for record in history)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_a_last_epoch_that_is_not_whole_ends_early_and_is_recorded(tiny_set, tiny_config):
    config, steps = replace(tiny_config, epochs=5 / 3), []
    _, _, history = train_linear(
        tiny_set, config, nn.functional.cross_entropy, on_step=lambda done, total: steps.append((done, total))
    )
    assert steps == [(step, 5) for step in range(1, 6)]
    assert [(record["epoch"], record["step"], record["images"]) for record in history] == [(1, 3, 48), (2, 5, 80)]


def test_returns_the_average_not_the_last_weights(tiny_set, tiny_config):
    network, average, _ = train_linear(tiny_set, tiny_config, nn.functional.cross_entropy)
    assert average is not network
    assert not same_weights(average, network)
    _, last, _ = train_linear(tiny_set, replace(tiny_config, averaging=0.0), nn.functional.cross_entropy)
    assert same_weights(last, network)


def test_every_step_has_random_numbers_of_its_own(tiny_set, tiny_config):
    generator, seeds = torch.Generator(), []

    def loss(outputs, labels):
        seeds.append(generator.initial_seed())
        return nn.functional.cross_entropy(outputs, labels)

    for seed in (0, 0, 1):
        train_linear(tiny_set, replace(tiny_config, seed=seed), loss, generator=generator)
    assert seeds[:6] == seeds[6:12]
    assert len(set(seeds)) == 12  # six steps of two seeds


def test_leaves_the_global_random_state_alone(training):
    train, config = training
    before = torch.get_rng_state()
    train(config)
    assert torch.equal(torch.get_rng_state(), before)


def numbered_images(count):
    """Images of which no two are equal and none is its own mirror image."""
    images = torch.arange(count * 3 * 100).reshape(count, 3, 10, 10) % 251
    return images.to(torch.uint8)


def test_mirroring_shows_both_sides_of_every_image_over_two_epochs(tiny_config):
    config = replace(tiny_config, size=10, crop_padding=0, mirrored=False)
    images, indices = numbered_images(64), torch.arange(64) + 1000
    first, second, third = (augment(images, indices, epoch, config, torch.Generator()) for epoch in (0, 1, 2))
    assert torch.equal(first.flip(3), second)
    assert torch.equal(first, third)
    mirrored = (first != images).flatten(1).any(1)
    assert 16 < int(mirrored.sum()) < 48
    assert not torch.equal(augment(images, indices, 0, replace(config, seed=1), torch.Generator()), first)
    assert torch.equal(augment(images, indices, 1, replace(config, mirrored=True), torch.Generator()), images)


def test_the_side_of_an_image_does_not_depend_on_its_batch(tiny_config):
    config = replace(tiny_config, size=10, crop_padding=0, mirrored=False)
    images, indices = numbered_images(20), torch.arange(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    together = augment(images, indices, 3, config, torch.Generator())
    assert torch.equal(augment(images[order], indices[order], 3, config, torch.Generator()), together[order])


def test_augmentation_follows_the_configuration(tiny_config):
    images, indices = numbered_images(20), torch.arange(20)
    off = replace(tiny_config, size=10, flip=False, mirrored=False, crop_padding=0, cutout=0)
    assert torch.equal(augment(images, indices, 0, off, torch.Generator()), images)
    for change in ({"flip": True}, {"crop_padding": 1}, {"cutout": 2}):
        changed = augment(images, indices, 0, replace(off, **change), torch.Generator().manual_seed(0))
        assert not torch.equal(changed, images)


def test_images_larger_than_the_network_are_cropped_without_a_border(tiny_config):
    images, indices = numbered_images(20), torch.arange(20)
    images = torch.nn.functional.pad(images, (0, 4, 0, 4))
    config = replace(tiny_config, size=12, flip=False, crop_padding=2)
    cropped = augment(images, indices, 0, config, torch.Generator().manual_seed(0))
    assert torch.equal(cropped, random_crop(images, 12, 0, torch.Generator().manual_seed(0)))


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    scales = [rate_scale(step / 100, 0.2) for step in range(101)]
    assert 0 < scales[0] < 0.01
    assert scales[:21] == sorted(scales[:21])
    assert scales[20:] == sorted(scales[20:], reverse=True)
    assert max(scales) == pytest.approx(1.0)
    assert scales[60] == pytest.approx(0.5)  # half of the way down
    assert scales[100] == 0
    assert rate_scale(0.0, 0.0) == 1.0


def test_the_average_moves_by_the_rest_of_the_decay():
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    network.running_mean.fill_(10.0)
    network.num_batches_tracked.fill_(3)
    update_average(average, network, decay=0.8)
    assert float(average.running_mean) == pytest.approx(2.0)  # 0.8 * 0 + 0.2 * 10
    assert int(average.num_batches_tracked) == 3  # a count is taken over


def test_few_images_live_on_the_device_and_are_augmented_there(tiny_set, tiny_config, monkeypatch):
    """The meta device knows shapes alone: whatever would read a value, and so wait for a GPU, fails on it."""
    monkeypatch.setitem(CHOICES, "device", ("meta",))
    config = replace(tiny_config, flip=True, crop_padding=2, cutout=3, device="meta")
    arguments = torch.arange(5), 1, torch.Generator()
    batch = image_inputs(tiny_set.images, config)(*arguments)
    assert (batch.device.type, batch.shape) == ("meta", (5, 3, 12, 12))
    monkeypatch.setattr(loop, "MOST_DEVICE_BYTES", tiny_set.images.nbytes - 1)
    assert image_inputs(tiny_set.images, config)(*arguments).device.type == "cpu"
