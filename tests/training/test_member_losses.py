"""Each member learns by its own part: no gradient of one's loss reaches another, and whole embeddings judge."""

from dataclasses import replace

import pytest
import torch

from tercet.evaluation.baselines import MemberReaders, fit_cnn, train_cnn
from tercet.geometry.distances import squared_distances
from tercet.model.members import to_unit_length
from tercet.training import loop
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import configured_loss, fresh_encoder, knn_accuracy, train_encoder
from tercet.training.losses import triplet_loss
from tercet.training.member_losses import MemberProxies, for_each_member


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, members=2, widths=(8, 16), batch_size=40, epochs=5)


@pytest.fixture
def points():
    return to_unit_length(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), 2), torch.arange(12) % 3


def test_the_loss_is_the_mean_of_those_of_parts_of_unit_length(config, points):
    embeddings, labels = points
    loss = for_each_member(lambda *pair: triplet_loss(*pair, margin=0.5), config)
    parts = [torch.nn.functional.normalize(part, dim=1) for part in embeddings.split(4, dim=1)]
    wanted = torch.stack([triplet_loss(part, labels, margin=0.5) for part in parts]).mean()
    torch.testing.assert_close(loss(embeddings, labels), wanted)
    raw = for_each_member(lambda *pair: triplet_loss(*pair, margin=0.5), replace(config, normalize=False))
    wanted = torch.stack([triplet_loss(part, labels, margin=0.5) for part in embeddings.split(4, dim=1)]).mean()
    torch.testing.assert_close(raw(embeddings, labels), wanted)


def test_one_member_has_the_loss_itself(config):
    assert for_each_member(triplet_loss, replace(config, members=1)) is triplet_loss


def test_proxies_score_by_the_mean_distance_of_members(config, points):
    embeddings, _ = points
    proxies = MemberProxies(3, replace(config, temperature=0.5, margin=0.2), torch.Generator().manual_seed(0))
    whole = torch.cat([member.points for member in proxies.members], dim=1) / 2**0.5
    torch.testing.assert_close(proxies.scores(embeddings), -squared_distances(embeddings, whole), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"loss": "supcon", "mining": None, "temperature": 0.5},
        {"loss": "proxy-triplet", "mining": None, "temperature": 0.5},
    ],
)
def test_twenty_steps_beat_the_untrained_encoder(make_set, config, change):
    config, train, validation = replace(config, **change), make_set(160, seed=1), make_set(200, seed=2)
    untrained = knn_accuracy(fresh_encoder(config, train, normalize=True), train, validation, "fp32")
    encoder, history = train_encoder(config, train, validation)
    assert history[-1]["step"] == 20
    assert untrained < 0.75
    assert knn_accuracy(encoder, train, validation, "fp32") > 0.9
    assert encoder.members == 2


def test_what_one_member_learns_does_not_hang_on_the_others(make_set, config):
    train = make_set(160, seed=1)
    encoder = fresh_encoder(config, train, normalize=True)
    loss = configured_loss(config, torch.Generator())
    first, second = encoder.backbone.members

    def gradient():
        encoder.zero_grad()
        loss(encoder(train.images[:40]), train.labels[:40]).backward()
        return first.project.weight.grad.clone()

    before = gradient()
    with torch.no_grad():
        second.project.weight.mul_(-1).add_(0.1)
    torch.testing.assert_close(gradient(), before)


def test_the_cnn_has_a_reader_for_each_member_and_answers_with_their_mean_probability(config, make_set):
    train = make_set(160, seed=1)
    config = replace(config, skip_share=0.5)
    network, history = train_cnn(config, train, train, checkpoint=Checkpoint(None, ""))
    assert isinstance(network[1], MemberReaders)
    embeddings = network[0](train.images)
    each = [layer(part) for layer, part in zip(network[1].layers, embeddings.split(4, dim=1), strict=True)]
    wanted = torch.stack([logits.softmax(1) for logits in each]).mean(0)
    torch.testing.assert_close(network(train.images).softmax(1), wanted)
    classify, _ = fit_cnn(config, train, train, checkpoint=Checkpoint(None, ""))
    assert float((classify(train.images).argmax(1) == train.labels).float().mean()) > 0.9
    assert history[-1]["step"] == 20


def test_images_are_left_out_by_the_scores_of_all_members(config, tiny_set, monkeypatch):
    seen, class_gaps = [], loop.class_gaps
    monkeypatch.setattr(loop, "class_gaps", lambda scores, labels: (seen.append(scores), class_gaps(scores, labels))[1])
    config = replace(config, loss="proxy-triplet", mining=None, skip_share=0.5)
    train_encoder(config, tiny_set, tiny_set)
    assert {scores.shape[1] for scores in seen} == {len(tiny_set.classes)}


def test_each_member_takes_the_step_that_it_would_take_alone(config, points):
    embeddings, labels = points
    parts = [part.clone().requires_grad_() for part in embeddings.split(4, dim=1)]
    loss = for_each_member(lambda *pair: triplet_loss(*pair, margin=0.5), config)
    loss(torch.cat(parts, dim=1), labels).backward()
    for part in parts:
        alone = part.detach().clone().requires_grad_()
        triplet_loss(2**0.5 * alone, labels, margin=0.5).backward()
        torch.testing.assert_close(part.grad, alone.grad)


@pytest.mark.slow
def test_the_guard_sees_a_member_that_collapses_beside_healthy_ones(config, tiny_set, caplog):
    def point(part):  # pulls this member's images to one place
        return part.square().sum(1).mean() - part.mean(0).square().sum()

    calls = []

    def loss(part, labels):
        calls.append(1)
        return 50 * point(part) if len(calls) % 2 else triplet_loss(part, labels, margin=0.5)

    train_encoder(replace(config, epochs=30), tiny_set, tiny_set, loss=loss)
    assert "a collapse of the encoder" in caplog.text


@pytest.mark.parametrize(
    "change",
    [{"members": 3}, {"normalize": False}, {"encoder": "classic", "optimizer": "adam", "mirrored": False, "size": 16}],
)
def test_parts_of_any_width_raw_or_of_another_network_are_trained(config, make_set, change):
    config = replace(config, loss="proxy-triplet", mining=None, epochs=1, **change)
    train = make_set(80, side=16)
    encoder, history = train_encoder(config, train, train)
    assert 0 <= history[-1]["active_share"] <= 1
    assert encoder(train.images[:2]).shape == (2, 8)
