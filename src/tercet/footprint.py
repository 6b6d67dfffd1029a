"""What a job will take of memory beside its images, counted before it begins; refused where it is more than is free.

Counted is what is held at once at the worst moment of each station, and the largest of these moments matters. The
estimates are held against measured peaks: tests/reliability/test_memory.py. Of the memory of a GPU nothing
is known here. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tercet.config import CLASS_LOSSES, LEAST, Config, largest_batch
from tercet.data.imageset import ImageSet
from tercet.evaluation.baselines import MOST_IMAGES, MOST_PIXELS_ACROSS
from tercet.memory import require_memory
from tercet.model.encoder import WHITENING_PIXELS, Encoder, new_backbone
from tercet.model.fast import PATCH_PIXELS

LIBRARIES = 40 * 10**6  # what PyTorch takes for itself in a first step; measured
SLACK = 1.25  # of what a step keeps, for gradients on their way back; measured
BF16_SHARE = 0.8  # of float32's bytes: bfloat16 keeps 0.6, and where it is emulated layers work in float32; measured
PAIR_BYTES = 26  # of every two images of a batch, by the loss that compares most of them; measured
DIGEST_BYTES = 300  # an image, by which its features are found in the cache again
SIZES = (192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32, 24, 16, 10)  # to choose a smaller --size from


class Network(NamedTuple):
    """What a network takes: bytes kept for the gradient of each image in float32, and of each step, and its weights."""

    kept: int
    kept_once: int
    weights: int


def require_training_memory(
    config: Config, parts: Sequence[ImageSet], frozen: Encoder | None = None, *, compares: bool = False
) -> None:
    """DataError where training takes more memory than is free, with a size or a batch that would fit.

    `config` is resolved; `parts` are those of the data, that for training first; `frozen` gives features of them where
    those are trained on; `compares` says that the baselines are fitted as well.
    """
    count = sum(len(part) for part in parts)
    beside = 4 * config.dimensions * count  # the embeddings
    feature_count = 0
    if frozen is not None:
        feature_count, views = features_of(frozen), 2 if config.flip else 1
        beside += features_bytes(count, len(parts[0]), feature_count, views) + 3 * weights_of(frozen)
        found = f"{count:,} images of {feature_count:,} features in {views} views"
        require_memory(beside, found, lambda _: "give fewer images")
    require_memory(
        beside + training_bytes(config, len(parts[0]), feature_count),
        f"batches of {config.batch_size:,} images of {config.size} x {config.size} pixels",
        lambda free: advice(config, len(parts[0]), free - beside, feature_count),
    )
    if compares:
        classes, side = len(parts[0].classes), parts[0].images.shape[-1]
        require_memory(
            beside + 3 * 4 * config.dimensions * count + regression_bytes([len(part) for part in parts], side, classes),
            f"{count:,} images to compare with logistic regression",
            lambda _: "give fewer images, or take `tercet train`, which does without",
        )


def training_bytes(config: Config, count: int, feature_count: int = 0) -> int:
    """What training on `count` images takes, of an adapter where there are features: its largest step, or saving."""
    network = adapter_of(config, feature_count) if feature_count else network_of(config)
    state = network.weights * (4 if config.optimizer == "adam" else 3)  # network, average, and moments of the optimizer
    held = 2 * state + network.weights  # the guard keeps the last good state; gradients
    share = BF16_SHARE if config.precision == "bf16" else 1.0
    pairs = PAIR_BYTES * config.batch_size**2  # of a member, when triplets are counted; of class losses not in a step
    step = 2 * network.weights  # those before it, and moves
    step += 0 if config.loss in CLASS_LOSSES else config.members * pairs
    kept = network.kept * config.batch_size + network.kept_once
    step += 0 if config.device == "cuda" else int(SLACK * share * kept)
    saving = 4 * state  # both states as the content of a file, twice in older versions of safetensors
    whitened = min(WHITENING_PIXELS, count * (config.size or 0) ** 2) if config.encoder == "fast" else 0
    whitening = 36 * whitened + 500 * PATCH_PIXELS  # float32, three times while they are normalised
    return LIBRARIES + max(held + step, held + pairs, held + saving, whitening)


def network_of(config: Config) -> Network:
    """The encoder of this configuration, seen on one image and on two: filters made of others are kept but once."""
    assert config.encoder is not None
    assert config.size is not None
    with torch.random.fork_rng(devices=[]):
        network = new_backbone(
            config.encoder,
            dimensions=config.dimensions,
            size=config.size,
            widths=config.widths,
            mirrored=bool(config.mirrored),
            members=config.members,
        ).eval()
    pixels = torch.zeros(2, 3, config.size, config.size).contiguous(memory_format=torch.channels_last)
    one, two = (_kept(network, pixels[:count]) for count in (1, 2))
    return Network(two - one, 2 * one - two, weights_of(network))


def _kept(network: nn.Module, pixels: Float[Tensor, "B 3 H H"]) -> int:
    """Bytes that a forward pass keeps for gradients, beside the weights."""
    kept: dict[int, int] = {}  # by place in memory, since layers share what they keep
    weights = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = network(pixels)  # as long as it is there, so is what it keeps
    del outputs
    return sum(size for place, size in kept.items() if place not in weights)


def adapter_of(config: Config, feature_count: int) -> Network:
    """The adapter for so many features: it keeps those of an image, with random ones left out, and its embedding."""
    kept = 4 * (5 * feature_count + 4 * config.dimensions)
    return Network(kept, 0, 4 * (feature_count + 1) * (config.dimensions + 1))


def features_of(frozen: Encoder) -> int:
    """How many features a frozen network gives for an image."""
    image = torch.zeros(1, 3, frozen.size, frozen.size, dtype=torch.uint8, device=frozen.mean.device)
    with torch.no_grad():
        return int(frozen(image).shape[1])


def weights_of(network: torch.nn.Module) -> int:
    """Bytes of its weights."""
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def features_bytes(count: int, train_count: int, feature_count: int, views: int) -> int:
    """Features in half precision, and those of the training part in float32 as well, where they are taken together."""
    return count * (2 * views * feature_count + DIGEST_BYTES) + 2 * 4 * train_count * feature_count


def regression_bytes(counts: Sequence[int], side: int, class_count: int) -> int:
    """Logistic regression on the pixels of the parts in float32; of training at most `MOST_IMAGES`, at most 32 x 32."""
    pixels = 3 * min(side, MOST_PIXELS_ACROSS) ** 2
    taken = min(counts[0], MOST_IMAGES)
    return 4 * pixels * (taken + sum(counts[1:])) + taken * (3 * side**2 + 4 * 8 * class_count)


def advice(config: Config, train_count: int, free: int, feature_count: int) -> str:
    """Which --size would fit into `free` bytes, or which batch at this size."""

    def fits(candidate: Config) -> bool:
        return training_bytes(candidate, train_count, feature_count) <= free

    smaller = () if feature_count else (size for size in SIZES if size < (config.size or 0))
    size = next((size for size in smaller if fits(at_size(config, size, train_count))), None)
    batches = (config.batch_size >> halvings for halvings in range(1, config.batch_size.bit_length()))
    batch = next(
        (batch for batch in batches if batch >= LEAST["batch_size"] and fits(replace(config, batch_size=batch))), None
    )
    found = [f"--size {size}"] if size else []
    found += [f"in Python a batch_size of {batch}"] if batch else []
    return f"give {', or '.join(found)}" if found else "let other programs end first"


def at_size(config: Config, size: int, train_count: int) -> Config:
    """The configuration at another size, with as large a batch as it may then have."""
    assert config.encoder is not None
    most = partial(largest_batch, config.encoder, widths=config.widths)
    if config.batch_size == most(size=config.size or size):  # brought down to it
        return replace(config, size=size, batch_size=min(most(size=size), max(64, train_count // 10)))
    return replace(config, size=size)
