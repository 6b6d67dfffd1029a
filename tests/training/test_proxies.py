"""Proxies learn with the encoder, stay behind when it is done, and are resumed with it."""

from dataclasses import replace

import pytest
import torch

from tercet.model.encoder import Encoder
from tercet.training import encoder as training
from tercet.training import loop
from tercet.training.losses import proxy_triplet_loss
from tercet.training.proxies import WithProxies


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, loss="proxy-triplet", mining=None, margin=0.2, temperature=0.5, label_smoothing=0.1)


def with_proxies(config):
    return WithProxies(torch.nn.Linear(3, 8), 4, config, torch.Generator().manual_seed(0))


def test_gives_what_the_encoder_gives(config):
    network, points = with_proxies(config), torch.randn(5, 3)
    assert torch.equal(network(points), network.encoder(points))


@pytest.mark.parametrize("normalize", [True, False])
def test_proxies_have_unit_length_where_embeddings_have_it(config, normalize):
    network = with_proxies(replace(config, normalize=normalize))
    points, labels = torch.randn(6, 8), torch.arange(6) % 4
    proxies = torch.nn.functional.normalize(network.directions, dim=1) if normalize else network.directions
    settings = {"temperature": 0.5, "margin": 0.2, "smoothing": 0.1}
    assert torch.equal(network.loss(points, labels), proxy_triplet_loss(points, labels, proxies=proxies, **settings))
    nearest = (points[:, None] - proxies).norm(dim=2).argmin(1)
    assert torch.equal(network.scores(points).argmax(1), nearest)


def test_images_are_left_out_by_their_scores(config, tiny_set, monkeypatch):
    seen, class_gaps = [], loop.class_gaps
    monkeypatch.setattr(loop, "class_gaps", lambda scores, labels: (seen.append(scores), class_gaps(scores, labels))[1])
    training.train_encoder(config, tiny_set, tiny_set)
    assert {scores.shape[1] for scores in seen} == {len(tiny_set.classes)}
    assert not any(scores.requires_grad for scores in seen)


def test_training_moves_them_and_leaves_them_behind(config, tiny_set, monkeypatch):
    made = []

    class Seen(WithProxies):
        def __init__(self, *args):
            super().__init__(*args)
            made.append((self, self.directions.detach().clone()))

    monkeypatch.setattr(training, "WithProxies", Seen)
    trained, history = training.train_encoder(config, tiny_set, tiny_set)
    ((network, before),) = made
    assert network.proxies.shape == (2, config.dimensions)
    assert not torch.equal(network.directions, before)
    assert isinstance(trained, Encoder)
    assert history[-1]["loss"] > 0


def test_the_first_proxies_depend_on_the_seed_alone(config, tiny_set, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "train_network", lambda network, *_, **__: (seen.append(network), (network, []))[1])
    for seed in (0, 0, 1):
        torch.manual_seed(len(seen))
        training.train_encoder(replace(config, seed=seed), tiny_set, tiny_set)
    first, again, other = (network.proxies for network in seen)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_another_loss_has_none(config, tiny_set, monkeypatch):
    monkeypatch.setattr(WithProxies, "__init__", lambda *_: pytest.fail("made proxies"))
    given, _ = training.train_encoder(config, tiny_set, tiny_set, loss=lambda embeddings, _: embeddings.square().mean())
    assert isinstance(given, Encoder)
