import pytest
import torch
from torch import nn

from tercet.model.encoder import BACKBONES, Encoder, FastBackbone, new_encoder


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_images(count, side, seed=0):
    """Noise blurred as photographs are: neighbouring pixels and channels go together."""
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=seeded(seed))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    smooth = 0.6 * smooth + 0.3 * smooth.mean(1, keepdim=True)
    return (255 * (smooth + 0.1 * torch.rand(count, 3, side, side, generator=seeded(seed + 1)))).to(torch.uint8)


def statistics(images):
    return images.float().mean((0, 2, 3)), images.float().std((0, 2, 3))


def encoder_for(images, name="fast", seed=0, dimensions=128, widths=(4, 8, 16), normalize=True):
    return new_encoder(
        name,
        images,
        statistics(images),
        size=images.shape[-1],
        dimensions=dimensions,
        widths=widths,
        normalize=normalize,
        generator=seeded(seed),
    ).eval()


@pytest.mark.parametrize("side", [32, 64, 96])
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_embeds_images_of_any_size_in_128_numbers_of_unit_length(name, side):
    images = smooth_images(3, side)
    embeddings = encoder_for(images, name)(images)
    assert embeddings.shape == (3, 128)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_without_normalize_the_backbone_speaks_for_itself():
    images = smooth_images(5, 16)
    raw, unit = (encoder_for(images, widths=(4, 8), normalize=normalize) for normalize in (False, True))
    lengths = raw(images).norm(dim=1, keepdim=True)
    assert bool((lengths - 1).abs().min() > 1e-3)
    torch.testing.assert_close(raw(images) / lengths, unit(images))


def test_preprocessing_by_hand():
    encoder = Encoder(
        nn.Flatten(),
        size=1,
        mean=torch.tensor([0.0, 5.0, 10.0]),
        std=torch.tensor([1.0, 5.0, 10.0]),
        normalize=False,
    )
    pixel = torch.tensor([3, 10, 0], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert encoder(pixel).tolist() == [[3.0, 1.0, -1.0]]


def test_any_module_serves_as_backbone():
    encoder = Encoder(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        size=8,
        mean=torch.zeros(3),
        std=torch.ones(3),
        normalize=True,
    )
    torch.testing.assert_close(encoder(smooth_images(2, 8)).norm(dim=1), torch.ones(2))


def test_of_a_larger_image_the_centre_counts():
    images = smooth_images(3, 16)
    encoder = encoder_for(images[:, :, 2:14, 2:14], widths=(4, 8))
    assert torch.equal(encoder(images), encoder(images[:, :, 2:14, 2:14]))


def test_layers_of_classic():
    layers = BACKBONES["classic"](128, 32, ())
    convolutions = [(one.in_channels, one.out_channels) for one in layers if isinstance(one, nn.Conv2d)]
    linear = [(one.in_features, one.out_features) for one in layers if isinstance(one, nn.Linear)]
    assert convolutions == [(3, 32), (32, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    assert linear == [(256 * 4 * 4, 1024), (1024, 512), (512, 128)]
    assert all(one.kernel_size == (3, 3) for one in layers if isinstance(one, nn.Conv2d))
    order = "".join(type(one).__name__[0] for one in layers)  # Conv, ReLU, MaxPool, BatchNorm, Flatten, Linear
    assert order == 3 * "CRCRMB" + "FLRLRL"


@pytest.mark.parametrize(("side", "groups"), [(16, 3), (32, 3), (48, 3), (64, 4), (96, 4), (128, 5)])
def test_fast_adds_a_group_for_each_doubling_of_the_size(side, groups):
    backbone = BACKBONES["fast"](128, side, (4, 8, 16))
    assert len(backbone.groups) == groups
    assert backbone.groups[0][0].out_channels == 4
    assert backbone.project.in_features == 16


def test_whitened_patches_have_about_unit_covariance():
    images = smooth_images(200, 16)
    encoder = encoder_for(images, widths=(4, 8))
    responses = encoder.backbone.stem((images.float() - encoder.mean) / encoder.std)[:, :12]  # [N, 12, 15, 15]
    vectors = responses.transpose(0, 1).flatten(1)
    torch.testing.assert_close(vectors @ vectors.T / vectors.shape[1], torch.eye(12), rtol=0, atol=0.1)


def test_the_stem_holds_each_direction_and_its_negative_and_does_not_learn():
    stem = encoder_for(smooth_images(20, 16), widths=(4, 8)).backbone.stem
    assert torch.equal(stem.weight[:12], -stem.weight[12:])
    assert not stem.weight.requires_grad
    assert torch.equal(stem.bias, torch.zeros(24))


def test_whitening_survives_images_of_one_colour():
    images = torch.full((4, 3, 12, 12), 90, dtype=torch.uint8)
    backbone = FastBackbone(8, (4, 8))
    backbone.whiten(torch.zeros(4, 3, 12, 12))
    assert bool(torch.isfinite(backbone.stem.weight).all())
    encoder = Encoder(backbone, size=12, mean=torch.full((3,), 90.0), std=torch.ones(3), normalize=True).eval()
    assert bool(torch.isfinite(encoder(images)).all())


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_weights_depend_on_the_generator_not_on_the_global_seed(name):
    images = smooth_images(8, 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = encoder_for(images, name, widths=(4, 8)).state_dict()
        torch.manual_seed(2)
        before = torch.get_rng_state()
        again = encoder_for(images, name, widths=(4, 8)).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
    other = encoder_for(images, name, widths=(4, 8), seed=1).state_dict()
    assert all(map(torch.equal, first.values(), again.values()))
    assert not all(map(torch.equal, first.values(), other.values()))
