"""float32 or bfloat16, decided by trying both on the network itself: never by the name of a processor.

bfloat16 is twice as fast where the processor multiplies it, many times slower where it does not, and was at times wrong
for odd shapes (pytorch#163347). So a copy of the network takes a few steps in each, and bfloat16 must be both right
and clearly faster; where a small matrix product shows at once that it is emulated, steps of minutes are spared.
"""

from __future__ import annotations

import copy
import time

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

LEAST_SPEEDUP = 1.15  # below this the rounding is not worth it: a guess
LARGEST_ERROR = 0.05  # relative, on the outputs; bfloat16 keeps 8 bits, a sound network shows 0.01
EMULATED = 5.0  # times as long, of a small matrix product: a guess; 60 where it was seen, docs/log.md, 2026-11-25
SIDE, REPETITIONS = 256, 5  # of that matrix product


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network runs at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def choose_precision(network: nn.Module, images: UInt8[Tensor, "B 3 H W"]) -> str:
    """Pick "bf16" if a forward and backward pass over `images` is right and faster in it, else "fp32"."""
    if is_emulated(next(network.parameters()).device):
        return "fp32"
    trial = copy.deepcopy(network).train()
    exact, exact_seconds = _passes(trial, images, "fp32")
    rounded, seconds = _passes(trial, images, "bf16")
    error = (rounded - exact).norm() / exact.norm()
    return "bf16" if exact_seconds > LEAST_SPEEDUP * seconds and bool(error < LARGEST_ERROR) else "fp32"


def is_emulated(device: torch.device) -> bool:
    """Whether a matrix product takes so long in bfloat16 that the device cannot do it; less than a second."""

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(SIDE, SIDE, dtype=dtype, device=device)
        start = time.perf_counter()
        (matrix @ matrix).sum().item()  # `item` waits for a device that works on its own
        return time.perf_counter() - start

    pairs = [(seconds(torch.float32), seconds(torch.bfloat16)) for _ in range(REPETITIONS)]  # both meet other work
    exact, rounded = map(min, zip(*pairs, strict=True))
    return bool(rounded > EMULATED * exact)


def _passes(trial: nn.Module, images: Tensor, precision: str) -> tuple[Tensor, float]:
    """Outputs and seconds of the second pass of two; the first also pays for choosing kernels."""
    device = next(trial.parameters()).device
    for _ in range(2):
        start = time.perf_counter()
        with autocast(precision, device):
            outputs = trial(images.to(device)).float()
        outputs.square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return outputs.detach(), seconds
