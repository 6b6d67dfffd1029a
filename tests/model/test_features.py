import logging

import pytest
import torch
from torch import nn

from tercet.errors import UsageError
from tercet.model import features
from tercet.model.embed import embed
from tercet.model.features import CHUNK, FeatureSet, compute_features, judged
from tercet.model.pretrained import frozen_encoder, open_backbone


@pytest.fixture
def frozen():
    """A frozen network that tells left from right: 3 colours in 4 columns."""
    return frozen_encoder(open_backbone(nn.Sequential(nn.AdaptiveAvgPool2d((1, 4)), nn.Flatten())), 12)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def passes(monkeypatch):
    """The numbers of images that went through the frozen network."""
    seen = []

    def counting(network, images, **options):
        seen.extend([len(images)] if len(images) > 1 else [])  # one image is the probe
        return embed(network, images, **options)

    monkeypatch.setattr(features, "embed", counting)
    return seen


def compute(frozen, *parts, both_sides=True, **options):
    return compute_features(frozen, parts, both_sides=both_sides, **options)[0]


def test_views_are_the_image_and_its_mirror_image(frozen, tiny_set):
    (found,) = compute(frozen, tiny_set)
    assert found.views.shape == (48, 2, 12)
    torch.testing.assert_close(found.judged, embed(frozen, tiny_set.images), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.views[:, 1].float(), embed(frozen, tiny_set.images.flip(3)), rtol=1e-3, atol=1e-4)
    assert not torch.equal(found.views[:, 0], found.views[:, 1])
    assert torch.equal(found.labels, tiny_set.labels)
    assert found.classes == tiny_set.classes
    (alone,) = compute(frozen, tiny_set, both_sides=False)
    assert torch.equal(alone.views, found.views[:, :1])
    assert torch.equal(judged(found), found.judged)
    assert judged(tiny_set) is tiny_set.images


def test_features_from_the_cache_bring_their_seconds_along(frozen, tiny_set):
    (first,), seconds = compute_features(frozen, [tiny_set], both_sides=True)
    (again,), same_seconds = compute_features(frozen, [tiny_set], both_sides=True)
    assert torch.equal(first.views, again.views)
    assert same_seconds == seconds > 0


def test_another_division_finds_the_features_in_the_cache(frozen, tiny_set, passes, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 10)
    first, second = compute(frozen, *tiny_set.split(0))
    assert passes == [10] * 8 + [8] * 2  # two views of five chunks
    whole, again = compute(frozen, *tiny_set.split(1))
    assert sum(passes) == 96
    wanted = embed(frozen, torch.cat([part.images for part in tiny_set.split(1)]))
    torch.testing.assert_close(torch.cat([whole.judged, again.judged]), wanted, rtol=1e-3, atol=1e-4)
    assert (len(first), len(second)) == (len(whole), len(again)) != (48, 0)


def test_what_makes_other_features_is_not_taken_from_the_cache(frozen, tiny_set, passes):
    compute(frozen, tiny_set)
    scaled = frozen_encoder(open_backbone(nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())), 12)
    for other, images, mirrored in (
        (scaled, tiny_set, True),
        (frozen_encoder(frozen.backbone, 10), tiny_set, True),
        (frozen, tiny_set.select(torch.arange(47)), True),
        (frozen, tiny_set, False),
    ):
        before = sum(passes)
        compute(other, images, both_sides=mirrored)
        assert sum(passes) == before + len(images) * (1 + mirrored)


def test_networks_that_differ_in_code_alone_share_no_features(tiny_set):
    found = []
    for code in (lambda pixels: pixels.mean((2, 3)), lambda pixels: pixels.amax((2, 3))):

        class Own(nn.Module):
            def forward(self, pixels, code=code):
                return code(pixels)

        found += compute(frozen_encoder(open_backbone(Own()), 12), tiny_set)
    assert not torch.allclose(found[0].judged, found[1].judged)


def test_an_interruption_costs_one_chunk(frozen, tiny_set, passes, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", 16)
    steps = []

    def interrupt(done, total):
        steps.append((done, total))
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(frozen, tiny_set, on_step=interrupt)
    assert steps == [(0, 48), (16, 48), (32, 48)]
    passes.clear()
    compute(frozen, tiny_set)
    assert passes == [16, 16]


def test_a_damaged_cache_is_made_anew(frozen, tiny_set, cache, passes):
    (first,) = compute(frozen, tiny_set)
    (file,) = cache.glob("features-*")
    file.write_bytes(file.read_bytes()[:-7])
    (again,) = compute(frozen, tiny_set)
    assert sum(passes) == 2 * 96
    assert torch.equal(first.views, again.views)
    compute(frozen, tiny_set)
    assert sum(passes) == 2 * 96


def test_a_cache_that_cannot_be_written_is_a_warning(frozen, tiny_set, cache, caplog):
    cache.write_text("a file in its place")
    with caplog.at_level(logging.WARNING):
        (found,) = compute(frozen, tiny_set)
    assert len(found) == 48
    assert "features are not kept in the cache" in caplog.text


def test_features_beyond_numbers_are_refused(tiny_set):
    class Huge(nn.Module):
        def forward(self, pixels):
            return pixels.mean((2, 3)).abs() * 1e9

    with pytest.raises(UsageError, match="features that are no numbers or beyond 65,504; give one"):
        compute(frozen_encoder(open_backbone(Huge()), 12), tiny_set)


def test_select_and_count():
    views = torch.arange(12).reshape(3, 2, 2).half()
    found = FeatureSet(views, torch.tensor([2, 0, 2]), ("a", "b", "c")).select(torch.tensor([2, 1]))
    assert torch.equal(found.views, views[[2, 1]])
    assert found.labels.tolist() == [2, 0]
    assert found.class_counts() == [1, 0, 1]
    assert CHUNK <= 500  # a chunk goes through the network at once


def test_no_temporary_files_stay(frozen, tiny_set, cache):
    compute(frozen, tiny_set)
    assert all(path.name.startswith("features-") for path in cache.iterdir())
