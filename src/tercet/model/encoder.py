"""Encoder: uint8 images -> embeddings. Preprocessing, a backbone and the optional scaling to unit length in one module.

`BACKBONES` maps the names of the command line to networks that give one vector an image; any other `nn.Module` that
does goes in the same way. Knows nothing of losses, labels or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tercet.data.augment import center_crop
from tercet.model.fast import CroppedConvolution, FastBackbone, fast, plain_group
from tercet.model.members import Members, to_unit_length, widths_of_parts

WHITENING_IMAGES = 5_000  # Jordan 2024 takes as many
WHITENING_PIXELS = WHITENING_IMAGES * 32**2  # larger images hold more patches, so fewer are taken


class Encoder(nn.Module):
    """Image -> embedding of D numbers, of unit length if `normalize`; of a larger image the central `size` pixels."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, *, size: int, mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"], normalize: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.members = len(backbone.members) if isinstance(backbone, Members) else 1
        self.size = size
        self.normalize = normalize
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1))
        self.register_buffer("std", std.reshape(1, 3, 1, 1))

    def forward(self, images: UInt8[Tensor, "B 3 H H"]) -> Float[Tensor, "B D"]:
        """Embed raw images of the 0..255 scale."""
        pixels = (center_crop(images, self.size).float() - self.mean) / self.std
        embeddings = self.backbone(pixels.contiguous(memory_format=torch.channels_last)).float()
        return to_unit_length(embeddings, self.members) if self.normalize else embeddings


def classic(dimensions: int, size: int, widths: Sequence[int], mirrored: bool) -> nn.Module:  # noqa: ARG001
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


BACKBONES: dict[str, Callable[[int, int, Sequence[int], bool], nn.Module]] = {"fast": fast, "classic": classic}
EARLIER = {"fast-1": partial(fast, plain=partial(plain_group, first=CroppedConvolution))}  # loaded, no longer trained


def new_backbone(
    name: str, *, dimensions: int, size: int, widths: Sequence[int], mirrored: bool, members: int = 1
) -> nn.Module:
    """The network of this name, or several side by side."""
    make = (BACKBONES | EARLIER)[name]
    made = [make(part, size, widths, mirrored) for part in widths_of_parts(dimensions, members)]
    return made[0] if members == 1 else Members(made)


def new_encoder(
    name: str,
    images: UInt8[Tensor, "N 3 H H"],
    statistics: tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]],
    *,
    size: int,
    dimensions: int,
    widths: Sequence[int],
    normalize: bool,
    mirrored: bool,
    members: int = 1,
    generator: torch.Generator,
) -> Encoder:
    """A fresh encoder for images like these; its weights depend on the generator alone, not on the global one.

    The fast one, if `mirrored`, gives an image and its mirror image the same embedding.
    """
    mean, std = statistics
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        backbone = new_backbone(
            name, dimensions=dimensions, size=size, widths=widths, mirrored=mirrored, members=members
        )
    encoder = Encoder(backbone, size=size, mean=mean, std=std, normalize=normalize)
    if whitened := [member for member in backbone.modules() if isinstance(member, FastBackbone)]:
        first, *others = whitened
        most = max(1, min(WHITENING_IMAGES, WHITENING_PIXELS // images.shape[-1] ** 2))
        chosen = torch.randperm(len(images), generator=generator)[:most]
        first.whiten((images[chosen].float() - encoder.mean) / encoder.std)
        for other in others:
            other.stem.load_state_dict(first.stem.state_dict())
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
