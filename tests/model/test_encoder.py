import pytest
import torch
from torch import nn

from tercet.model.encoder import BACKBONES, CroppedConvolution, Encoder, FastBackbone, HalvedConvolution, new_encoder


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


@pytest.mark.parametrize("side", [32, 33, 64, 96, 224])
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


@pytest.mark.parametrize(
    ("side", "stride", "groups"),
    [(16, 1, 3), (32, 1, 3), (63, 1, 3), (64, 2, 3), (127, 2, 3), (128, 2, 4), (224, 2, 4)],
)
def test_fast_halves_the_image_at_the_front_for_each_doubling_of_the_size(side, stride, groups):
    backbone = BACKBONES["fast"](128, side, (4, 8, 16))
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


def multiplications(name, side):
    """Of one image, counted over convolutions and linear layers."""
    backbone, counted = BACKBONES[name](128, side, (32, 128, 256)).eval(), []

    def count(layer, _, output):
        places = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        counted.append(layer.weight.numel() * places)

    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    backbone(torch.zeros(1, 3, side, side))
    return sum(counted)


@pytest.mark.parametrize(("side", "millions"), [(32, 35), (64, 57), (96, 128), (128, 98), (160, 153), (224, 300)])
def test_what_an_image_costs_by_fast(side, millions):
    assert round(multiplications("fast", side) / 1e6) == millions


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("side", [64, 96, 128, 160, 224])
def test_weights_do_not_grow_with_the_image(name, side):
    at_32, here = (
        sum(p.numel() for p in BACKBONES[name](128, size, (32, 128, 256)).parameters()) for size in (32, side)
    )
    assert 0.999 * at_32 < here < 1.02 * at_32


@pytest.mark.parametrize("side", [32, 64, 128])
def test_fast_sees_every_pixel(side):
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
    encoder = encoder_for(images, widths=(4, 8))
    responses = encoder.backbone.stem((images.float() - encoder.mean) / encoder.std)[:, :12]  # [N, 12, 14, 14]
    vectors = responses.transpose(0, 1).flatten(1)
    found = vectors @ vectors.T / vectors.shape[1]
    damped = found.diagonal()  # variance / (variance + 0.01), the faintest direction first
    torch.testing.assert_close(found, damped.diag(), rtol=0, atol=0.1)
    assert 0.3 < damped[0] < damped[6] < damped[11]
    assert damped[11] == pytest.approx(1, abs=0.02)


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
