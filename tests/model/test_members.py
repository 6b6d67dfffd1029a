"""Members of one encoder: what each fills, how far apart two images are, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from bundles import new_bundle
from encoders import seeded, smooth_images
from tercet.config import PRESETS, Config, resolve
from tercet.errors import ModelError, UsageError
from tercet.footprint import network_of
from tercet.geometry.distances import squared_distances
from tercet.model.bundle import load_bundle
from tercet.model.encoder import new_encoder
from tercet.model.fast import FastBackbone
from tercet.model.members import parts_of, to_unit_length


def encoder_of(members, images, normalize=True):
    shape = {"dimensions": 8, "widths": (4, 8), "normalize": normalize, "mirrored": True}
    mean, std = torch.full((3,), 127.0), torch.full((3,), 70.0)
    return new_encoder("fast", images, (mean, std), size=12, **shape, members=members, generator=seeded()).eval()


def standardized(encoder, images):
    return (images.float() - encoder.mean) / encoder.std


def test_one_member_is_an_encoder_as_ever():
    images = smooth_images(6, 12)
    one = encoder_of(1, images)
    assert isinstance(one.backbone, FastBackbone)
    torch.testing.assert_close(one(images), nn.functional.normalize(one.backbone(standardized(one, images)), dim=1))


@pytest.mark.parametrize(("members", "widths"), [(2, [4, 4]), (3, [3, 3, 2])])
def test_each_member_fills_its_part_and_differs_from_the_others(members, widths):
    images = smooth_images(6, 12)
    encoder = encoder_of(members, images, normalize=False)
    parts = [member(standardized(encoder, images)) for member in encoder.backbone.members]
    assert [part.shape[1] for part in parts] == widths
    torch.testing.assert_close(encoder(images), torch.cat(parts, dim=1))
    first, second = (member.groups[0][0].weight for member in encoder.backbone.members[:2])
    assert not torch.equal(first, second)
    of_one = encoder_of(1, images).backbone.stem.weight  # whitened by all six images in either
    for member in encoder.backbone.members:
        torch.testing.assert_close(member.stem.weight, of_one)


def test_distances_are_the_mean_of_those_of_the_members():
    points = torch.randn(5, 8, generator=seeded())
    whole = to_unit_length(points, 2)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(5))
    parts = [nn.functional.normalize(part, dim=1) for part in parts_of(points, 2)]
    each = torch.stack([squared_distances(part, part) for part in parts])
    torch.testing.assert_close(squared_distances(whole, whole), each.mean(0), atol=1e-5, rtol=0)


def test_an_image_and_its_mirror_image_have_the_same_embedding():
    images = smooth_images(6, 12)
    encoder = encoder_of(2, images)
    torch.testing.assert_close(encoder(images), encoder(images.flip(3)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "half"), [("fast", False), ("fast", True), ("classic", False)])
def test_a_bundle_of_several_members_is_loaded_as_it_was(tmp_path, name, half):
    bundle = new_bundle(name, 16, members=3)
    bundle.save(tmp_path / "model", half=half)
    images = np.random.default_rng(0).integers(256, size=(4, 16, 16, 3), dtype=np.uint8)
    again = load_bundle(tmp_path / "model")
    assert again.settings["members"] == 3
    np.testing.assert_allclose(again.predict_proba(images), bundle.predict_proba(images), atol=1e-2 if half else 0)


@pytest.mark.parametrize("members", [0, -1, 9, 17, 10**6, 2])
def test_a_bundle_of_another_number_of_members_is_damaged(tmp_path, members):
    bundle = new_bundle("fast", 12, members=3)
    bundle.settings["members"] = members
    bundle.save(tmp_path / "model")
    with pytest.raises(ModelError, match="is damaged"):
        load_bundle(tmp_path / "model")


@pytest.mark.parametrize(
    "settings", [{"members": 9, "dimensions": 8}, {"members": 17}], ids=["more than dimensions", "too many"]
)
def test_more_members_than_can_be_are_refused(settings):
    with pytest.raises(UsageError, match=r"^members is \d+ with \d+ dimensions; expected at most 16, and no more than"):
        resolve(Config(**settings), image_count=1_000, size=32, flip=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_on_photographs_by_the_pretrained_encoder(preset):
    resolved = resolve(PRESETS[preset], image_count=500, size=128, flip=True, has_weights=True)
    assert (resolved.encoder, resolved.members) == ("pretrained", 1)


def test_members_are_counted_in_memory():
    def network(members):
        config = Config(widths=(8, 8, 8), members=members)
        return network_of(resolve(config, image_count=1_000, size=32, flip=True))

    one, three = network(1), network(3)
    assert three.kept == pytest.approx(3 * one.kept, rel=0.1)
    assert three.weights == pytest.approx(3 * one.weights, rel=0.1)
