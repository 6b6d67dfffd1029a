"""Encoder and head trained as one, in memory."""

from dataclasses import replace

import torch

from tercet.training.bundle import as_taken, train_bundle


def test_encoder_and_head_make_a_bundle(tiny_set, tiny_config, monkeypatch):
    monkeypatch.setattr("tercet.training.head.FEWEST_STEPS", 20)
    train, validation = tiny_set.split(0)
    steps = []
    learned = train_bundle(tiny_config, train, validation, on_progress=lambda *step: steps.append(step))
    assert steps[-1] == ("encoder", len(steps), len(steps))
    assert learned.bundle.classes == ("bar", "row")
    assert learned.bundle.settings == {
        **{"encoder": "fast", "widths": (4, 8), "dimensions": 8, "normalize": True, "size": 12},
        **{"mirrored": True, "backbone": None, "hidden": 120},
    }
    assert learned.bundle.encoder is learned.network
    assert not learned.bundle.encoder.training
    assert not learned.bundle.head.training
    phases = [record["phase"] for record in learned.history]
    assert phases == sorted(phases)  # the encoder first
    assert set(phases) == {"encoder", "head"}
    assert learned.train_embeddings.shape == (len(train), 8)
    assert learned.validation_embeddings.shape == (len(validation), 8)
    images = validation.images.permute(0, 2, 3, 1).numpy()
    torch.testing.assert_close(torch.from_numpy(learned.bundle.embed(images)), learned.validation_embeddings)
    assert learned.feature_seconds == 0 < learned.encoder_seconds


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
