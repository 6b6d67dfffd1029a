"""Bundle: encoder, head, class names and settings, as one thing that predicts and embeds, kept in a folder.

The folder holds `config.json` and `model.safetensors`. A Bundle computes in float32, so it gives the same answers
wherever it is loaded. It takes images as people have them and, with ImageSet, is the only place that converts.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tercet.data.decode import read_image, stored_side, to_pixels
from tercet.errors import DataError, ModelError
from tercet.files import make_folder, write_atomically
from tercet.model.adapter import Adapter, with_adapter
from tercet.model.efficientnet import EfficientNetLite0
from tercet.model.embed import embed
from tercet.model.encoder import BACKBONES, Encoder
from tercet.model.head import Head

FORMAT = 1  # raised when an older tercet could not read the folder


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained encoder with the head that reads classes off it."""

    encoder: Encoder
    head: Head
    classes: tuple[str, ...]
    settings: dict[str, Any]  # encoder, backbone, widths, dimensions, normalize, size, hidden

    @torch.no_grad()
    def embed(self, images: Any) -> Float[np.ndarray, "N D"]:
        """Embeddings of images: an uint8 array `[N, H, W, 3]` or `[N, H, W]`, or a list of PIL images or paths."""
        return embed(self.encoder, self.pixels(images)).numpy()

    @torch.no_grad()
    def predict_proba(self, images: Any) -> Float[np.ndarray, "N C"]:
        """The probability of each class, in the order of `classes`, for images as `embed` takes them."""
        return self.probabilities(torch.from_numpy(self.embed(images))).numpy()

    def predict(self, images: Any) -> list[str]:
        """The most probable class of each image, by name, for images as `embed` takes them."""
        return [self.classes[index] for index in self.predict_proba(images).argmax(1)]

    @torch.no_grad()
    def probabilities(self, embeddings: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """The probability of each class for embeddings of this encoder."""
        return torch.softmax(self.head(embeddings), dim=1)

    @property
    def side(self) -> int:
        """The side of the images that the encoder takes; it cuts out what it looks at itself."""
        return stored_side(int(self.settings["size"]))

    def pixels(self, images: Any) -> UInt8[Tensor, "N 3 H H"]:
        """Images of any kind that `embed` takes, brought to their side as in training."""
        if isinstance(images, str | Path | Image.Image):
            raise DataError("found a single image; expected a list of images: put it in brackets.")
        if isinstance(images, np.ndarray):
            images = _as_pictures(images)
        arrays = [_square(image, self.side) for image in images]
        stacked = np.stack(arrays) if arrays else np.empty((0, self.side, self.side, 3), np.uint8)
        return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))

    def save(self, folder: str | Path) -> None:
        """Write the folder; it is whole once `config.json` is there."""
        folder = Path(folder)
        make_folder(folder)
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        tensors |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        description = {"format": FORMAT, "classes": self.classes, **self.settings}
        write_atomically(folder / "model.safetensors", save(tensors))
        write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")


def load_bundle(folder: str | Path, backbone: nn.Module | None = None) -> Bundle:
    """Load a Bundle from its folder or from the run folder around it; ModelError where it is missing or damaged.

    One trained on a network of one's own needs such a network again as `backbone`; its weights come from the folder.
    """
    folder = Path(folder)
    if (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    if not (folder / "config.json").is_file():
        raise ModelError(f"found no model in {folder}; expected a run folder or one with config.json: give --model.")
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if settings.pop("format") != FORMAT:
            raise ModelError(f"{folder} is of another format version; expected {FORMAT}: train it again.")
        classes = tuple(map(str, settings.pop("classes")))
        own = settings.get("backbone")
        if (own is None) != (backbone is None):
            wanted = f"one of your own, {own}: give backbone=" if own else "none of your own: leave backbone= out"
            raise ModelError(f"the model in {folder} stands on {wanted}.")
        tensors = load((folder / "model.safetensors").read_bytes())
        encoder = _empty_encoder(settings, backbone, tensors)
        head = Head(settings["dimensions"], len(classes), settings["hidden"])
        for prefix, module in (("encoder.", encoder), ("head.", head)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        fault = "is damaged" if backbone is None else "is damaged or made with another backbone than given"
        raise ModelError(
            f"the model in {folder} {fault} ({type(error).__name__}); restore the folder or train it again."
        ) from error
    encoder = encoder.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Bundle(encoder, head.eval(), classes, settings)


def _empty_encoder(settings: Mapping[str, Any], backbone: nn.Module | None, tensors: Mapping[str, Tensor]) -> Encoder:
    """An encoder into which the tensors of a file fit; they replace its weights and statistics."""
    dimensions, size = settings["dimensions"], settings["size"]
    statistics = {"mean": torch.zeros(3), "std": torch.ones(3)}
    if settings["encoder"] == "pretrained":
        network = EfficientNetLite0() if backbone is None else copy.deepcopy(backbone).cpu()
        frozen = Encoder(network, size=size, **statistics, normalize=False)
        feature_count = len(tensors["encoder.backbone.adapter.mean"])
        return with_adapter(frozen, Adapter(feature_count, dimensions, normalize=settings["normalize"]))
    network = BACKBONES[settings["encoder"]](dimensions, size, settings["widths"])
    return Encoder(network, size=size, **statistics, normalize=settings["normalize"])


def _as_pictures(images: NDArray[Any]) -> Sequence[Image.Image]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise DataError(
            f"found an array of type {images.dtype} and shape {list(images.shape)}; "
            "expected uint8 of shape [N, H, W, 3] or [N, H, W]."
        )
    return [Image.fromarray(image) for image in images]


def _square(image: Any, side: int) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        image = _as_pictures(image[None])[0]
    if isinstance(image, Image.Image):
        return to_pixels(image, side)
    try:
        return read_image(Path(image), side)
    except DataError as error:
        raise DataError(f"{image}: {error}") from error
