"""SIGKILL at any moment of a run, inside saving too: the same command then finishes it to the same bytes."""

import random
import signal
import sys
import time

import pytest

from pictures import write_folder
from reliability.tiers import counts
from reliability.victim import fingerprint, finish, leftovers, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


@counts(2, 50)
def test_a_killed_run_ends_as_the_uninterrupted_one(count, tmp_path, record_property):
    data = write_folder(tmp_path / "pictures", 24)
    begun = time.monotonic()
    writes = finish(start("run", data, tmp_path / "whole"))[0]["writes"]
    seconds = time.monotonic() - begun
    whole, draw, quicker, deaths = fingerprint(tmp_path / "whole"), random.Random(0), 0, 0
    while deaths < count:
        out = tmp_path / f"run {deaths} {quicker}"
        if deaths % 2:  # at a write to the disk
            killed = start("run", data, out, die_at=draw.randint(1, writes))
        else:  # at any moment
            killed = start("run", data, out)
            time.sleep(draw.uniform(0, seconds))
            killed.kill()
        killed.communicate(timeout=300)
        assert killed.returncode in (0, -signal.SIGKILL)
        deaths += killed.returncode != 0
        quicker += killed.returncode == 0
        assert quicker <= 5 + count // 4
        finish(start("run", data, out))
        assert fingerprint(out) == whole
        assert leftovers(out) == []
    record_property("killed", deaths)


@counts(1, 3)
def test_finished_stages_are_not_repeated(count, tmp_path):
    """Killed when all was done but the results, a run takes up everything it had."""
    data = write_folder(tmp_path / "pictures", 24)
    told, _ = finish(start("run", data, tmp_path / "whole"))
    stages = {"encoder", "same network, cross-entropy", "logistic regression", "t-SNE"}
    assert stages <= set(told["stations"])
    for number in range(count):
        out = tmp_path / f"run {number}"
        killed = start("run", data, out, die_at="results.json")
        killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL
        told, _ = finish(start("run", data, out))
        assert stages.isdisjoint(told["stations"])
        assert fingerprint(out) == fingerprint(tmp_path / "whole")
