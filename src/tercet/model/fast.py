"""The fast backbone: a stem that whitens patches, groups of two 3x3 convolutions, a linear layer.

Its shape is from Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024: a fixed stem, and pooling before the
first normalisation of each group. Ours whitens 12 strong directions of 3x3 patches in place of all 12 of 2x2 ones, half
of which are mostly noise in JPEG images. Where a mirrored image still shows its class, half of its filters are the
mirror images of the other half, so that an image and its mirror image have the same embedding: its layers are
equivariant under the reflection, their maximum invariant (Cohen and Welling, Group equivariant convolutional networks,
ICML 2016). Knows nothing of losses, labels and files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

PATCH_PIXELS = 2**17  # whose patches are held at a time, up to 60 MB: all of them would be over a gigabyte
DIRECTIONS = 12  # of a patch: docs/log.md, 2026-11-24
FAINTEST = 1e-2  # variance, of pixels of variance 1, from which on directions are damped: docs/log.md, 2026-11-24

Group = Callable[[int, int], nn.Sequential]  # (channels before, after)


def border_before_pooling(features: Float[Tensor, "B C H H"]) -> int:
    """Zeros around maps before a 3x3 convolution: none where their side is odd, so fewer places are computed."""
    return 1 - features.shape[-1] % 2


class HalvedConvolution(nn.Conv2d):
    """A 3x3 convolution before pooling."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, kernel_size=3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B D h h"]:
        """Maps of the same side, or of 2 less where it is odd."""
        return nn.functional.conv2d(features, self.weight, padding=border_before_pooling(features))


class CroppedConvolution(HalvedConvolution):
    """As Bundles of formats 1 and 2 have it: a border everywhere, less the last row and column of an odd side."""

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B D h h"]:
        """Maps of an even side, since pooling dropped the rest."""
        if features.shape[-1] % 2 == 0:
            return super().forward(features)
        return nn.functional.conv2d(nn.functional.pad(features, (1, 0, 1, 0)), self.weight)


class MirroredConvolution(nn.Conv2d):
    """A 3x3 convolution by filters and, after them, by their mirror images.

    Its channels before and after are two halves each, which mirroring the image mirrors and swaps. If it `pools`,
    it stands before pooling, as `HalvedConvolution` does.
    """

    def __init__(self, before: int, after: int, *, pools: bool) -> None:
        super().__init__(before, after // 2, kernel_size=3, bias=False)
        self.pools = pools

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B D h h"]:
        """Maps of the same side, or of 2 less where it is odd and pooling follows."""
        mirrored = self.weight.flip(3).roll(self.in_channels // 2, dims=1)  # mirrored maps of the other half
        filters = torch.cat([self.weight, mirrored])
        return nn.functional.conv2d(features, filters, padding=border_before_pooling(features) if self.pools else 1)


class MirroredNorm(nn.BatchNorm2d):
    """Batch normalisation of channels in two halves, each of one with its mirror image."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels // 2)

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B C H H"]:
        """Training takes the halves side by side, as one map of half the channels; no copy where channels are last."""
        if not self.training:
            assert self.running_mean is not None
            assert self.running_var is not None
            mean, variance = self.running_mean.repeat(2), self.running_var.repeat(2)
            weight, bias = self.weight.repeat(2), self.bias.repeat(2)
            return nn.functional.batch_norm(features, mean, variance, weight, bias, eps=self.eps)
        batch, channels, height, width = features.shape
        pairs = features.permute(0, 2, 3, 1).reshape(batch, height, 2 * width, channels // 2)
        normalized: Tensor = super().forward(pairs.permute(0, 3, 1, 2))
        return normalized.permute(0, 2, 3, 1).reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class CenteredPool(nn.Module):
    """Maximum of 2x2 places; of 3x3 around each second one where the side is odd, as its mirror image would have it."""

    def forward(self, features: Float[Tensor, "B C H H"]) -> Float[Tensor, "B C h h"]:
        """Maps of half the side, rounded up."""
        if features.shape[-1] % 2:
            return nn.functional.max_pool2d(features, kernel_size=3, stride=2, padding=1)
        return nn.functional.max_pool2d(features, kernel_size=2)


def plain_group(before: int, after: int, first: Callable[[int, int], nn.Module] = HalvedConvolution) -> nn.Sequential:
    """Two convolutions with pooling after the first."""
    return nn.Sequential(
        first(before, after),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.BatchNorm2d(after),
        nn.GELU(),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.GELU(),
    )


def mirrored_group(before: int, after: int) -> nn.Sequential:
    """The same of filters and their mirror images."""
    return nn.Sequential(
        MirroredConvolution(before, after, pools=True),
        CenteredPool(),
        MirroredNorm(after),
        nn.GELU(),
        MirroredConvolution(after, after, pools=False),
        MirroredNorm(after),
        nn.GELU(),
    )


class FastBackbone(nn.Module):
    """Whitening stem, one group of convolutions for each halving of the image, maximum over what is left, linear.

    With a `stride` of 2 the patches are of 2x2 pixels and do not overlap: a quarter of the places, and still every
    pixel in one; the mirrored one then takes images of an even side. `plain` makes the groups of one not mirrored.
    """

    def __init__(
        self,
        dimensions: int,
        widths: Sequence[int],
        stride: int = 1,
        mirrored: bool = False,
        plain: Group = plain_group,
    ) -> None:
        super().__init__()
        self.mirrored = mirrored
        # Directions and their negatives. Frozen, so no gradient need come back through its many places.
        side = 3 if stride == 1 else 2
        self.stem = nn.Conv2d(3, 2 * DIRECTIONS, kernel_size=side, stride=stride).requires_grad_(False)
        before = (2 * DIRECTIONS, *widths[:-1])
        self.groups = nn.Sequential(*map(mirrored_group if mirrored else plain, before, widths))
        self.project = nn.Linear(widths[-1] // 2 if mirrored else widths[-1], dimensions, bias=False)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Embed normalised pixels."""
        device = pixels.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else pixels.dtype
        with torch.autocast(device, enabled=False):  # whitening would blow up bfloat16's rounding of pixels
            whitened = self.stem(pixels).to(dtype)
        features = self.groups(nn.functional.gelu(whitened)).amax(dim=(2, 3))
        if self.mirrored:
            features = features.unflatten(1, (2, -1)).amax(1)
        projected: Tensor = self.project(features)
        return projected

    @torch.no_grad()
    def whiten(self, pixels: Float[Tensor, "B 3 H W"]) -> None:
        """Set the stem to the principal directions of patches, scaled to unit variance, and their negatives.

        If mirrored, these are the strongest that mirroring leaves as they are and the strongest that it turns round, as
        many of each; their sums are the first half and their differences the second.
        """
        size = self.stem.kernel_size
        products, count = torch.zeros(()), 0
        for few in pixels.split(max(1, PATCH_PIXELS // pixels[0, 0].numel())):
            patches = nn.functional.unfold(few, size)  # [images, 3 * side^2, places]
            products = products + (patches @ patches.mT).double().sum(0)
            count += len(patches) * patches.shape[2]
        covariance = products / count
        every = torch.eye(len(covariance), dtype=torch.float64)
        if not self.mirrored:
            halves = [strongest(covariance, every, DIRECTIONS)]
        else:
            mirror = torch.arange(len(covariance)).reshape(3, *size).flip(2).flatten()
            signs, basis = torch.linalg.eigh(every[mirror])
            turned, kept = (strongest(covariance, basis[:, of], DIRECTIONS // 2) for of in (signs < 0, signs > 0))
            halves = [(kept + turned) / math.sqrt(2), (kept - turned) / math.sqrt(2)]
        filters = torch.cat([signed for half in halves for signed in (half, -half)])
        self.stem.weight.copy_(filters.reshape(2 * DIRECTIONS, 3, *size))
        assert self.stem.bias is not None
        self.stem.bias.zero_()


def strongest(covariance: Float[Tensor, "F F"], basis: Float[Tensor, "F E"], count: int) -> Float[Tensor, "count F"]:
    """Principal directions in the span of an orthonormal basis, scaled to unit variance; the last is the strongest."""
    variances, directions = torch.linalg.eigh(basis.T @ covariance @ basis)
    scaled: Tensor = (basis @ directions) / (variances + FAINTEST).sqrt()
    return scaled.T[-count:]


def fast(dimensions: int, size: int, widths: Sequence[int], mirrored: bool, plain: Group = plain_group) -> nn.Module:
    """The default: a group for each of `widths`.

    From a size of 64 on the stem halves the image; each further doubling adds a group at the front. With the default
    widths an image of 32, 64, 96, 128, 160, 224 takes 35, 57, 128, 98, 153, 300 million multiplications.
    """
    doublings = max(0, (size // 32).bit_length() - 1)
    widths = (widths[0],) * (doublings - 1) + tuple(widths)
    return FastBackbone(dimensions, widths, 2 if doublings else 1, mirrored, plain)
