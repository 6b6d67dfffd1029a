import pytest
import torch
from torch import nn

from encoders import encoder_for, smooth_images
from tercet.model.encoder import BACKBONES, Encoder


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
    layers = BACKBONES["classic"](128, 32, (), False)
    convolutions = [(one.in_channels, one.out_channels) for one in layers if isinstance(one, nn.Conv2d)]
    linear = [(one.in_features, one.out_features) for one in layers if isinstance(one, nn.Linear)]
    assert convolutions == [(3, 32), (32, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    assert linear == [(256 * 4 * 4, 1024), (1024, 512), (512, 128)]
    assert all(one.kernel_size == (3, 3) for one in layers if isinstance(one, nn.Conv2d))
    order = "".join(type(one).__name__[0] for one in layers)  # Conv, ReLU, MaxPool, BatchNorm, Flatten, Linear
    assert order == 3 * "CRCRMB" + "FLRLRL"


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("side", [64, 96, 128, 160, 224])
def test_weights_do_not_grow_with_the_image(name, side):
    at_32, here = (
        sum(p.numel() for p in BACKBONES[name](128, size, (32, 128, 256), True).parameters()) for size in (32, side)
    )
    assert 0.999 * at_32 < here < 1.02 * at_32


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
