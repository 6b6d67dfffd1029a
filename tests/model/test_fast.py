import pytest
import torch
from torch import nn

from encoders import encoder_for, seeded, smooth_images
from tercet.config import Config, resolve
from tercet.errors import UsageError
from tercet.model.encoder import Encoder
from tercet.model.fast import (
    CenteredPool,
    CroppedConvolution,
    FastBackbone,
    HalvedConvolution,
    MirroredConvolution,
    MirroredNorm,
    fast,
)


def resolved(*, photographs=True, **settings):
    return resolve(Config(**{"size": 32, **settings}), image_count=1_000, size=32, flip=photographs)


@pytest.mark.parametrize(
    ("mirrored", "settings"),
    [
        (True, {}),
        (False, {"photographs": False}),
        (True, {"photographs": False, "flip": True}),
        (False, {"flip": False}),
        (False, {"encoder": "classic"}),
        (False, {"encoder": "pretrained"}),
        (False, {"mirrored": False}),
        (True, {"size": 63}),
        (True, {"size": 64}),
        (False, {"size": 65}),  # whose stem drops the last column
    ],
)
def test_filters_are_mirrored_where_mirroring_is_allowed(mirrored, settings):
    assert resolved(**settings).mirrored is mirrored


def test_mirrored_filters_are_refused_where_they_would_not_be_exact():
    with pytest.raises(UsageError, match=r"^--widths holds 7; expected even numbers, since .*, or --no-flip\.$"):
        resolved(widths=(4, 7))
    assert resolved(widths=(4, 7), flip=False).widths == (4, 7)
    for settings, found in (
        ({"encoder": "classic"}, "'classic', flip True and size 32"),
        ({"flip": False}, "'fast', flip False and size 32"),
        ({"size": 65}, "'fast', flip True and size 65"),
    ):
        with pytest.raises(
            UsageError, match=rf"^mirrored is True with the encoder {found}; expected None, or 'fast', "
        ):
            resolved(mirrored=True, **settings)


def swapped(maps):
    """Maps of the mirror image: mirrored, and their halves swapped."""
    one, other = maps.flip(3).chunk(2, dim=1)
    return torch.cat([other, one], dim=1)


@pytest.mark.parametrize("side", [10, 11, 15, 32, 63, 64, 96])
def test_an_image_and_its_mirror_image_have_the_same_embedding(side):
    images = smooth_images(6, side)
    encoder = encoder_for(images, widths=(4, 8))
    with torch.no_grad():
        encoder.train()(images)  # statistics that a fresh encoder has not
    torch.testing.assert_close(encoder.eval()(images.flip(3)), encoder(images), rtol=0, atol=1e-5)
    plain = encoder_for(images, widths=(4, 8), mirrored=False)
    assert bool(((plain(images.flip(3)) - plain(images)).norm(dim=1) > 1e-3).all())


def test_while_it_trains_a_batch_and_its_mirror_images_have_the_same_embeddings_and_gradients():
    images, found = smooth_images(20, 16), []
    for batch in (images, images.flip(3)):
        encoder = encoder_for(images, widths=(4, 8)).train()
        embeddings = encoder(batch)
        (embeddings @ torch.linspace(-1, 1, 128)).square().sum().backward()
        gradients = [weight.grad for weight in encoder.parameters() if weight.requires_grad]
        found.append([embeddings, *gradients, *encoder.buffers()])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pools", [True, False])
@pytest.mark.parametrize("side", [4, 5, 8, 15])
def test_a_mirrored_convolution_mirrors_and_swaps_its_halves_as_its_input_does(side, pools):
    convolution = MirroredConvolution(6, 8, pools=pools)
    maps = torch.randn(2, 6, side, side, generator=seeded())
    torch.testing.assert_close(convolution(swapped(maps)), swapped(convolution(maps)))
    alone = nn.functional.conv2d(maps, convolution.weight, padding=0 if pools and side % 2 else 1)
    torch.testing.assert_close(convolution(maps)[:, :4], alone)


def test_a_mirrored_norm_is_that_of_both_halves_as_one():
    maps = torch.randn(4, 6, 5, 5, generator=seeded()) * 3 + 1
    norm, joined = MirroredNorm(6), nn.BatchNorm2d(3)
    for module in (norm, joined):
        nn.init.uniform_(module.weight, generator=seeded(1))
        nn.init.uniform_(module.bias, generator=seeded(2))
    for mode in (True, False):
        norm.train(mode)
        joined.train(mode)
        expected = torch.cat(joined(torch.cat(maps.chunk(2, dim=1), dim=3)).chunk(2, dim=3), dim=1)
        torch.testing.assert_close(norm(maps), expected)
    torch.testing.assert_close(norm.running_var, joined.running_var)


def test_a_mirrored_norm_copies_nothing_where_channels_are_the_last(monkeypatch):
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda _, pairs: pairs)
    maps = torch.randn(4, 6, 5, 5).contiguous(memory_format=torch.channels_last)
    found = MirroredNorm(6)(maps)
    assert found.data_ptr() == maps.data_ptr()
    assert torch.equal(found, maps)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "pooled"), [(1, 1), (4, 2), (5, 3), (13, 7), (30, 15)])
def test_a_centered_pool_halves_the_side_and_commutes_with_mirroring(side, pooled):
    maps = torch.randn(2, 3, side, side, generator=seeded())
    found = CenteredPool()(maps)
    assert found.shape == (2, 3, pooled, pooled)
    assert torch.equal(CenteredPool()(maps.flip(3)), found.flip(3))
    assert torch.equal(found.amax((2, 3)), maps.amax((2, 3)))  # no place is left out


@pytest.mark.parametrize(
    ("side", "stride", "groups"),
    [(16, 1, 3), (32, 1, 3), (63, 1, 3), (64, 2, 3), (127, 2, 3), (128, 2, 4), (224, 2, 4)],
)
def test_halves_the_image_at_the_front_for_each_doubling_of_the_size(side, stride, groups):
    backbone = fast(128, side, (4, 8, 16), False)
    assert backbone.stem.stride == (stride, stride)
    assert len(backbone.groups) == groups
    assert backbone.groups[0][0].out_channels == 4
    assert backbone.project.in_features == 16


@pytest.mark.parametrize("side", [3, 4, 5, 7, 8, 15])
def test_a_halved_convolution_sees_no_zeros_around_maps_of_an_odd_side(side):
    convolution = HalvedConvolution(4, 6)
    maps = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.conv2d(maps, convolution.weight, padding=1)
    if side % 2:
        expected = expected[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(convolution(maps), expected)


@pytest.mark.parametrize("side", [2, 3, 7, 8, 15])
def test_a_cropped_convolution_leaves_out_only_what_pooling_drops(side):
    ours, pool = CroppedConvolution(4, 6), nn.MaxPool2d(2)
    whole = nn.Conv2d(4, 6, kernel_size=3, padding=1, bias=False)
    whole.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool(ours(maps)), pool(whole(maps)))


def multiplications(side, mirrored):
    """Of one image, counted over convolutions and linear layers."""
    backbone, counted = fast(128, side, (32, 128, 256), mirrored).eval(), []

    def count(layer, _, output):
        places = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        counted.append(layer.weight[0].numel() * output.shape[1] * places)

    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    backbone(torch.zeros(1, 3, side, side))
    return sum(counted)


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize(("side", "millions"), [(32, 35), (64, 57), (96, 128), (128, 98), (160, 153), (224, 300)])
def test_what_an_image_costs(side, millions, mirrored):
    assert round(multiplications(side, mirrored) / 1e6) == millions


@pytest.mark.parametrize("side", [32, 64, 128])
def test_sees_every_pixel(side):
    """A stem that takes each second place still has each pixel in a patch, so that the finest pattern counts."""
    images = smooth_images(2, side)[:1].float().requires_grad_()
    backbone = encoder_for(smooth_images(4, side)).backbone
    backbone.stem((images - 128) / 64).square().sum().backward()
    assert bool((images.grad.abs().sum(1) > 0).all())


def test_whitening_takes_fewer_of_larger_images(monkeypatch):
    taken = []
    monkeypatch.setattr(FastBackbone, "whiten", lambda _, pixels: taken.append(len(pixels)))
    monkeypatch.setattr("tercet.model.encoder.WHITENING_PIXELS", 10 * 32**2)
    for side in (16, 32, 64):
        encoder_for(smooth_images(20, side))
    assert taken == [20, 10, 2]


def test_whitened_patches_have_about_unit_covariance():
    images = smooth_images(200, 16)
    encoder = encoder_for(images, widths=(4, 8), mirrored=False)
    responses = encoder.backbone.stem((images.float() - encoder.mean) / encoder.std)[:, :12]  # [N, 12, 14, 14]
    vectors = responses.transpose(0, 1).flatten(1)
    found = vectors @ vectors.T / vectors.shape[1]
    damped = found.diagonal()  # variance / (variance + 0.01), the faintest direction first
    torch.testing.assert_close(found, damped.diag(), rtol=0, atol=0.1)
    assert 0.3 < damped[0] < damped[6] < damped[11]
    assert damped[11] == pytest.approx(1, abs=0.02)


def test_the_stem_holds_each_direction_and_its_negative_and_does_not_learn():
    stem = encoder_for(smooth_images(20, 16), widths=(4, 8), mirrored=False).backbone.stem
    assert torch.equal(stem.weight[:12], -stem.weight[12:])
    assert not stem.weight.requires_grad
    assert torch.equal(stem.bias, torch.zeros(24))


@pytest.mark.parametrize("side", [16, 64])
def test_the_stem_of_mirrored_halves_whitens_and_holds_each_filter_with_its_mirror_image(side):
    images = smooth_images(200, side)
    encoder = encoder_for(images, widths=(4, 8))
    weight = encoder.backbone.stem.weight
    torch.testing.assert_close(weight[:12].flip(3), weight[12:])
    assert torch.equal(weight[:6], -weight[6:12])
    both = torch.cat([images, images.flip(3)]).float()
    responses = encoder.backbone.stem((both - encoder.mean) / encoder.std)[:, [*range(6), *range(12, 18)]]
    vectors = responses.transpose(0, 1).flatten(1)
    found = vectors @ vectors.T / vectors.shape[1]
    assert 0.2 < found.diagonal().min() < found.diagonal().max() < 1.1
    sums, differences = vectors[:6] + vectors[6:], vectors[:6] - vectors[6:]
    uncorrelated = torch.cat([sums, differences]) / vectors.shape[1] ** 0.5
    whole = uncorrelated @ uncorrelated.T
    torch.testing.assert_close(whole, whole.diagonal().diag(), rtol=0, atol=0.1)


@pytest.mark.parametrize("mirrored", [True, False])
def test_whitening_survives_images_of_one_colour(mirrored):
    images = torch.full((4, 3, 12, 12), 90, dtype=torch.uint8)
    backbone = FastBackbone(8, (4, 8), mirrored=mirrored)
    backbone.whiten(torch.zeros(4, 3, 12, 12))
    assert bool(torch.isfinite(backbone.stem.weight).all())
    encoder = Encoder(backbone, size=12, mean=torch.full((3,), 90.0), std=torch.ones(3), normalize=True).eval()
    assert bool(torch.isfinite(encoder(images)).all())
