"""What a run is made of, as one flat frozen dataclass, and the presets.

A `Config` says all that shapes the result; `None` means "from the data or from the other settings" and `resolve` fills
it in. Knows nothing of images or tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from tercet.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run. A comment gives each value's origin: a paper, a measured run (docs/log.md), or "guess".

    None stands for what follows from the data or the other settings. UsageError where a value means nothing.
    """

    # Encoder
    encoder: str | None = None  # "fast", "classic" or "pretrained"
    backbone: str | None = None  # names a frozen network of one's own, where `encoder` is "pretrained"
    widths: tuple[int, ...] = (32, 128, 256)  # of the fast encoder's groups; a prototype's, else a guess
    members: int = 1  # networks side by side; a pretrained encoder has one: docs/log.md, 2026-11-29
    mirrored: bool | None = None  # whether its filters come in mirrored pairs: docs/log.md, 2026-11-28
    dimensions: int = 128  # numbers of an embedding: the original project
    normalize: bool = True  # embeddings of unit length: Schroff et al. 2015
    size: int | None = None  # side of the images in pixels, 10 to 224

    # Loss
    loss: str | None = None  # one of `CHOICES`; "custom" stands for one of your own
    custom_loss: str | None = None  # name of a loss of one's own, where `loss` is "custom"
    mining: str | None = None  # "all", "semi-hard", "hard" or "random"; asking for one asks for the loss "triplet"
    margin: float | None = None  # in squared distance
    temperature: float | None = None  # in squared distance, of "supcon" in cosine

    # Learning
    epochs: float = 4.0  # 80 to 160 s on two cores; of 2.5 the last epoch ends after half of its steps
    fewest_steps: int | None = None  # small sets take more epochs to reach it
    batch_size: int = 500  # images a step at most, fewer of small sets and large images: a guess
    optimizer: str | None = None  # "muon" or "adam"
    learning_rate: float | None = None  # at its peak
    momentum: float = 0.6  # with the rate of Muon below: docs/log.md, 2026-11-24
    weight_decay: float = 0.0  # a guess; Muon holds the filters at a fixed norm
    skip_share: float = 0.5  # of each class, what a pass leaves out as learnt: docs/log.md, 2026-11-24
    warmup_share: float = 0.1  # of all steps, linearly up; then linearly down to zero: a guess
    averaging: float = 0.95  # decay a step of the running average of the weights: a guess
    head_images: int = 2_000  # of a class, at most, that the head learns from: docs/log.md, 2026-11-28
    class_weight: str = "balanced"  # of the head; better for rare classes and all in all: docs/log.md, 2026-11-24
    label_smoothing: float = 0.1  # of "proxy-triplet" and the CNN baseline; Szegedy et al. 2016

    # Augmentation
    flip: bool | None = None  # whether a mirrored image still shows its class
    crop_padding: int = 2  # Jordan 2024
    cutout: int = 0  # short runs do not overfit: a guess

    # Machine
    seed: int = 0  # of the split, the first weights and the order of images
    precision: str = "auto"  # or "fp32" or "bf16"; "auto" tries both
    device: str = "auto"  # or "cpu", "cuda" or "mps"; "auto" takes cuda where present

    def __post_init__(self) -> None:
        """Refuse values that mean nothing, by the name of the option."""
        for name, allowed in CHOICES.items():
            found = getattr(self, name)
            if found is not None and found not in allowed:
                raise UsageError(f"--{name.replace('_', '-')} is {found!r}; expected one of {', '.join(allowed)}.")
        if self.mining and self.loss not in (None, "triplet"):
            raise UsageError(
                f"--mining is {self.mining!r} with --loss {self.loss}; expected --loss triplet, which alone has it."
            )
        for name, least in LEAST.items():
            found = getattr(self, name)
            if _is_number(found) and not least <= found < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} is {found}; expected a number of at least {least}.")
        for field in fields(self):
            found, (kind, _, optional) = getattr(self, field.name), str(field.type).partition(" | ")
            is_one, wanted, as_one = KINDS[kind]
            if found is None and optional:
                continue
            if not is_one(found):
                raise UsageError(f"--{field.name.replace('_', '-')} is {found!r}; expected {wanted}.")
            object.__setattr__(self, field.name, as_one(found))  # the only way into a frozen dataclass
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at most {most}.")
        if self.size is not None and self.size > LARGEST_SIZE:
            raise UsageError(
                f"--size is {self.size}; expected at most {LARGEST_SIZE} pixels, to which larger images are brought."
            )


def _is_number(found: Any, kind: type = Real) -> bool:
    return isinstance(found, kind)


CLASS_LOSSES = ("proxy-triplet", "centroid-triplet")  # which compare an image with classes, not with single images
NAMED_LOSSES = (*CLASS_LOSSES, "triplet", "supcon")
CHOICES = {
    "encoder": ("fast", "classic", "pretrained"),
    "loss": (*NAMED_LOSSES, "custom"),
    "mining": ("all", "semi-hard", "hard", "random"),
    "class_weight": ("none", "balanced"),
    "optimizer": ("muon", "adam"),
    "precision": ("auto", "fp32", "bf16"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
# What the annotations above say, for values that no type checker has seen, and how these become Python's own, which
# JSON can hold. Numbers may be those of NumPy; `epochs=6` stays a whole number.
KINDS: dict[str, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    "bool": (lambda found: found in (True, False), "True or False", bool),
    "int": (lambda found: _is_number(found, Integral), "a whole number", int),
    "float": (
        lambda found: _is_number(found) and -math.inf < found < math.inf,
        "a number",
        lambda found: found if type(found) is int else float(found),
    ),
    "str": (lambda found: isinstance(found, str), "a name", str),
    "tuple[int, ...]": (
        lambda found: isinstance(found, tuple | list) and all(_is_number(n, Integral) and n > 0 for n in found),
        "whole numbers above 0",
        lambda found: tuple(map(int, found)),
    ),
}
# The fast encoder halves the 8 patches across an image of 10 pixels three times.
LEAST = {
    "size": 10,
    "margin": 0,
    "epochs": 0.001,
    "batch_size": 8,
    "dimensions": 1,
    "members": 1,
    "seed": 0,
    "fewest_steps": 1,
    "head_images": 1,
    "temperature": 0.0001,
    **dict.fromkeys(("learning_rate", "momentum", "weight_decay", "skip_share", "warmup_share", "averaging"), 0),
    **dict.fromkeys(("label_smoothing", "crop_padding", "cutout"), 0),
}
MOST = {
    "seed": 2**32 - 1,  # NumPy's
    "skip_share": 0.99,
    **dict.fromkeys(("momentum", "warmup_share", "averaging", "label_smoothing"), 1),
    "crop_padding": 9,  # a border mirrors the image, which must be larger
}
MOST_MEMBERS = 16  # of an encoder: a guess
LATER = {"members": 1}  # settings that models, runs and records of earlier versions do not name, and what those were
LARGEST_SIZE = 224  # what most networks for photographs take; our own are not made for more

# Pixels of a batch, so that what a step keeps for the gradients of a member stays under 1.5 GB in float32: an image of
# 32 takes 1 MB, one of 224 9 MB by the fast encoder of the widths below and 62 MB by the classic one.
BATCH_PIXELS = {"fast": 500 * 96**2, "classic": 500 * 48**2}
COUNTED_WIDTHS = (32, 128, 256)
HALVED_SIZE = 64  # from which on the fast encoder halves the image at once; before, a pixel takes four times as much
LARGEST_BATCH = 4096  # of any encoder, since losses compare every two images of a batch: under 0.5 GB

ADAPTER_RATE = 3e-4  # of what is trained on the pretrained network's features: docs/log.md, 2026-11-24
FEWEST_STEPS = 70  # digits: docs/log.md, 2026-11-23
ADAPTER_STEPS = 300  # the same; a step takes milliseconds
PRETRAINED_SIZE = 96  # from this size on the default is the pretrained encoder, made at 224 pixels: a guess

DEFAULT_MODEL = "cifar10"  # comes with tercet; models/cifar10/README.md is its card

PRESETS = {  # docs/log.md, 2026-11-28 to 30; benchmarks/results/time_to_accuracy.jsonl
    "quick": Config(),
    "standard": Config(widths=(64, 256, 512), members=2, epochs=6, skip_share=0.0),
    "full": Config(widths=(64, 256, 512), members=3, epochs=17, skip_share=0.0, cutout=8),
}


def resolve(config: Config, *, image_count: int, size: int, flip: bool, has_weights: bool = False) -> Config:
    """The configuration with everything filled in for a training set of `image_count` images of side `size`.

    `flip` says whether a mirrored image of this data still shows its class, `has_weights` whether the weights of the
    pretrained encoder are installed.
    """
    size = config.size or size
    flip = flip if config.flip is None else config.flip
    encoder = config.encoder or ("pretrained" if has_weights and size >= PRETRAINED_SIZE else "fast")
    if encoder == "fast" and not config.widths:
        raise UsageError("--widths is empty; expected a number for each group of the fast encoder.")
    # At least ten steps an epoch, where there are images enough: a guess.
    batch_size = min(config.batch_size, max(64, image_count // 10), largest_batch(encoder, size, config.widths))
    steps_per_epoch = math.ceil(image_count / batch_size)
    optimizer = config.optimizer or ("muon" if encoder == "fast" else "adam")
    rates = {"adam": 1e-3, "muon": 0.16}  # the original project; docs/log.md, 2026-11-24
    # A temperature fits distances of a known scale; what is trained on frozen features was measured with triplets only.
    single = config.mining or not config.normalize or encoder == "pretrained"
    loss = config.loss or ("triplet" if single else "proxy-triplet")
    margins = {"proxy-triplet": 0.2, "centroid-triplet": 0.0}  # docs/log.md, 2026-11-28
    temperatures = {"proxy-triplet": 0.4, "centroid-triplet": 0.2}  # docs/log.md, 2026-11-29, 11-24
    # The stem of larger images drops the last column of an odd side.
    can_mirror = encoder == "fast" and flip and (size < HALVED_SIZE or size % 2 == 0)
    triplet_margin = 0.25 if config.normalize else 1.0  # docs/log.md, 2026-11-23; raw: the original project
    filled: dict[str, Any] = {
        "size": size,
        "encoder": encoder,
        "loss": loss,
        "mining": "all" if loss == "triplet" else None,
        "margin": margins.get(loss, triplet_margin),
        "temperature": temperatures.get(loss, 0.1),  # the rest: Khosla et al. 2020
        "optimizer": optimizer,
        "learning_rate": ADAPTER_RATE if encoder == "pretrained" else rates[optimizer],
        "fewest_steps": ADAPTER_STEPS if encoder == "pretrained" else FEWEST_STEPS,
        "flip": flip,
        "mirrored": can_mirror,
    }
    unset = {name: value for name, value in filled.items() if getattr(config, name) is None}
    members = 1 if encoder == "pretrained" else config.members  # or presets of several would be refused there
    resolved = replace(config, batch_size=batch_size, members=members, **unset)
    if resolved.mirrored and not can_mirror:
        raise UsageError(
            f"mirrored is True with the encoder {encoder!r}, flip {flip} and size {size}; expected None, or 'fast', "
            f"True and a size that is even or below {HALVED_SIZE}."
        )
    if members > min(MOST_MEMBERS, resolved.dimensions):
        raise UsageError(
            f"members is {members} with {resolved.dimensions} dimensions; expected at most {MOST_MEMBERS}, and no more "
            "than dimensions."
        )
    if resolved.mirrored and (odd := [width for width in resolved.widths if width % 2]):
        raise UsageError(
            f"--widths holds {odd[0]}; expected even numbers, since half of the filters mirror the rest, or --no-flip."
        )
    assert resolved.fewest_steps is not None
    return replace(resolved, epochs=max(config.epochs, math.ceil(resolved.fewest_steps / steps_per_epoch)))


def largest_batch(encoder: str, size: int, widths: tuple[int, ...]) -> int:
    """The most images of side `size` that a step of this encoder takes; larger batches are brought down to it.

    It hangs on no machine, so that the same configuration gives the same result on all.
    """
    if encoder not in BATCH_PIXELS:
        return LARGEST_BATCH
    pixels: float = BATCH_PIXELS[encoder]
    if encoder == "fast":
        broader = max(width / counted for width, counted in zip(widths, COUNTED_WIDTHS, strict=False))
        pixels /= max(1, broader) * (1 if size >= HALVED_SIZE else 4)
    return max(int(LEAST["batch_size"]), min(LARGEST_BATCH, int(pixels / size**2)))
