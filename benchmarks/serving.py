"""Serving: how long a request of `tercet serve` takes, and how many are answered in a second.

    python -m benchmarks.serving                          measures what is not there yet
    python -m benchmarks.serving --requests 100           a trial, which is printed and not kept

The service runs in a process of its own over an untrained encoder of the default kind, since weights do not change
times: 32 pixels, 128 dimensions, ten classes. Eight clients, threads of this process with a connection each, send the
same PNG of 32 x 32 pixels to /api/predict, the next as soon as the last is answered; so the clients take their share of
the cores too, as a person's browser on the same machine does. A first round of a tenth as many requests is not counted.
Memory is the resident set of the service before the first and after the last request; Linux only. results/serving.jsonl
has one line.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import records
from benchmarks.around import SIDE, default_bundle

CLIENTS, REQUESTS, WARM_UP_SHARE = 8, 20_000, 0.1


def small_image() -> bytes:
    """A PNG of noise, 3 kB."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


@contextmanager
def service(model: Path) -> Iterator[tuple[int, int]]:
    """The process and the port of a service that runs until the end of the block, and must end well."""
    command = [sys.executable, "-m", "tercet", "serve", "--model", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.pid, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()
        assert process.wait() == 0


def ask(port: int, image: bytes, count: int) -> list[float]:
    """Ask as often over one connection; the seconds of each answer."""
    connection, seconds = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    for _ in range(count):
        started = time.perf_counter()
        connection.request("POST", "/api/predict", image)
        reply = connection.getresponse()
        content = reply.read()
        seconds.append(time.perf_counter() - started)
        assert reply.status == 200, content
    connection.close()
    return seconds


def ask_together(port: int, image: bytes, count: int) -> tuple[list[float], float]:
    """The same by all clients at once: the seconds of each answer, and of all together."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        started = time.perf_counter()
        shares = clients.map(partial(ask, port, image), [max(1, count // CLIENTS)] * CLIENTS)
        return [second for share in shares for second in share], time.perf_counter() - started


def resident_bytes(process: int) -> int:
    """What a process holds in memory now."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def measure(requests: int) -> dict[str, Any]:
    """Start the service, ask, and end it."""
    image = small_image()
    with tempfile.TemporaryDirectory(prefix="tercet-serving-") as folder:
        default_bundle().save(Path(folder) / "bundle")
        with service(Path(folder) / "bundle") as (process, port):
            before = resident_bytes(process)
            ask_together(port, image, int(WARM_UP_SHARE * requests))
            warm = resident_bytes(process)
            seconds, together = ask_together(port, image, requests)
            after = resident_bytes(process)
    p50, p95, p99 = (round(1000 * float(value), 2) for value in np.percentile(seconds, (50, 95, 99)))
    return {
        "clients": CLIENTS,
        "requests": len(seconds),
        "image_bytes": len(image),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "most_ms": round(1000 * max(seconds), 2),
        "requests_per_second": round(len(seconds) / together, 1),
        "memory_before_bytes": before,
        "memory_warm_bytes": warm,
        "memory_after_bytes": after,
    }


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, help="another number, for a trial")
    options = parser.parse_args()
    if options.requests:
        print(json.dumps(measure(options.requests), indent=2))
    elif not records.has("serving", clients=CLIENTS):
        records.append("serving", {**measure(REQUESTS), "command": "python -m benchmarks.serving"})


if __name__ == "__main__":
    main()
