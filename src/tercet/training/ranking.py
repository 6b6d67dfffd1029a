"""The order of the distances in each row of a matrix, and work on rows shared out among threads.

Sorting is what exact mining costs on a CPU. Knows nothing of triplets or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Result = TypeVar("Result")
# Elements of a block of rows: what torch gives to one thread (its GRAIN_SIZE), so that a thread that works on a block
# starts no others, and little enough for the block to stay in the cache of its core.
BLOCK_ELEMENTS = 2**15


def by_rows(work: Callable[[slice], Result], matrix: Float[Tensor, "B N"]) -> list[Result]:
    """What `work` gives for each block of rows of a matrix, in order, on as many threads as torch uses.

    On another device than the CPU all rows are one block.
    """
    count, threads = len(matrix), torch.get_num_threads()
    step = max(1, BLOCK_ELEMENTS // max(1, matrix.shape[1])) if matrix.device.type == "cpu" else max(1, count)
    blocks = [slice(start, min(start + step, count)) for start in range(0, max(1, count), step)]
    if threads == 1 or len(blocks) == 1:
        return [work(rows) for rows in blocks]
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def in_mode(rows: slice) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):  # a thread begins in modes of its own
            return work(rows)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(in_mode, blocks))


def row_order(values: Float[Tensor, "B N"], last: Bool[Tensor, "B N"]) -> Int64[Tensor, "B N"]:
    """The columns of each row by their values, smallest first; of equal values those where `last` holds come last.

    The values are not negative, or their order among those below 0 does not matter. The bits of such float32 numbers
    are integers of the same order, and with `last` and the column below them one sort of 64-bit integers does it all.
    NumPy sorts these by vector instructions, which torch does not on a CPU; other types of numbers take the long way.
    """
    if values.dtype != torch.float32:
        order = last.to(torch.uint8).argsort(dim=1, stable=True)
        return order.gather(1, values.gather(1, order).argsort(dim=1, stable=True))
    keys = values.view(torch.int32).to(torch.int64) << 32
    columns = torch.arange(values.shape[1], device=values.device)
    keys |= torch.where(last, columns + 2**31, columns)
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)
    else:
        keys = keys.sort(dim=1).values
    return keys & (2**31 - 1)
