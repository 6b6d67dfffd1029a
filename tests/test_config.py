import math
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch

from tercet.config import (
    ADAPTER_RATE,
    ADAPTER_STEPS,
    CHOICES,
    LARGEST_SIZE,
    LEAST,
    PRESETS,
    Config,
    largest_batch,
    resolve,
)
from tercet.errors import UsageError
from tercet.footprint import network_of
from tercet.model.encoder import BACKBONES
from tercet.training.losses import LOSSES

PHOTOGRAPHS = {"image_count": 10**9, "size": 32, "flip": True}


def resolved(image_count=45_000, **settings):
    return resolve(Config(**settings), image_count=image_count, size=32, flip=True)


def test_a_fast_encoder_needs_widths():
    with pytest.raises(
        UsageError, match=r"^--widths is empty; expected a number for each group of the fast encoder\.$"
    ):
        resolved(widths=())
    assert resolved(widths=(), encoder="classic").widths == ()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_resolve_to_something_complete(name):
    found = resolve(PRESETS[name], image_count=45_000, size=32, flip=True)
    unset = [field.name for field in fields(found) if getattr(found, field.name) is None]
    assert unset == ["backbone", "custom_loss", "mining"]
    assert found.epochs == PRESETS[name].epochs
    assert found.batch_size == PRESETS[name].batch_size


def test_longer_presets_train_longer():
    assert PRESETS["quick"].epochs < PRESETS["standard"].epochs < PRESETS["full"].epochs


@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_is_named_by_its_flag(name):
    with pytest.raises(
        UsageError, match=f"^--{name.replace('_', '-')} is 'magic'; expected one of .*{CHOICES[name][0]}"
    ) as refused:
        Config(**{name: "magic"})
    assert str(refused.value).endswith(".")
    for choice in CHOICES[name]:
        assert getattr(Config(**{name: choice}), name) == choice


@pytest.mark.parametrize("loss", ["proxy-triplet", "centroid-triplet", "supcon", "custom"])
def test_a_mining_is_refused_where_the_loss_has_none(loss):
    with pytest.raises(UsageError, match=f"^--mining is 'hard' with --loss {loss}; expected --loss triplet"):
        Config(loss=loss, mining="hard")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf])
def test_a_number_out_of_range_is_named_by_its_flag(name, wrong):
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(UsageError, match=f"^{flag} is {wrong}; expected a number of at least {LEAST[name]}"):
        Config(**{name: wrong})
    assert getattr(Config(**{name: LEAST[name]}), name) == LEAST[name]


def test_a_size_beyond_the_largest_is_refused():
    assert Config(size=LARGEST_SIZE).size == LARGEST_SIZE == 224
    with pytest.raises(UsageError, match=r"^--size is 225; expected at most 224 pixels, to which"):
        Config(size=225)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_encoder_takes_images_of_the_smallest_size(name):
    side, backbone = LEAST["size"], BACKBONES[name](128, LEAST["size"], Config().widths, True)
    assert backbone.eval()(torch.zeros(1, 3, side, side)).shape == (1, 128)


def test_choices_name_what_there_is():
    assert set(CHOICES["encoder"]) == {*BACKBONES, "pretrained"}
    assert set(CHOICES["loss"]) == {*LOSSES, "custom"}


def test_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Config().seed = 1


def test_what_is_set_stays():
    found = resolved(size=48, margin=0.3, optimizer="adam", learning_rate=0.5, flip=False, seed=3)
    assert (found.size, found.margin, found.optimizer, found.learning_rate, found.flip, found.seed) == (
        *(48, 0.3, "adam"),
        *(0.5, False, 3),
    )
    assert resolved(margin=0.0).margin == 0.0


@pytest.mark.parametrize(
    ("settings", "name", "wanted"),
    [
        ({}, "loss", "proxy-triplet"),
        ({}, "mining", None),
        ({}, "margin", 0.2),
        ({"loss": "centroid-triplet"}, "margin", 0.0),
        ({}, "temperature", 0.4),
        ({"loss": "centroid-triplet"}, "temperature", 0.2),
        ({"loss": "supcon"}, "temperature", 0.1),
        ({"mining": "hard"}, "loss", "triplet"),
        ({"mining": "hard"}, "margin", 0.25),
        ({"loss": "triplet"}, "mining", "all"),
        ({"normalize": False}, "loss", "triplet"),
        ({"encoder": "pretrained"}, "loss", "triplet"),
        ({"normalize": False}, "mining", "all"),
        ({"normalize": False}, "margin", 1.0),
        ({}, "optimizer", "muon"),
        ({}, "learning_rate", 0.16),
        ({"encoder": "classic"}, "optimizer", "adam"),
        ({"encoder": "classic"}, "learning_rate", 1e-3),
        ({"optimizer": "adam"}, "learning_rate", 1e-3),
        ({"encoder": "pretrained"}, "optimizer", "adam"),
        ({"encoder": "pretrained"}, "learning_rate", ADAPTER_RATE),
        ({"encoder": "pretrained"}, "fewest_steps", ADAPTER_STEPS),
        ({"encoder": "pretrained", "learning_rate": 0.5}, "learning_rate", 0.5),
        ({}, "fewest_steps", 70),
        ({}, "size", 32),
        ({}, "flip", True),
    ],
)
def test_what_is_not_set_follows_from_the_rest(settings, name, wanted):
    assert getattr(resolved(**settings), name) == wanted


@pytest.mark.parametrize(
    ("asked", "size", "has_weights", "encoder"),
    [
        ({}, 96, True, "pretrained"),
        ({}, 95, True, "fast"),
        ({}, 224, False, "fast"),
        ({"size": 128}, 32, True, "pretrained"),  # the size asked for counts
        ({"encoder": "classic"}, 128, True, "classic"),
        ({"encoder": "pretrained"}, 32, False, "pretrained"),
    ],
)
def test_photographs_get_the_pretrained_encoder_where_its_weights_are(asked, size, has_weights, encoder):
    found = resolve(Config(**asked), image_count=300, size=size, flip=True, has_weights=has_weights)
    assert found.encoder == encoder


@pytest.mark.parametrize(
    ("image_count", "batch_size", "epochs"),
    [
        (45_000, 500, 4),  # 90 steps an epoch: 360 in all
        (1_400, 140, 7),  # a tenth of the images; ten steps an epoch, seven epochs for 70 steps
        (300, 64, 14),  # never below 64: five steps an epoch
        (10, 64, 70),  # one step an epoch
    ],
)
def test_small_sets_get_smaller_batches_and_more_epochs(image_count, batch_size, epochs):
    found = resolved(image_count)
    assert (found.batch_size, found.epochs) == (batch_size, epochs)
    assert found.epochs * math.ceil(image_count / batch_size) >= found.fewest_steps


@pytest.mark.parametrize(("image_count", "epochs"), [(45_000, 2.5), (300, 14)])
def test_a_part_of_an_epoch_is_kept_unless_the_steps_are_too_few(image_count, epochs):
    assert resolved(image_count, epochs=2.5).epochs == epochs


def test_a_small_batch_asked_for_is_kept():
    assert resolved(300, batch_size=16).batch_size == 16


@pytest.mark.parametrize(
    ("encoder", "size", "batch_size"),
    [
        ("fast", 32, 500),
        ("fast", 96, 500),
        ("fast", 128, 281),
        ("fast", 224, 91),
        ("classic", 32, 500),
        ("classic", 64, 281),
    ],
)
def test_large_images_get_smaller_batches(encoder, size, batch_size):
    found = resolve(Config(encoder=encoder), image_count=45_000, size=size, flip=True)
    assert found.batch_size == batch_size
    assert resolve(Config(encoder=encoder, size=size), image_count=45_000, size=9, flip=True).batch_size == batch_size


@pytest.mark.parametrize("size", [10, 32, 63, 64, 96, 224])
@pytest.mark.parametrize(
    ("encoder", "widths"),
    [
        ("fast", Config().widths),
        ("fast", (64, 256, 256)),
        ("fast", (32, 256, 512)),
        ("fast", (128,) * 3),
        ("classic", ()),
    ],
)
def test_what_a_step_keeps_stays_under_its_bound(encoder, widths, size):
    """However large a batch is asked for, and whatever the widths; without what hangs on the pairs of a batch."""
    batch = largest_batch(encoder, size, widths)
    asked = resolve(Config(encoder=encoder, widths=widths, size=size, batch_size=10**6), **PHOTOGRAPHS)
    assert asked.batch_size == batch <= 4096
    assert network_of(asked).kept * batch < 1.5e9


def test_resolving_twice_changes_nothing():
    once = resolved(300)
    assert resolve(once, image_count=300, size=99, flip=False) == once


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dimensions": "128"}, "--dimensions is '128'; expected a whole number."),
        ({"batch_size": None}, "--batch-size is None; expected a whole number."),
        ({"learning_rate": "fast"}, "--learning-rate is 'fast'; expected a number."),
        ({"flip": "yes"}, "--flip is 'yes'; expected True or False."),
        ({"widths": (32, 0)}, "--widths is (32, 0); expected whole numbers above 0."),
        ({"backbone": 3}, "--backbone is 3; expected a name."),
        ({"seed": 202612011230}, "--seed is 202612011230; expected at most 4294967295."),
        ({"skip_share": 1}, "--skip-share is 1; expected at most 0.99."),
        ({"crop_padding": 10}, "--crop-padding is 10; expected at most 9."),
    ],
)
def test_a_value_of_another_kind_is_named_by_its_flag(settings, says):
    with pytest.raises(UsageError) as refused:
        Config(**settings)
    assert str(refused.value) == says


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_numbers():
    found = Config(seed=np.int64(3), margin=np.float32(0.5), normalize=np.bool_(True), flip=0, widths=[4, 8, 8])
    assert repr(found) == repr(Config(seed=3, margin=0.5, normalize=True, flip=False, widths=(4, 8, 8)))
