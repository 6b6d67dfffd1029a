"""Proxies learn with the encoder, stay behind when it is done, and are resumed with it."""

from dataclasses import replace

import pytest
import torch

from tercet.model.encoder import Encoder
from tercet.training import encoder as training
from tercet.training import loop
from tercet.training.losses import proxy_triplet_loss
from tercet.training.proxies import Proxies, WithLoss


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, loss="proxy-triplet", mining=None, margin=0.2, temperature=0.5, label_smoothing=0.1)


def new_proxies(config):
    return Proxies(4, config, torch.Generator().manual_seed(0))


def test_an_encoder_with_a_loss_gives_what_the_encoder_gives(config):
    encoder, points = torch.nn.Linear(3, 8), torch.randn(5, 3)
    assert torch.equal(WithLoss(encoder, new_proxies(config))(points), encoder(points))


@pytest.mark.parametrize("normalize", [True, False])
def test_proxies_have_unit_length_where_embeddings_have_it(config, normalize):
    proxies = new_proxies(replace(config, normalize=normalize))
    points, labels = torch.randn(6, 8), torch.arange(6) % 4
    wanted = torch.nn.functional.normalize(proxies.directions, dim=1) if normalize else proxies.directions
    settings = {"temperature": 0.5, "margin": 0.2, "smoothing": 0.1}
    assert torch.equal(proxies(points, labels), proxy_triplet_loss(points, labels, proxies=wanted, **settings))
    nearest = (points[:, None] - wanted).norm(dim=2).argmin(1)
    assert torch.equal(proxies.scores(points).argmax(1), nearest)


def test_the_idle_loss_is_that_of_equal_distances(config):
    proxies = new_proxies(replace(config, normalize=False))
    torch.nn.init.ones_(proxies.directions)
    found = proxies(torch.randn(6, 8), torch.arange(6) % 4)
    assert training.idle_loss(config, (4, 1)) == pytest.approx(float(found.detach()))


def test_images_are_left_out_by_their_scores(config, tiny_set, monkeypatch):
    seen, class_gaps = [], loop.class_gaps
    monkeypatch.setattr(loop, "class_gaps", lambda scores, labels: (seen.append(scores), class_gaps(scores, labels))[1])
    training.train_encoder(config, tiny_set, tiny_set)
    assert {scores.shape[1] for scores in seen} == {len(tiny_set.classes)}
    assert not any(scores.requires_grad for scores in seen)


def test_training_moves_them_and_leaves_them_behind(config, tiny_set, monkeypatch):
    made = []

    class Seen(Proxies):
        def __init__(self, *args):
            super().__init__(*args)
            made.append((self, self.directions.detach().clone()))

    monkeypatch.setattr(training, "Proxies", Seen)
    trained, _ = training.train_encoder(config, tiny_set, tiny_set)
    ((proxies, before),) = made
    assert proxies.points.shape == (2, config.dimensions)
    assert not torch.equal(proxies.directions, before)
    assert isinstance(trained, Encoder)


def test_the_first_proxies_depend_on_the_seed_alone(config, tiny_set, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "train_network", lambda network, *_, **__: (seen.append(network), (network, []))[1])
    for seed in (0, 0, 1):
        torch.manual_seed(len(seen))
        training.train_encoder(replace(config, seed=seed), tiny_set, tiny_set)
    first, again, other = (network.loss.directions for network in seen)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_another_loss_has_none(config, tiny_set, monkeypatch):
    monkeypatch.setattr(Proxies, "__init__", lambda *_: pytest.fail("made proxies"))
    given, _ = training.train_encoder(config, tiny_set, tiny_set, loss=lambda embeddings, _: embeddings.square().mean())
    assert isinstance(given, Encoder)
