"""Images, or their features, -> embeddings, batch by batch, without gradients. Memory is bounded by one batch."""

from __future__ import annotations

import math
from itertools import chain

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from tercet.model.precision import autocast

# Images a forward pass, and fewer where they are large. Small batches are the faster ones on a CPU: what a layer gives
# stays near the processor, and the system need not clear new memory for each. docs/log.md, 2026-11-24.
BATCH = 125
BATCH_PIXELS = 20 * 146**2


@torch.no_grad()
def embed(network: nn.Module, images: Shaped[Tensor, "N ..."], *, precision: str = "fp32") -> Float[Tensor, "N D"]:
    """What the network gives for each image, in evaluation mode, as float32 on the CPU."""
    device = next(chain(network.parameters(), network.buffers())).device
    was_training = network.training
    network.eval()
    with autocast(precision, device):
        batches = images.split(max(1, min(BATCH, BATCH_PIXELS // math.prod(images.shape[2:]))))
        outputs = [network(batch.to(device)).float().cpu() for batch in batches]
    network.train(was_training)
    return torch.cat(outputs)
