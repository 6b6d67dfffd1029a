"""Encoder and head trained as one, in memory."""

from dataclasses import replace

import torch

from tercet.training.bundle import as_taken, train_bundle
from tercet.training.head import head_images


def test_encoder_and_head_make_a_bundle(tiny_set, tiny_config):
    train, validation = tiny_set.split(0)
    steps = []
    learned = train_bundle(tiny_config, train, validation, on_progress=lambda *step: steps.append(step))
    assert steps[-1] == ("encoder", len(steps), len(steps))
    assert learned.bundle.classes == ("bar", "row")
    assert learned.bundle.settings == {
        **{"encoder": "fast", "widths": (4, 8), "dimensions": 8, "normalize": True, "size": 12},
        **{"mirrored": True, "members": 1, "backbone": None, "hidden": 120},
    }
    assert learned.bundle.encoder is learned.network
    assert not learned.bundle.encoder.training
    assert not learned.bundle.head.training
    phases = [record["phase"] for record in learned.history]
    assert phases == sorted(phases)  # the encoder first
    assert set(phases) == {"encoder", "head"}
    for (embeddings, labels), part in ((learned.read, train), (learned.validation_read, validation)):
        images = part.images.permute(0, 2, 3, 1).numpy()
        torch.testing.assert_close(torch.from_numpy(learned.bundle.embed(images)), embeddings)
        assert torch.equal(labels, part.labels)
    assert learned.feature_seconds == 0 < learned.encoder_seconds
    assert learned.embedding_seconds > 0


def test_the_head_learns_from_some_images_of_each_class(tiny_set, tiny_config, monkeypatch):
    monkeypatch.setattr("tercet.training.bundle.COPIED_IMAGES", 3)
    train, validation = tiny_set.split(0)
    learned = train_bundle(replace(tiny_config, epochs=1, head_images=4), train, validation)
    chosen = head_images(train.labels, 4, tiny_config.seed)
    images = train.images[chosen].permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(torch.from_numpy(learned.bundle.embed(images)), learned.read[0])
    assert torch.equal(learned.chosen, chosen)
    assert torch.equal(learned.read[1], train.labels[chosen])
    assert len(chosen) == 8


def test_the_loss_given_takes_the_place_of_the_configured_one(tiny_set, tiny_config):
    train, validation = tiny_set.split(0)
    seen = []

    def loss(embeddings, labels):
        seen.append(len(labels))
        return (embeddings[labels == 0].mean(0) * embeddings[labels == 1].mean(0)).sum() + 1

    train_bundle(replace(tiny_config, epochs=1), train, validation, loss=loss)
    assert seen


def test_images_are_taken_as_they_are_without_a_frozen_network(tiny_set):
    assert as_taken(None, tiny_set, both_sides=True) == ((tiny_set,), 0.0)
