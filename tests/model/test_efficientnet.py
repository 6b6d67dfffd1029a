import pytest
import torch
from torch import nn

from tercet.model.efficientnet import FEATURES, EfficientNetLite0
from tercet.model.pretrained import fold

package = pytest.importorskip("efficientnet_lite_pytorch", reason="our network is tested against this package")


@pytest.fixture(scope="module")
def state():
    """A state of the package's network, whose normalisations do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = package.EfficientNet.from_name("efficientnet-lite0")
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, 0, 0.1)
    return network.state_dict()


@pytest.mark.parametrize("side", [32, 33, 50, 96, 131])  # even and odd sides are padded differently
def test_gives_what_the_package_gives(state, side):
    theirs = package.EfficientNet.from_name("efficientnet-lite0", image_size=side)
    theirs.load_state_dict(state)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = theirs.eval().extract_features(pixels).mean(dim=(2, 3))
        found = fold(state)(pixels)
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_height_and_width_may_differ(state):
    network = fold(state)
    pixels = torch.randn(1, 3, 47, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert network(pixels).shape == (1, FEATURES)
        # The network has no notion of up: with its filters turned it gives for the turned image the same. Odd sides
        # alone, since even ones are padded on one side.
        pixels = pixels[:, :, :, :33]
        turned = fold({name: tensor.mT if tensor.ndim == 4 else tensor for name, tensor in state.items()})
        torch.testing.assert_close(turned(pixels.mT), network(pixels), rtol=0, atol=1e-4)


def test_its_weights_are_convolutions_alone():
    network = EfficientNetLite0()
    weights = [tensor for tensor in network.parameters() if tensor.ndim == 4]
    biases = [tensor for tensor in network.parameters() if tensor.ndim == 1]
    assert len(weights) == len(biases) == 49
    assert not list(network.buffers())
