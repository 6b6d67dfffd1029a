"""Search: how long the ten nearest of one query and of 100 take, ours and by scikit-learn's NearestNeighbors.

    python -m benchmarks.search                   measures what is not there yet
    python -m benchmarks.search --table           prints what is there as a table
    python -m benchmarks.search --rows 20000      a trial of both sides, which is printed and not kept

Random vectors of unit length in 128 dimensions, two threads, exact search on both sides. Ours is `Gallery.nearest` on
an index in a temporary folder, whose vectors are mapped and in the system's cache, names included; scikit-learn's is
brute force on the same vectors in memory, with squared distances. Each (library, rows) is a process of its own, and
results/search.jsonl has one line each, with the checksum of what was found: both sides find the same. `open_seconds` is
the least time to open the index, or to fit. Memory is what the process holds at most above what it held with all
imported and a search on a few vectors done; of ours `mapped_bytes` are pages of the file, which the system takes back
when it needs them. Linux only. The million takes 1 GB of disk and, for scikit-learn, 2 GB of memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from benchmarks import records
from benchmarks.losses import peak_bytes
from benchmarks.tables import markdown
from tercet.inference.gallery import Gallery, Stamp

ROWS, QUERIES, DIMENSIONS, NEAREST, THREADS = (50_000, 1_000_000), (1, 100), 128, 10, 2
LIBRARIES = ("tercet", "scikit-learn")
REPETITIONS, SECONDS = (3, 50), 5.0  # fewest and most; none is begun after so many seconds
BLOCK = 10_000  # vectors made at a time

Search = Callable[[NDArray[np.float32]], list[list[int]]]


def unit_vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Random directions."""
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def blocks(rows: int) -> list[tuple[int, int]]:
    """The gallery in parts, each a first row and a count."""
    return [(first, min(BLOCK, rows - first)) for first in range(0, rows, BLOCK)]


def ours(rows: int, folder: Path) -> Callable[[], Search]:
    """Make an index of so many vectors; return what opens it."""
    gallery = Gallery.create(folder, DIMENSIONS, model=None, fingerprint="random")
    for first, count in blocks(rows):
        names = [(f"photos/{number:07}.jpg", Stamp(0, 0)) for number in range(first, first + count)]
        gallery.put(names, unit_vectors(count, first))
    gallery.save()
    gallery.close()

    def open_index() -> Search:
        opened = Gallery.open(folder)
        return lambda queries: [
            [int(match.path[7:14]) for match in matches] for matches in opened.nearest(queries, NEAREST)
        ]

    return open_index


def peers(rows: int, _: Path) -> Callable[[], Search]:
    """The same for scikit-learn."""
    gallery = np.concatenate([unit_vectors(count, first) for first, count in blocks(rows)])

    def fit() -> Search:
        fitted = NearestNeighbors(n_neighbors=min(NEAREST, rows), algorithm="brute", metric="sqeuclidean").fit(gallery)
        return lambda queries: fitted.kneighbors(queries)[1].tolist()

    return fit


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """The least and the median seconds of several repetitions, after one that does not count."""
    work()
    times: list[float] = []
    started = time.perf_counter()
    fewest, most = REPETITIONS
    while len(times) < fewest or (len(times) < most and time.perf_counter() - started < SECONDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    least, middle = min(times), float(np.median(times))
    return {"seconds_min": round(least, 6), "seconds_median": round(middle, 6), "repetitions": len(times)}


def mapped_bytes() -> int:
    """What this process holds now of files that are mapped into memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return 1024 * int(line.split()[1])


def measure_here(library: str, rows: int) -> dict[str, Any]:
    """The figures of one library and number of rows; for a fresh process."""
    torch.set_num_threads(THREADS)
    make = {"tercet": ours, "scikit-learn": peers}[library]
    with tempfile.TemporaryDirectory() as temporary:
        make(100, Path(temporary) / "few")()(unit_vectors(2, 1))
        begin = make(rows, Path(temporary) / "index")
        before, mapped = peak_bytes(restart=True), mapped_bytes()
        opening, search = timed(begin), begin()
        found: dict[str, Any] = {"open_seconds": opening["seconds_min"]}
        for count in QUERIES:
            queries = unit_vectors(count, rows + 1)
            figures = timed(partial(search, queries))
            checksum = hashlib.sha256(json.dumps(search(queries)).encode()).hexdigest()[:16]
            found[f"queries_{count}"] = {**figures, "found": checksum}
        return {**found, "extra_memory_bytes": peak_bytes() - before, "mapped_bytes": mapped_bytes() - mapped}


def measure(library: str, rows: int) -> dict[str, Any]:
    """The record of one library and number of rows."""
    command = [sys.executable, "-m", "benchmarks.search", "--library", library, "--rows", str(rows)]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS)}
    answer = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"library": library, "rows": rows, "threads": THREADS, **json.loads(answer)}


def check(found: list[dict[str, Any]]) -> None:
    """Both libraries find the same."""
    for record, other in product(found, found):
        if record["rows"] == other["rows"]:
            for name in (f"queries_{count}" for count in QUERIES):
                assert record[name]["found"] == other[name]["found"], (record, other)


def table(found: list[dict[str, Any]]) -> str:
    """Least milliseconds of both, side by side."""
    lines = [["rows", "queries", *(f"{library}, ms" for library in LIBRARIES)]]
    for rows, count in product(sorted({record["rows"] for record in found}), QUERIES):
        sides = [records.select(found, library=library, rows=rows) for library in LIBRARIES]
        cells = [f"{1e3 * side[-1][f'queries_{count}']['seconds_min']:,.1f}" if side else "-" for side in sides]
        lines.append([f"{rows:,}", str(count), *cells])
    return markdown(lines)


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is there")
    parser.add_argument("--rows", type=int, help="of a trial")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)  # of a child
    options = parser.parse_args()
    if options.library:
        print(json.dumps(measure_here(options.library, options.rows)))
        return
    if options.rows:
        trial = [measure(library, options.rows) for library in LIBRARIES]
        print(json.dumps(trial, indent=2))
        check(trial)
        return
    for rows, library in product(ROWS, LIBRARIES):
        if not options.table and not records.has("search", library=library, rows=rows):
            records.append("search", {**measure(library, rows), "command": "python -m benchmarks.search"})
    check(records.read("search"))
    print(table(records.read("search")))


if __name__ == "__main__":
    main()
