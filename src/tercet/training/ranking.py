"""The order of the distances in each row of a matrix, ranks among a few of them, and work on rows shared out.

Sorting and searching are what exact mining costs on a CPU. Knows nothing of triplets or labels.
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
CACHED_ELEMENTS = 2**19  # of a block that stays in the cache while torch's threads go over it: docs/log.md, 2026-11-24


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


def sorted_rows(values: Float[Tensor, "B K"]) -> tuple[Float[Tensor, "B K"], Int64[Tensor, "B K"]]:
    """Each row in order, smallest first, and the columns where its numbers were."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        order = torch.from_numpy(values.numpy().argsort(axis=1))  # a sixth of the time of torch's
        return values.gather(1, order), order
    found = values.sort(dim=1)
    return found.values, found.indices


def row_blocks(matrix: Float[Tensor, "B N"]) -> list[slice]:
    """Blocks of rows that stay in the cache while several operations go over them, yet keep all threads busy."""
    step = max(1, CACHED_ELEMENTS // max(1, matrix.shape[1])) if matrix.device.type == "cpu" else max(1, len(matrix))
    return [slice(start, min(start + step, len(matrix))) for start in range(0, len(matrix), step)]


def row_ranks(values: Float[Tensor, "B N"], thresholds: Float[Tensor, "B K"]) -> Int64[Tensor, "B N"]:
    """How many of its row's thresholds, which are sorted and end in infinity, are not above each value.

    As `torch.searchsorted(thresholds, values, right=True)`, without its branches that no processor can foresee: the
    range of a row's thresholds is cut into cells, a table says how many thresholds lie in those before each, and one
    comparison settles a value whose own cell holds one threshold. Where it holds more, they are gone through: of many
    equal thresholds one by one. Exact, since rounding cannot change the order of cells. Values are finite, or their
    ranks mean nothing.
    """
    cells = 4 * thresholds.shape[1]  # finer: fewer to go through, a larger table; docs/log.md, 2026-11-24
    low = thresholds[:, :1]
    high = thresholds.masked_fill(thresholds.isinf(), -torch.inf).amax(1, keepdim=True)
    scale = (cells - 1) / (high - low)
    shift = 1 - low * scale

    def cell(numbers: Tensor) -> Tensor:  # about 1 to `cells`; 0 and cells + 1 for what lies outside
        return torch.addcmul(shift, numbers, scale).clamp_max_(cells + 1).to(torch.int64).clamp_(0, cells + 1)

    places = cell(thresholds)
    inside = torch.zeros(len(values), cells + 2, dtype=torch.int32, device=values.device)
    inside.scatter_add_(1, places, thresholds.isfinite().to(torch.int32))
    before = inside.cumsum(1, dtype=torch.int32) - inside
    found = (2 * before + (inside > 1)).gather(1, cell(values))
    ranks = (found >> 1).to(torch.int64)
    ranks += thresholds.gather(1, ranks) <= values
    pending = torch.nonzero((found & 1).flatten()).flatten()  # cells of several thresholds
    starts = pending // values.shape[1] * thresholds.shape[1]
    wanted = values.flatten()[pending].clamp_max(torch.finfo(values.dtype).max)  # below the last threshold
    while len(pending):
        passed = torch.nonzero(thresholds.flatten()[starts + ranks.flatten()[pending]] <= wanted).flatten()
        pending, starts, wanted = pending[passed], starts[passed], wanted[passed]
        ranks.view(-1)[pending] += 1
    return ranks
