"""Bundle: encoder, head, class names and settings, as one thing that predicts and embeds, kept in a folder.

The folder holds `model.safetensors` and `config.json` with a digest of both, so that no damage goes unnoticed. A Bundle
computes in float32, so it gives the same answers wherever it is loaded. It takes images as people have them.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tercet.config import DEFAULT_MODEL, LARGEST_SIZE, LATER, MOST_MEMBERS
from tercet.data.decode import stored_side
from tercet.data.pictures import as_pixels
from tercet.errors import ModelError, check_format
from tercet.files import at_home, make_folder, write_atomically
from tercet.model.adapter import Adapter, with_adapter
from tercet.model.efficientnet import EfficientNetLite0
from tercet.model.embed import embed
from tercet.model.encoder import Encoder, new_backbone
from tercet.model.head import Head
from tercet.untrusted import MOST_BYTES, read_header, read_object

# Raised when an older tercet could not read the folder. 1 had no digest, 2 an earlier fast encoder, 3 no mirrored one,
# 4 no members.
FORMAT = 5
SHIPPED = {DEFAULT_MODEL: Path(__file__).parents[1] / "models" / DEFAULT_MODEL}  # what comes with tercet
KINDS = {  # of the settings
    "encoder": (str,),
    "backbone": (str, type(None)),
    "widths": (list,),
    "dimensions": (int,),
    "normalize": (bool,),
    "mirrored": (bool, type(None)),
    "members": (int, type(None)),
    "size": (int,),
    "hidden": (int, type(None)),
}


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained encoder with the head that reads classes off it."""

    encoder: Encoder
    head: Head
    classes: tuple[str, ...]
    settings: dict[str, Any]  # encoder, backbone, widths, dimensions, normalize, mirrored, members, size, hidden

    def __repr__(self) -> str:
        """What it is, without its weights."""
        kind, size, dimensions = (self.settings[name] for name in ("encoder", "size", "dimensions"))
        return f"Bundle({kind}, {size} pixels -> {dimensions} numbers, {len(self.classes)} classes)"

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
        return as_pixels(images, self.side)

    def save(self, folder: str | Path, *, half: bool = False) -> None:
        """Write the folder; it is whole once `config.json` is there.

        With `half` matrices and filters are kept in half precision: half the size, and answers that differ a little.
        """
        folder = Path(folder)
        make_folder(folder)
        tensors = _parts(self.encoder, self.head).state_dict()
        kept = {name: tensor.half() if half and tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
        weights = save({name: tensor.cpu().contiguous() for name, tensor in kept.items()})
        description = {"format": FORMAT, "classes": self.classes, **self.settings}
        description["sha256"] = digest(description, weights)
        write_atomically(folder / "model.safetensors", weights)
        write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")


def load_bundle(folder: str | Path, backbone: nn.Module | None = None) -> Bundle:
    """Load a Bundle from its folder or from the run folder around it; ModelError where it is missing or damaged.

    "cifar10" is the model that comes with tercet; a folder of this name is given as "./cifar10". A Bundle trained on a
    network of one's own needs such a network again as `backbone`; its weights come from the folder.
    """
    folder = SHIPPED[folder] if folder in SHIPPED else at_home(folder)
    if (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    if not (folder / "config.json").is_file():
        raise ModelError(f"found no model in {folder}; expected {_expected_instead_of(folder)}.")
    try:
        return _load(folder, backbone)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        fault = "is damaged" if backbone is None else "is damaged or made with another backbone than given"
        raise ModelError(
            f"the model in {folder} {fault} ({type(error).__name__}); restore the folder or train it again."
        ) from error


def _expected_instead_of(folder: Path) -> str:
    """What to give in place of a folder that holds no model."""
    if seeds := sorted(folder.glob("seed-*/model/config.json")):
        return f"one of its seeds, such as {seeds[0].parents[1]}"
    if (folder / "results.json").is_file():
        return "its model/ folder, which is missing: restore it, or run again with --overwrite"
    if (folder / "run.json").is_file():
        return "a finished run: give the command that began it again, and it goes on"
    return f'a run folder, a model folder with config.json, or "{DEFAULT_MODEL}", which comes with tercet'


def digest(description: Mapping[str, Any], weights: bytes) -> str:
    """SHA-256 over what `config.json` says, as JSON of sorted keys, and then the bytes of `model.safetensors`."""
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    found.update(weights)
    return found.hexdigest()


def _load(folder: Path, backbone: nn.Module | None) -> Bundle:
    """The Bundle in a folder; an error of many kinds where it is damaged or none of ours."""
    description = read_object(folder / "config.json")
    check_format(f"the model in {folder}", description["format"], FORMAT)
    promised = description.pop("sha256") if description["format"] > 1 else None
    settings = {name: value for name, value in description.items() if name not in ("format", "classes")}
    classes = tuple(map(str, description["classes"]))
    _check(settings)
    if description["format"] < 3 and settings["encoder"] == "fast":
        settings["encoder"] = "fast-1"
    own = settings.get("backbone")
    if (own is None) != (backbone is None):
        fault = (
            f"stands on a network of your own, {own}; load it in Python, with backbone="
            if own
            else "needs no network of your own; leave backbone= out"
        )
        raise ModelError(f"the model in {folder} {fault}.")
    with (folder / "model.safetensors").open("rb") as file:
        shapes = {name: tuple(entry["shape"]) for name, entry in read_header(file).items() if name != "__metadata__"}
        encoder, head = _empty(settings, len(classes), backbone, shapes)
        parts = _parts(encoder, head)
        places = parts.state_dict()
        if shapes != {name: tuple(place.shape) for name, place in places.items()}:
            raise ValueError("found tensors of another network")
        file.seek(0)
        weights = file.read(MOST_BYTES + 8 * sum(place.numel() for place in places.values()))  # however long it is
    if promised is not None and digest(description, weights) != promised:
        raise ModelError(
            f"the model in {folder} is damaged: config.json or model.safetensors is not as it was saved; restore the "
            "folder or train it again; classes are renamed by dataclasses.replace(bundle, classes=...).save(folder)."
        )
    # Copied, since what is read lies anywhere in memory, and sums may differ in the last digit by where it lies.
    tensors = {name: tensor.to(places[name].dtype, copy=True) for name, tensor in load(weights).items()}
    parts.load_state_dict(tensors, assign=True)
    encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Bundle(encoder.eval(), head.eval(), classes, settings)


def _check(settings: Mapping[str, Any]) -> None:
    """TypeError or ValueError for settings that no training has."""
    if unknown := settings.keys() - KINDS.keys():
        raise ValueError(f"found {unknown}")
    for name, kinds in KINDS.items():
        if type(settings.get(name)) not in kinds:
            raise TypeError(f"found {name} {settings.get(name)!r}")
    if min(settings["dimensions"], settings["size"], *settings["widths"]) < 1 or settings["size"] > LARGEST_SIZE:
        raise ValueError("found a size that no training has")
    most = 1 if settings["encoder"] == "pretrained" else min(MOST_MEMBERS, settings["dimensions"])
    if not 1 <= settings.get("members", LATER["members"]) <= most:
        raise ValueError("found a number of members that no training has")
    if settings.get("mirrored") and any(width % 2 for width in settings["widths"]):
        raise ValueError("found mirrored filters of an odd number")


def _parts(encoder: nn.Module, head: nn.Module) -> nn.ModuleDict:
    """What has tensors in the file, under the names that they have there."""
    return nn.ModuleDict({"encoder": encoder, "head": head})


def _empty(
    settings: Mapping[str, Any], class_count: int, backbone: nn.Module | None, shapes: Mapping[str, Sequence[int]]
) -> tuple[Encoder, Head]:
    """Encoder and head as the settings ask for, to be given tensors of these shapes.

    They are made on the device "meta", so that they take no memory, whatever their size.
    """
    dimensions, size, widths = settings["dimensions"], settings["size"], settings["widths"]
    members = settings.get("members", LATER["members"])
    if members * len(widths) > len(shapes):  # each has tensors of its own
        raise ValueError(f"found {len(widths)} widths of {members} members")
    given = copy.deepcopy(backbone).cpu() if backbone is not None else None
    with torch.device("meta"):
        statistics = {"mean": torch.zeros(3), "std": torch.ones(3)}
        head = Head(dimensions, class_count, settings["hidden"])
        if settings["encoder"] != "pretrained":
            shape = {"dimensions": dimensions, "size": size, "widths": widths, "members": members}
            network = new_backbone(settings["encoder"], **shape, mirrored=bool(settings.get("mirrored")))
            return Encoder(network, size=size, **statistics, normalize=settings["normalize"]), head
        network = EfficientNetLite0() if given is None else given
        (feature_count,) = shapes["encoder.backbone.adapter.mean"]
        adapter = Adapter(feature_count, dimensions, normalize=settings["normalize"])
        return with_adapter(Encoder(network, size=size, **statistics, normalize=False), adapter), head
