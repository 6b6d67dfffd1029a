"""A few threads that compute, and a queue before them that is bounded.

Each request is computed by one thread with one thread of torch, so that requests do not fight for the cores, and alone,
so that its answer does not depend on what else was asked at the time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from tercet.inference.service.uploads import busy

MOST_THREADS = 8  # a guess; each holds a decoded image and what the network gives on the way
MOST_WAITING = 32  # requests; the last waits for less than a second where one takes some 20 ms: a guess

Answer = TypeVar("Answer")


class Workers:
    """Computes off the event loop; a request that finds the queue full is refused by status 503."""

    def __init__(self, threads: int | None = None, most_waiting: int = MOST_WAITING) -> None:
        threads = threads or min(MOST_THREADS, _cores())
        self._pool = ThreadPoolExecutor(threads, "tercet", initializer=torch.set_num_threads, initargs=(1,))
        self._most, self._under_way = threads + most_waiting, 0

    async def do(self, work: Callable[[], Answer]) -> Answer:
        """What `work` gives, computed by the next free thread."""
        if self._under_way >= self._most:
            raise busy()
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """End the threads; what still waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
