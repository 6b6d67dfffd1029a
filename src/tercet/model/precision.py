"""float32 or bfloat16, decided by trying both on the network itself: never by the name of a processor.

bfloat16 is twice as fast where the processor multiplies it, many times slower where it does not, and was at times wrong
for odd shapes (pytorch#163347). So a copy of the network takes a few steps in each, and bfloat16 must be both right
and clearly faster.
"""

from __future__ import annotations

import copy
import time

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

LEAST_SPEEDUP = 1.15  # below this the rounding is not worth it: a guess
LARGEST_ERROR = 0.05  # relative, on the outputs; bfloat16 keeps 8 bits, a sound network shows 0.01


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network runs at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def choose_precision(network: nn.Module, images: UInt8[Tensor, "B 3 H W"]) -> str:
    """Pick "bf16" if a forward and backward pass over `images` is right and faster in it, else "fp32"; two seconds."""
    device = next(network.parameters()).device
    trial = copy.deepcopy(network).train()
    seconds, outputs = {}, {}
    for precision in ("fp32", "bf16"):
        for _ in range(2):  # the first pass also pays for choosing kernels
            start = time.perf_counter()
            with autocast(precision, device):
                outputs[precision] = trial(images.to(device)).float()
            outputs[precision].square().mean().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[precision] = time.perf_counter() - start
    error = (outputs["bf16"] - outputs["fp32"]).detach().norm() / outputs["fp32"].detach().norm()
    fast_enough = seconds["fp32"] > LEAST_SPEEDUP * seconds["bf16"]
    return "bf16" if fast_enough and bool(error < LARGEST_ERROR) else "fp32"
