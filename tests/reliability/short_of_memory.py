"""Run as a script, in a process of its own: one job with a gigabyte left to it; prints how that ended.

    python short_of_memory.py JOB FOLDER [unchecked]

prints {"status": of the exit, "said": the sentence, "grown": bytes, "seconds": ...}. `unchecked` takes the refusal out,
so that a test can see that it is needed; "said" is then the error that came instead.
"""

import json
import os
import resource
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.lib import format as npy
from PIL import Image

import tercet.pipeline
from reliability.measured import measured_growth
from tercet import footprint
from tercet.config import Config
from tercet.data import cache, npz, room
from tercet.errors import TercetError

LEFT = 10**9


def many_files(root):
    """Twenty thousand links to one picture."""
    Image.new("RGB", (20, 20), "red").save(root / "picture.png")
    for place in range(20_000):
        link = root / "data" / "ab"[place % 2] / f"{place}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(root / "picture.png", link)
    return root / "data", Config(size=224)


def claimed_images(root):
    """An .npz of a few hundred bytes whose header claims 10^12 images."""
    with zipfile.ZipFile(root / "data.npz", "w") as archive, archive.open("images.npy", "w") as member:
        shape = (10**12, 32, 32, 3)
        npy.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": shape})
        member.write(b"\0" * 100)
    return root / "data.npz", Config()


def enlarged_images(root):
    """Small images that --size 224 makes large."""
    images = np.zeros((20_000, 8, 8, 3), np.uint8)
    np.savez(root / "data.npz", images=images, labels=np.arange(20_000) % 2)
    return root / "data.npz", Config(size=224)


def wide_batches(root):
    """A batch of a million, brought down to what keeps 1.5 GB, of images that are no trouble themselves."""
    images = np.random.default_rng(0).integers(256, size=(6_000, 32, 32, 3), dtype=np.uint8)
    np.savez(root / "data.npz", images=images, labels=np.arange(6_000) % 2)
    return root / "data.npz", Config(size=32, batch_size=10**6, widths=(64, 256, 256), device="cpu", precision="fp32")


JOBS = {job.__name__: job for job in (many_files, claimed_images, enlarged_images, wide_batches)}


def main(job, root, *words):
    data, config = JOBS[job](root)
    torch.set_num_threads(2)
    torch.ones(10, 10) @ torch.ones(10, 10)  # threads begin here
    if words:
        for module in (cache, footprint, npz, room):
            module.require_memory = lambda *_: None
    started, status, said = time.monotonic(), 0, ""
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + LEFT, resource.RLIM_INFINITY))
    with measured_growth() as growth:
        try:
            tercet.pipeline.train(data, out=root / "run", config=config)
        except TercetError as error:
            status, said = error.status, str(error)
        except (MemoryError, RuntimeError) as error:
            status, said = 1, f"{type(error).__name__}: {error}"
    print(json.dumps({"status": status, "said": said, "grown": growth(), "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
