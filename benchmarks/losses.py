"""Losses: seconds of a forward and a backward pass and their memory, ours and those of pytorch-metric-learning.

    python -m benchmarks.losses                           measures what is not there yet
    python -m benchmarks.losses --table                   prints what is there as a table
    python -m benchmarks.losses --method all --size 512   a trial of both sides, which is printed and not kept

Embeddings of unit length in 128 dimensions, ten classes of equal size, two threads, squared Euclidean distances and a
margin of 0.25 on both sides, mean over active triplets. Each (library, method, size) is a process of its own, which
keeps freed memory as training does; results/losses.jsonl has one line each. Memory is the peak of the process above
what it held with all imported, the inputs made and a step on 32 images done, so that one-off costs of libraries do not
count; Linux only. Values are compared where the definitions agree. Those of semi-hard do not: ours takes the nearest
farther negative of each positive, the peer's miner all negatives between the positive and the margin. The peer's lists
of triplets grow with the cube of the batch; sizes at which they would not fit are recorded as skipped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks import records
from benchmarks.peer_losses import library, library_version
from tercet.memory import keep_freed_memory, peak_memory_bytes
from tercet.training.losses import Loss, Mining, supervised_contrastive_loss, triplet_loss

SIZES, CLASSES, DIMENSIONS = (256, 512, 1024, 2048, 4096), 10, 128
MARGIN, TEMPERATURE, THREADS = 0.25, 0.1, 2
METHODS, ALIKE = ("all", "semi-hard", "hard", "supcon"), ("all", "hard", "supcon")
LIBRARIES = ("tercet", "pytorch-metric-learning")
WARM_UP, REPETITIONS, SECONDS = 3, (5, 50), 3.0  # fewest and most; none is begun after so many seconds
# Held at once: a byte for each of B^3 triples, three 64-bit indices for each of the 9 % that are triplets.
CUBED_BYTES, MOST_BYTES = 1 + 3 * 8 * 0.09, 8 * 2**30


def our_loss(method: str) -> Loss:
    """What `tercet train` would use."""
    if method == "supcon":
        return partial(supervised_contrastive_loss, temperature=TEMPERATURE)
    return partial(triplet_loss, margin=MARGIN, mining=cast(Mining, method))


def peer_loss(method: str) -> Loss:
    """The same of pytorch-metric-learning; its triplet loss takes the mean over active triplets by default."""
    distances, losses, miners = (library(name) for name in ("distances", "losses", "miners"))
    if method == "supcon":
        contrastive: Loss = losses.SupConLoss(temperature=TEMPERATURE)
        return contrastive
    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    loss: Callable[..., Tensor] = losses.TripletMarginLoss(margin=MARGIN, distance=distance)
    if method == "all":
        return loss
    miner = {
        "semi-hard": partial(miners.TripletMarginMiner, margin=MARGIN, type_of_triplets="semihard"),
        "hard": miners.BatchHardMiner,
    }[method](distance=distance)
    return lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


def step(loss: Loss, size: int) -> Callable[[], float]:
    """A forward and a backward pass over a batch that is made here, once; it gives the loss."""
    points = torch.randn(size, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    embeddings = torch.nn.functional.normalize(points, dim=1).requires_grad_()
    labels = torch.arange(size) % CLASSES

    def run() -> float:
        embeddings.grad = None
        value = loss(embeddings, labels)
        value.backward()
        return float(value.detach())

    return run


def peak_bytes(restart: bool = False) -> int:
    """The most memory that this process has held, or, if it restarts, held from now on; Linux only."""
    if restart:
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory_bytes() or 0


def measure_here(side: str, method: str, size: int) -> dict[str, Any]:
    """The figures of one library, method and size; for a fresh process."""
    torch.set_num_threads(THREADS)
    keep_freed_memory()
    loss = (our_loss if side == "tercet" else peer_loss)(method)
    step(loss, 32)()
    run = step(loss, size)
    before = peak_bytes(restart=True)
    values, started = [run() for _ in range(WARM_UP)], time.perf_counter()
    times: list[float] = []
    fewest, most = REPETITIONS
    while len(times) < fewest or (len(times) < most and time.perf_counter() - started < SECONDS):
        begun = time.perf_counter()
        values.append(run())
        times.append(time.perf_counter() - begun)
    return {
        "value": values[0],
        "values_differ": len(set(values)) > 1,
        "seconds_min": round(min(times), 5),
        "seconds_median": round(median(times), 5),
        "repetitions": len(times),
        "extra_memory_bytes": peak_bytes() - before,
    }


def measure(side: str, method: str, size: int) -> dict[str, Any]:
    """The record of one library, method and size."""
    record: dict[str, Any] = {"library": side, "method": method, "size": size, "threads": THREADS}
    if side != "tercet" and method in ("all", "semi-hard") and CUBED_BYTES * size**3 > MOST_BYTES:
        return {**record, "skipped": f"its lists of triplets alone would take {CUBED_BYTES * size**3 / 2**30:.0f} GiB"}
    command = [sys.executable, "-m", "benchmarks.losses", "--library", side, "--method", method, "--size", str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {**record, **json.loads(answer)}


def check(found: list[dict[str, Any]]) -> None:
    """Both libraries have the same value where they mean the same."""
    for record in records.select(found, library="tercet"):
        for peer in records.select(found, library=LIBRARIES[1], method=record["method"], size=record["size"]):
            if record["method"] in ALIKE and "value" in peer:
                assert math.isclose(record["value"], peer["value"], rel_tol=1e-4), (record, peer)


def table(found: list[dict[str, Any]]) -> str:
    """Least milliseconds and memory of both, side by side."""
    lines = [
        "| | batch | tercet, ms | pytorch-metric-learning, ms | tercet, MB | pytorch-metric-learning, MB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for method in METHODS:
        for size in SIZES:
            sides = [records.select(found, library=name, method=method, size=size) for name in LIBRARIES]
            if any(sides):
                cells = [
                    f"{factor * side[-1][key]:,.{places}f}" if side and key in side[-1] else "-"
                    for key, factor, places in (("seconds_min", 1e3, 1), ("extra_memory_bytes", 1e-6, 0))
                    for side in sides
                ]
                lines.append(f"| {method} | {size:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("--method", choices=METHODS, help="of a trial")
    parser.add_argument("--size", type=int, default=SIZES[0], help="of a trial")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)  # of a child
    options = parser.parse_args()
    if options.library:
        print(json.dumps(measure_here(options.library, options.method, options.size)))
        return
    if options.method:
        trial = [measure(side, options.method, options.size) for side in LIBRARIES]
        print(json.dumps(trial, indent=2))
        check(trial)
        return
    for size, method, side in product(SIZES, METHODS, LIBRARIES):
        if not options.table and not records.has("losses", library=side, method=method, size=size):
            found = measure(side, method, size) | {"peer_version": library_version()}
            command = "python -m benchmarks.losses"
            records.append("losses", {**found, "command": command})
    check(records.read("losses"))
    print(table(records.read("losses")))


if __name__ == "__main__":
    main()
