"""Estimates are held against measured peaks in reliability/test_memory.py; here is what they depend on."""

import re
from dataclasses import replace

import pytest
import torch

from tercet import memory
from tercet.config import Config, resolve
from tercet.errors import DataError
from tercet.footprint import network_of, require_training_memory, training_bytes
from tercet.model.encoder import BACKBONES
from tercet.model.pretrained import frozen_encoder, open_backbone


def resolved(count=45_000, **settings):
    config = Config(**{"size": 32, "device": "cpu", "precision": "fp32", **settings})
    return resolve(config, image_count=count, size=32, flip=True)


@pytest.mark.parametrize("encoder", BACKBONES)
def test_one_image_seen_shows_what_each_image_of_a_batch_keeps(encoder):
    """Counted as what three images keep more than two do, in training mode."""
    kept = []
    network = BACKBONES[encoder](8, 32, (8, 8, 8), True).train()
    for count in (2, 3):
        storages = {}

        def note(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs = network(torch.zeros(count, 3, 32, 32))
        kept.append(sum(storages.values()))
        del outputs
    found = network_of(resolved(encoder=encoder, widths=(8, 8, 8), dimensions=8))
    assert found.kept == pytest.approx(kept[1] - kept[0], rel=0.01)
    assert found.weights == sum(tensor.nbytes for tensor in network.state_dict().values())


def test_filters_made_of_others_are_kept_once_in_a_step():
    filters = 8 * (24 + 5 * 8) * 9  # of six convolutions of 8 channels, the first on the 24 of the stem
    found = {mirrored: network_of(resolved(widths=(8, 8, 8), mirrored=mirrored)) for mirrored in (True, False)}
    assert found[True].kept_once - found[False].kept_once == pytest.approx(4 * filters, rel=0.05)
    assert found[False].kept_once < 1_000


def test_looking_draws_no_random_numbers():
    before = torch.get_rng_state()
    network_of(resolved())
    assert torch.equal(torch.get_rng_state(), before)


def test_more_of_anything_takes_more():
    base = training_bytes(resolved(), 45_000)
    for change in ({"widths": (64, 256, 256)}, {"optimizer": "adam", "encoder": "classic"}, {"loss": "supcon"}):
        assert training_bytes(resolved(**change), 45_000) > base
    for change in ({"batch_size": 250}, {"size": 16}, {"precision": "bf16"}):
        assert training_bytes(resolved(**change), 45_000) < base


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 224},
        {"size": 96, "widths": (64, 256, 256)},
        {"size": 63, "batch_size": 10**6},
        {"size": 32, "batch_size": 4_000, "loss": "supcon"},
        {"size": 48, "encoder": "classic"},
    ],
)
def test_what_is_advised_fits(monkeypatch, make_set, settings):
    config, parts = resolved(**settings), [make_set(8)]
    monkeypatch.setattr(memory, "free_memory", lambda: 800 * 10**6)
    with pytest.raises(DataError, match=r"^found batches of ") as refused:
        require_training_memory(config, parts)
    size, batch = re.search(r"give --size (\d+), or in Python a batch_size of (\d+)\.", str(refused.value)).groups()
    require_training_memory(resolved(**{**settings, "batch_size": int(batch)}), parts)
    require_training_memory(replace(resolved(8, **{**settings, "size": int(size)})), parts)


def test_of_many_features_fewer_images_are_advised(monkeypatch, make_set):
    backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(300, 50_000))
    frozen, parts = frozen_encoder(open_backbone(backbone), 10), [make_set(2_000)]
    config = resolved(encoder="pretrained", size=10)
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * 10**9)
    require_training_memory(config, parts, frozen)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    wanted = r"^found 2,000 images of 50,000 features in 2 views, .*; give fewer images\.$"
    with pytest.raises(DataError, match=wanted):
        require_training_memory(config, parts, frozen)


def test_where_only_the_comparison_is_too_much_training_alone_is_advised(monkeypatch, make_set):
    parts, config = [make_set(48)], resolved(size=12)
    monkeypatch.setattr("tercet.footprint.regression_bytes", lambda *_: 10**18)
    require_training_memory(config, parts)
    with pytest.raises(DataError, match=r"48 images to compare with logistic regression.*or take `tercet train`"):
        require_training_memory(config, parts, compares=True)
