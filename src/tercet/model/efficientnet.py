"""EfficientNet-Lite0 as a feature extractor: normalised pixels -> 1280 numbers an image; for frozen use only.

Its batch normalisations are folded into the convolutions, which is exact for a network that no longer learns, so its
weights are convolutions alone. Knows nothing of where weights come from.

Reference: Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019, table 1; the Lite
variant leaves out squeeze-and-excitation and takes ReLU6 for swish.
"""

from __future__ import annotations

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

STEM, FEATURES = 32, 1280  # channels first and last
# Repeats, kernel, stride of the first, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """Stem, sixteen blocks of convolutions, one convolution to 1280 channels, their mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(3, STEM, kernel=3, stride=2)
        blocks, channels = [], STEM
        for repeats, kernel, stride, expansion, after in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, after, kernel, stride if repeat == 0 else 1, expansion))
                channels = after
        self.blocks = nn.Sequential(*blocks)
        self.last = _convolution(channels, FEATURES)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1280"]:
        """The features of images of any size from 32 pixels on."""
        features: Tensor = self.last(self.blocks(self.stem(pixels)))
        return features.mean(dim=(2, 3))


class Block(nn.Module):
    """Widen, filter each channel by itself, narrow; added to its input where the shapes agree."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            layers["widen"] = _convolution(before, inner)
        layers["filter"] = _convolution(inner, inner, kernel, stride, groups=inner)
        layers["narrow"] = nn.Conv2d(inner, after, 1)
        self.layers = nn.Sequential(layers)
        self.is_residual = stride == 1 and before == after

    def forward(self, maps: Float[Tensor, "B before H W"]) -> Float[Tensor, "B after h w"]:
        """Feature maps, halved where the stride is 2."""
        found: Tensor = self.layers(maps)
        return found + maps if self.is_residual else found


class HalvingConvolution(nn.Conv2d):
    """A convolution of stride 2 that pads as TensorFlow does, for which the weights were trained.

    It pads as little as lets the last place see the border: of an even side one pixel less, and that before.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps of half the side, rounded up."""
        kernel = self.kernel_size[0]
        rows, columns = (kernel - 2 + side % 2 for side in maps.shape[2:])  # padding in all
        margins = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        found: Tensor = super().forward(nn.functional.pad(maps, margins))
        return found


def _convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = (
        nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups)
        if stride == 1
        else HalvingConvolution(before, after, kernel, stride, groups=groups)
    )
    return nn.Sequential(convolution, nn.ReLU6(inplace=True))
