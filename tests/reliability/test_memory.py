"""Memory is known beforehand: estimates hold against measured peaks, and what is too much is refused in a sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reliability.measured import JOBS

HERE = Path(__file__).parent
QUICK = ("folder", "coloured arrays", "fast encoder")
LINUX_ONLY = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system tells peaks on Linux only")


def finished(script, tmp_path, *words):
    """What a script printed, run where nothing it keeps stays."""
    environment = {**os.environ, "TERCET_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, HERE / script, words[0], tmp_path, *words[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@LINUX_ONLY
@pytest.mark.reliability
@pytest.mark.parametrize("job", [pytest.param(job, marks=[pytest.mark.slow] * (job in QUICK)) for job in JOBS])
def test_estimates_are_neither_too_low_nor_twice_too_high(job, tmp_path, record_property):
    found = finished("measured.py", tmp_path, job)
    record_property("job", job)
    record_property("estimated_bytes", found["estimated"])
    record_property("measured_bytes", found["measured"])
    assert 10**8 < found["measured"] <= found["estimated"] <= 2 * found["measured"]


REFUSALS = {
    "many_files": r"found 20,000 images for --size 224, .* give --size \d+ or less, or fewer images\.",
    "claimed_images": r"found the arrays images \[1000000000000, 32, 32, 3\], .* give fewer or smaller images\.",
    "enlarged_images": r"found 20,000 images for --size 224, .* give --size \d+ or less, or fewer images\.",
    "wide_batches": r"found batches of 432 images of 32 x 32 .* give --size 24, or in Python a batch_size of 216\.",
}


@LINUX_ONLY
@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.parametrize("job", REFUSALS)
def test_what_has_no_room_is_refused_in_one_sentence_before_it_is_begun(job, tmp_path, record_property):
    found = finished("short_of_memory.py", tmp_path, job)
    record_property("job", job)
    record_property("grown_bytes", found["grown"])
    record_property("seconds", round(found["seconds"], 1))
    assert re.fullmatch(REFUSALS[job], found["said"])
    assert found["status"] == 1
    assert found["grown"] < 200e6
    assert found["seconds"] < 60  # a few, on a machine that does nothing else
    assert not (tmp_path / "run").exists()


@LINUX_ONLY
@pytest.mark.reliability
@pytest.mark.parametrize("job", sorted(REFUSALS.keys() - {"claimed_images"}))
def test_without_the_refusal_memory_ends(job, tmp_path):
    """The control: the limit that the jobs above have is a real one."""
    found = finished("short_of_memory.py", tmp_path, job, "unchecked")
    assert re.search("MemoryError|can't allocate memory", found["said"])
