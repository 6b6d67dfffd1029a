import math
from dataclasses import replace

import pytest
import torch
from pytorch_metric_learning import losses as peer_losses
from torch import nn

from tercet.config import Config
from tercet.model.adapter import Adapter
from tercet.model.features import FeatureSet
from tercet.training.encoder import (
    configured_loss,
    fresh_encoder,
    idle_loss,
    knn_accuracy,
    part_inputs,
    train_encoder,
)
from tercet.training.loop import FEATURE_DROPOUT
from tercet.training.losses import centroid_triplet_loss, supervised_contrastive_loss, triplet_loss

SUPCON = {"loss": "supcon", "mining": None}
CENTROID = {"loss": "centroid-triplet", "mining": None}
PROXY = {"loss": "proxy-triplet", "mining": None}


def same_weights(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.fixture(scope="module")
def sets(make_set):
    """A training and a validation part."""
    return make_set(160, seed=1), make_set(200, seed=2)


@pytest.fixture
def config(tiny_config):
    """Twenty steps."""
    return replace(tiny_config, widths=(8, 16), batch_size=40, epochs=5)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"normalize": False, "margin": 1.0, "seed": 2},  # with some seeds the untrained one is good
        {"mining": "semi-hard"},
        {**SUPCON, "temperature": 0.5},
        {**CENTROID, "temperature": 0.5},
        {**PROXY, "temperature": 0.5},
        {**PROXY, "normalize": False, "temperature": 0.5},
    ],
)
def test_twenty_steps_beat_the_untrained_encoder(sets, config, change):
    config = replace(config, **change)
    train, validation = sets
    untrained = knn_accuracy(fresh_encoder(config, train, normalize=config.normalize), train, validation, "fp32")
    encoder, history = train_encoder(config, train, validation)
    assert history[-1]["step"] == 20
    assert untrained < 0.75
    assert knn_accuracy(encoder, train, validation, "fp32") > 0.9
    assert not encoder.training


def test_the_same_seed_gives_the_same_weights(tiny_set, tiny_config):
    first, again = (train_encoder(tiny_config, tiny_set, tiny_set)[0] for _ in range(2))
    other, _ = train_encoder(replace(tiny_config, seed=1), tiny_set, tiny_set)
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_the_history_tells_of_each_epoch(tiny_set, tiny_config):
    encoder, history = train_encoder(tiny_config, tiny_set, tiny_set)
    assert [record["epoch"] for record in history] == [1, 2]
    assert all(0 <= record["active_share"] <= 1 and math.isfinite(record["loss"]) for record in history)
    assert history[-1]["validation_accuracy"] == knn_accuracy(encoder, tiny_set, tiny_set, "fp32")


def test_a_loss_of_pytorch_metric_learning_takes_the_place_of_ours(tiny_set, tiny_config):
    peer, _ = train_encoder(tiny_config, tiny_set, tiny_set, loss=peer_losses.SupConLoss(temperature=0.1))
    ours, _ = train_encoder(replace(tiny_config, **SUPCON), tiny_set, tiny_set)
    triplet, _ = train_encoder(tiny_config, tiny_set, tiny_set)
    images = tiny_set.images[:4]
    torch.testing.assert_close(peer(images), ours(images), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(peer(images), triplet(images), rtol=1e-3, atol=1e-3)


def test_a_loss_may_have_any_value(tiny_set, tiny_config):
    _, history = train_encoder(
        replace(tiny_config, mining="hard"), tiny_set, tiny_set, loss=lambda embeddings, _: embeddings.sum() * 0 + 0.5
    )
    assert history[-1]["loss"] == 0.5


def test_the_first_weights_come_from_the_seed_and_the_preprocessing_from_the_images(tiny_set, tiny_config):
    first, again = (fresh_encoder(tiny_config, tiny_set, normalize=True) for _ in range(2))
    other = fresh_encoder(replace(tiny_config, seed=1), tiny_set, normalize=True)
    assert same_weights(first, again)
    assert not same_weights(first, other)
    mean, std = tiny_set.channel_statistics()
    assert torch.equal(first.mean.flatten(), mean)
    assert torch.equal(first.std.flatten(), std)
    assert not fresh_encoder(tiny_config, tiny_set, normalize=False).normalize


@pytest.fixture
def features():
    """240 images of three classes in two views of 40 features, three of which tell the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 3
    views = torch.rand(240, 2, 40, generator=generator)
    views[:, :, :3] += nn.functional.one_hot(labels, 3)[:, None]
    return FeatureSet(views.half(), labels, ("a", "b", "c"))


def test_an_adapter_is_trained_on_features(features, tiny_config):
    config = replace(tiny_config, encoder="pretrained", optimizer="adam", learning_rate=0.03, epochs=20)
    train, validation = features.select(torch.arange(120)), features.select(torch.arange(120, 240))
    untrained = knn_accuracy(fresh_encoder(config, train, normalize=True), train, validation, "fp32")
    adapter, history = train_encoder(config, train, validation)
    again, _ = train_encoder(config, train, validation)
    assert isinstance(adapter, Adapter)
    assert same_weights(adapter, again)
    assert untrained < 0.75 < 0.9 < history[-1]["validation_accuracy"]


def test_batches_of_features_show_views_and_drop_to_the_mean(features):
    inputs = part_inputs(features, Config())
    indices = torch.arange(240).repeat(50)
    found = inputs(indices, 0, torch.Generator().manual_seed(0))
    again = inputs(indices, 0, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    mean = features.judged.mean(0)
    dropped = found == mean
    assert float(dropped.float().mean()) == pytest.approx(FEATURE_DROPOUT, abs=0.01)
    kept = mean + (found - mean) * (1 - FEATURE_DROPOUT)
    views = features.views[indices].float()
    first, second = (torch.isclose(kept, views[:, view], atol=1e-5) | dropped for view in (0, 1))
    assert bool((first.all(1) ^ second.all(1)).all())  # each image in one view
    assert 0.4 < float(first.all(1).float().mean()) < 0.6
    expected = features.views[indices].float().mean(1) - mean
    assert float(((found - mean) * expected).sum() / expected.square().sum()) == pytest.approx(1, abs=0.02)


def test_batches_of_images_are_augmented(tiny_set, tiny_config):
    found = part_inputs(tiny_set, tiny_config)(torch.arange(48), 0, torch.Generator())
    assert found.shape == tiny_set.images.shape
    assert not torch.equal(found, tiny_set.images)


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard", "random"])
def test_the_configured_triplet_loss(tiny_config, mining):
    points = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    config = replace(tiny_config, mining=mining, margin=1.3)
    loss = configured_loss(config, torch.Generator().manual_seed(5))
    wanted = triplet_loss(points, labels, margin=1.3, mining=mining, generator=torch.Generator().manual_seed(5))
    assert torch.equal(loss(points, labels), wanted)


def test_the_configured_losses_with_a_temperature(tiny_config):
    points = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    loss = configured_loss(replace(tiny_config, **SUPCON, temperature=0.3), torch.Generator())
    assert torch.equal(loss(points, labels), supervised_contrastive_loss(points, labels, temperature=0.3))
    loss = configured_loss(replace(tiny_config, **CENTROID, temperature=0.3, margin=0.4), torch.Generator())
    assert torch.equal(loss(points, labels), centroid_triplet_loss(points, labels, temperature=0.3, margin=0.4))


def test_the_idle_loss_is_that_of_equal_embeddings(tiny_config):
    # All distances 0: every hinge is the margin. All cosines 1: each of the 15 others has the same share.
    points, labels = torch.ones(16, 4), torch.arange(16) % 2
    for change in (SUPCON, CENTROID):
        config = replace(tiny_config, **change)
        idle = configured_loss(config, torch.Generator())(points, labels)
        assert idle_loss(config, (2, 8)) == pytest.approx(float(idle))
    hard = replace(tiny_config, mining="hard")
    assert idle_loss(hard, (2, 8)) == pytest.approx(float(configured_loss(hard, torch.Generator())(points, labels)))
    assert idle_loss(replace(tiny_config, mining="semi-hard"), (2, 8)) == tiny_config.margin
    assert idle_loss(tiny_config, (2, 8)) is None
    assert idle_loss(replace(tiny_config, mining="random"), (2, 8)) is None
