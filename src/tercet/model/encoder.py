"""Encoder: uint8 images -> embeddings. Preprocessing, a backbone and the optional scaling to unit length in one module.

`BACKBONES` maps the names of the command line to networks that give one vector an image; any other `nn.Module` that
does goes in the same way. Knows nothing of losses, labels or files.

The fast backbone takes its shape from Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024: a fixed stem
that whitens patches, then groups of two 3x3 convolutions with pooling before the first normalisation. Ours whitens the
12 strongest directions of 3x3 patches in place of all 12 of 2x2 ones, half of which are mostly noise in JPEG images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tercet.data.augment import center_crop

WHITENING_IMAGES = 5_000  # Jordan 2024 takes as many
WHITENING_PIXELS = WHITENING_IMAGES * 32**2  # larger images hold more patches, so fewer are taken
PATCH_PIXELS = 2**17  # whose patches are held at a time, up to 60 MB: all of them would be over a gigabyte
DIRECTIONS = 12  # of a patch, the strongest: docs/log.md, 2026-11-24
FAINTEST = 1e-2  # variance, of pixels of variance 1, from which on directions are damped: docs/log.md, 2026-11-24


Convolution = Callable[[int, int], nn.Module]  # (channels before, after)


class Encoder(nn.Module):
    """Image -> embedding of D numbers, of unit length if `normalize`; of a larger image the central `size` pixels."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, *, size: int, mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"], normalize: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.size = size
        self.normalize = normalize
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1))
        self.register_buffer("std", std.reshape(1, 3, 1, 1))

    def forward(self, images: UInt8[Tensor, "B 3 H H"]) -> Float[Tensor, "B D"]:
        """Embed raw images of the 0..255 scale."""
        pixels = (center_crop(images, self.size).float() - self.mean) / self.std
        embeddings = self.backbone(pixels.contiguous(memory_format=torch.channels_last)).float()
        return nn.functional.normalize(embeddings, dim=1) if self.normalize else embeddings


class HalvedConvolution(nn.Conv2d):
    """A 3x3 convolution before pooling; maps of an odd side get no border of zeros, so fewer places are computed."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, kernel_size=3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B D h h"]:
        """Maps of the same side, or of 2 less where it is odd."""
        return nn.functional.conv2d(features, self.weight, padding=1 - features.shape[-1] % 2)


class CroppedConvolution(HalvedConvolution):
    """As Bundles of formats 1 and 2 have it: a border everywhere, less the last row and column of an odd side."""

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B D h h"]:
        """Maps of an even side, since pooling dropped the rest."""
        if features.shape[-1] % 2 == 0:
            return super().forward(features)
        return nn.functional.conv2d(nn.functional.pad(features, (1, 0, 1, 0)), self.weight)


class FastBackbone(nn.Module):
    """Whitening stem, one group of convolutions for each halving of the image, maximum over what is left, linear.

    With a `stride` of 2 the patches are of 2x2 pixels and do not overlap: a quarter of the places, and still every
    pixel in one.
    """

    def __init__(
        self,
        dimensions: int,
        widths: Sequence[int],
        stride: int = 1,
        convolution: Convolution = HalvedConvolution,
    ) -> None:
        super().__init__()
        # Directions and their negatives. Frozen, so no gradient need come back through its many places.
        side = 3 if stride == 1 else 2
        self.stem = nn.Conv2d(3, 2 * DIRECTIONS, kernel_size=side, stride=stride).requires_grad_(False)
        before = (2 * DIRECTIONS, *widths[:-1])
        self.groups = nn.Sequential(*(_group(*pair, convolution) for pair in zip(before, widths, strict=True)))
        self.project = nn.Linear(widths[-1], dimensions, bias=False)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Embed normalised pixels."""
        device = pixels.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else pixels.dtype
        with torch.autocast(device, enabled=False):  # whitening would blow up bfloat16's rounding of pixels
            whitened = self.stem(pixels).to(dtype)
        features = self.groups(nn.functional.gelu(whitened))
        projected: Tensor = self.project(features.amax(dim=(2, 3)))
        return projected

    @torch.no_grad()
    def whiten(self, pixels: Float[Tensor, "B 3 H W"]) -> None:
        """Set the stem to the principal directions of patches, scaled to unit variance, and their negatives."""
        size = self.stem.kernel_size
        products, count = torch.zeros(()), 0
        for few in pixels.split(max(1, PATCH_PIXELS // pixels[0, 0].numel())):
            patches = nn.functional.unfold(few, size)  # [images, 3 * side^2, places]
            products = products + (patches @ patches.mT).double().sum(0)
            count += len(patches) * patches.shape[2]
        variances, directions = torch.linalg.eigh(products / count)  # the strongest are the last
        whitening = (directions / (variances + FAINTEST).sqrt()).T[-DIRECTIONS:]
        filters = whitening.reshape(DIRECTIONS, 3, *size).to(pixels.dtype)
        self.stem.weight.copy_(torch.cat([filters, -filters]))
        assert self.stem.bias is not None
        self.stem.bias.zero_()


def _group(before: int, after: int, convolution: Convolution) -> nn.Sequential:
    return nn.Sequential(
        convolution(before, after),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.BatchNorm2d(after),
        nn.GELU(),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.GELU(),
    )


def fast(
    dimensions: int,
    size: int,
    widths: Sequence[int],
    convolution: Convolution = HalvedConvolution,
) -> nn.Module:
    """The default: a group for each of `widths`.

    From a size of 64 on the stem halves the image; each further doubling adds a group at the front. With the default
    widths an image of 32, 64, 96, 128, 160, 224 takes 35, 57, 128, 98, 153, 300 million multiplications.
    """
    doublings = max(0, (size // 32).bit_length() - 1)
    widths = (widths[0],) * (doublings - 1) + tuple(widths)
    return FastBackbone(dimensions, widths, 2 if doublings else 1, convolution)


def classic(dimensions: int, size: int, widths: Sequence[int]) -> nn.Module:  # noqa: ARG001
    """The network of the project that tercet grew from; its widths are its own.

    Convolutions 32, 64, 128, 128, 256, 256, each pair followed by pooling and batch normalisation, then linear layers
    of 1024, 512 and `dimensions`; 3x3 kernels, ReLU. It was made for 32 pixels: of larger images the last features are
    averaged to the 4 x 4 that it has there, and its cost grows with their area: 138 million multiplications at 32,
    2,133 at 128, 6,522 at 224.
    """
    layers: list[nn.Module] = []
    for before, middle, after in ((3, 32, 64), (64, 128, 128), (128, 256, 256)):
        layers += [
            nn.Conv2d(before, middle, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(middle, after, 3, padding=1),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(2), nn.BatchNorm2d(after)]
    across = min(4, size // 8)
    layers += [nn.AdaptiveAvgPool2d(across)] if size > 32 else []
    layers += [nn.Flatten(), nn.Linear(256 * across**2, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(512, dimensions))


BACKBONES: dict[str, Callable[[int, int, Sequence[int]], nn.Module]] = {"fast": fast, "classic": classic}
EARLIER = {"fast-1": partial(fast, convolution=CroppedConvolution)}  # loaded, no longer trained


def new_encoder(
    name: str,
    images: UInt8[Tensor, "N 3 H H"],
    statistics: tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]],
    *,
    size: int,
    dimensions: int,
    widths: Sequence[int],
    normalize: bool,
    generator: torch.Generator,
) -> Encoder:
    """A fresh encoder for images like these; its weights depend on the generator alone, not on the global one."""
    mean, std = statistics
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        backbone = BACKBONES[name](dimensions, size, widths)
    encoder = Encoder(backbone, size=size, mean=mean, std=std, normalize=normalize)
    if isinstance(backbone, FastBackbone):
        most = max(1, min(WHITENING_IMAGES, WHITENING_PIXELS // images.shape[-1] ** 2))
        chosen = torch.randperm(len(images), generator=generator)[:most]
        backbone.whiten((images[chosen].float() - encoder.mean) / encoder.std)
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
