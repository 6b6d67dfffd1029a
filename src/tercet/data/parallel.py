"""Many image files to pixels, on a few threads and in bounded memory. Knows nothing of folders or classes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

from tercet.data.archive import File
from tercet.data.decode import Pixels, read_image
from tercet.errors import DataError

BATCH_FILES, BATCH_BYTES = 64, 2 * 2**20  # what a thread decodes at a time: enough to hide the cost of handing over
HELD_BYTES = 24 * 2**20  # that wait to be decoded; with the largest file beside them less than 100 MB
MAX_THREADS = 8

Decoded = tuple[str, Pixels | str]  # a file's path, and its pixels or the reason why there are none


def decode_files(files: Iterable[File], side: int) -> Iterator[Decoded]:
    """Read each file and decode it to uint8 `[side, side, 3]`, in the order of the files.

    Held at a time are, for each thread, three batches of files and what is being decoded of one, but no more than
    `HELD_BYTES` and one file.
    """
    threads = min(os.cpu_count() or 1, MAX_THREADS)
    waiting: deque[tuple[Future[list[Decoded]], int]] = deque()
    batches = _batches(files)
    with ThreadPoolExecutor(threads) as pool:
        while batch := next(batches, None):
            waiting.append((pool.submit(_decode_batch, batch, side), sum(len(content) for _, content in batch)))
            del batch  # which would be held while the next is read
            while len(waiting) > 2 * threads or sum(size for _, size in waiting) > HELD_BYTES:
                yield from waiting.popleft()[0].result()
        while waiting:
            yield from waiting.popleft()[0].result()


def _batches(files: Iterable[File]) -> Iterator[list[tuple[str, bytes | str]]]:
    """The files, a bounded number of bytes at a time; text in place of bytes is why there are none."""
    batch: list[tuple[str, bytes | str]] = []
    held = 0
    for file in files:
        batch.append((file.path, _content(file)))
        held += len(batch[-1][1])
        if len(batch) == BATCH_FILES or held > BATCH_BYTES:
            yield batch
            batch, held = [], 0
    yield batch


def _content(file: File) -> bytes | str:
    try:
        return file.read()
    except OSError as error:
        return error.strerror or str(error)


def _decode_batch(batch: list[tuple[str, bytes | str]], side: int) -> list[Decoded]:
    return [(path, content if isinstance(content, str) else _decode_one(content, side)) for path, content in batch]


def _decode_one(content: bytes, side: int) -> Pixels | str:
    try:
        return read_image(BytesIO(content), side)
    except DataError as error:
        return str(error)
