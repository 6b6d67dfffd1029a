"""Reads folders, each in a process of its own, and prints what came of each: a command, so that its memory is its own.

`python hostile_reading.py READER FOLDER...` prints one JSON object a line: the error, seconds of the processor and
bytes of memory beyond those before. `waste` reads nothing and takes too much of both.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from states import fresh_state
from tercet.errors import ModelError
from tercet.memory import peak_memory_bytes
from tercet.model.bundle import load_bundle
from tercet.training.checkpoint import Checkpoint

SAFETY = 2 * 2**30  # more address space than that ends a reader, not the machine


def waste(_: Path) -> None:
    held = bytearray(b"a") * (300 * 2**20)
    until = time.process_time() + 1.5
    while time.process_time() < until:
        pass
    raise ModelError(str(len(held)))


READERS = {
    "bundle": lambda folder: load_bundle(folder).predict(np.zeros((1, 12, 12, 3), np.uint8)),
    "checkpoint": lambda folder: Checkpoint(folder, "key").restore(fresh_state(0)),
    "waste": waste,
}


def measured(reader: str, folder: Path) -> dict[str, object]:
    before, started, error = peak_memory_bytes(), time.process_time(), None
    try:
        READERS[reader](folder)
    except Exception as caught:
        error = type(caught).__name__
    seconds = time.process_time() - started
    return {"name": folder.name, "error": error, "seconds": seconds, "bytes": peak_memory_bytes() - before}


def main(reader: str, *folders: str) -> None:
    torch.set_num_threads(1)  # threads do not outlive a fork
    measured(reader, Path(folders[0]))  # a good one, so that everything is imported
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SAFETY
    for folder in folders:
        sys.stdout.flush()
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            sys.stdout.write(json.dumps(measured(reader, Path(folder))) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
