"""Reading folders: seconds and peak memory of the first time and of the second, from the cache.

    python -m benchmarks.loading small                    100,000 images of 32 x 32 in 10 classes
    python -m benchmarks.loading photos                   500 photographs of many formats, up to 24 megapixels, in 5
    python -m benchmarks.loading small --files 2000       a trial, which is printed and not kept

The files are made in a temporary folder first, which takes minutes and, for the photographs, about two gigabytes. Each
reading is a process of its own, for its peak memory to be its own; it opens the data set, splits off the validation
part and takes the fingerprints, as every run does. What was made just now is in the system's memory, so no disk is
measured. results/loading.jsonl has one line a job. Memory beyond what the program itself takes is stated as a share of
the decoded pixels too: they are held twice while they are split into parts, and a few files come to it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import records
from tercet.data.sources import open_dataset
from tercet.memory import peak_memory_bytes
from tercet.preparation import describe_data

FILES = {"small": 100_000, "photos": 500}
# Pixels across and down, kind of file, options; one after the other, so that each class has all.
PHOTOGRAPHS: list[tuple[int, int, str, dict[str, Any]]] = [
    *((6000, 4000, "JPEG", {}), (4000, 6000, "JPEG", {}), (4000, 3000, "JPEG", {"progressive": True})),
    *((3000, 4000, "JPEG", {}), (1600, 1200, "JPEG", {}), (1024, 768, "JPEG", {}), (640, 480, "JPEG", {})),
    *((6000, 4000, "PNG", {"compress_level": 1}), (1920, 1080, "PNG", {"compress_level": 1}), (800, 600, "WEBP", {})),
    *((2000, 1500, "TIFF", {}), (500, 375, "GIF", {}), (900, 1200, "JPEG", {}), (1280, 960, "JPEG", {})),
]


def write_small(root: Path, count: int) -> None:
    """Noise of 32 x 32, half PNG and half JPEG."""
    generator = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class {number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        image.save(folder / f"{number:06}.{'png' if number % 2 else 'jpg'}")


def write_photographs(root: Path, count: int) -> None:
    """Cuts out of one large picture that has coarse and fine detail, as photographs have."""
    generator = np.random.default_rng(0)
    layers = [generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (12, 60, 300, 1500)]
    large = [Image.fromarray(layer).resize((6600, 6600), Image.Resampling.BICUBIC) for layer in layers]
    picture = large[0]
    for share, layer in zip((0.4, 0.3, 0.15), large[1:], strict=True):
        picture = Image.blend(picture, layer, share)
    for number in range(count):
        width, height, kind, options = PHOTOGRAPHS[number // 5 % len(PHOTOGRAPHS)]
        left, top = (int(generator.integers(0, 6600 - side + 1)) for side in (width, height))
        folder = root / f"class {number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        image = picture.crop((left, top, left + width, top + height))
        image.save(folder / f"{number:03}.{kind.lower()}", kind, **options)


def read(folder: Path) -> dict[str, Any]:
    """Open a folder as a run does; the seconds and the memory it took."""
    before, started = peak_memory_bytes(), time.perf_counter()
    dataset = open_dataset(folder)
    opened = time.perf_counter()
    train, validation = dataset.train.split(seed=0)
    facts = describe_data(dataset, train, validation)
    parts = (train, validation, dataset.test)
    peak, pixels = peak_memory_bytes(), sum(part.images.numel() for part in parts)
    assert before
    assert peak
    return {
        "size": facts["size"],
        "images": sum(len(part) for part in parts),
        "skipped": facts["skipped"],
        "open_seconds": round(opened - started, 2),
        "split_and_fingerprint_seconds": round(time.perf_counter() - opened, 2),
        "pixel_bytes": pixels,
        "peak_memory_bytes": peak,
        "memory_before_bytes": before,
        "peak_share_of_pixels": round((peak - before) / pixels, 2),
    }


def measure(job: str, files: int) -> dict[str, Any]:
    """Make the files and read them twice."""
    with tempfile.TemporaryDirectory(prefix="tercet-loading-") as folder:
        root = Path(folder) / job
        command = [sys.executable, "-m", "benchmarks.loading", job, "--folder", str(root)]
        # A process of its own as well: on Linux a child's peak begins at what its parent holds.
        subprocess.run([*command, "--files", str(files)], check=True)
        environment = os.environ | {"TERCET_CACHE": str(Path(folder) / "cache")}
        first, second = (
            json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
            for _ in range(2)
        )
        file_bytes = sum(path.stat().st_size for path in root.rglob("*.*"))
    return {"job": job, "files": files, "file_bytes": file_bytes, "first": first, "from_cache": second}


def main() -> None:
    """Measure what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=FILES)
    parser.add_argument("--files", type=int, help="another number, for a trial")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of a child: to write, or else to read
    options = parser.parse_args()
    if options.folder and options.files:
        {"small": write_small, "photos": write_photographs}[options.job](options.folder, options.files)
    elif options.folder:
        print(json.dumps(read(options.folder)))
    elif options.files:
        print(json.dumps(measure(options.job, options.files), indent=2))
    elif not records.has("loading", job=options.job):
        found = measure(options.job, FILES[options.job])
        command = f"python -m benchmarks.loading {options.job}"
        records.append("loading", {**found, "command": command})


if __name__ == "__main__":
    main()
