"""SIGKILL at any moment of a run, inside saving too: the same command then finishes it to the same bytes."""

import random
import signal
import sys
import time

import pytest

from reliability.tiers import counts
from reliability.victim import fingerprint, finish, leftovers, start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


@counts(2, 50)
def test_a_killed_run_ends_as_the_uninterrupted_one(count, folder, uninterrupted, tmp_path, record_property):
    draw, quicker, deaths = random.Random(0), 0, 0
    while deaths < count:
        out = tmp_path / f"run {deaths} {quicker}"
        if deaths % 2:  # at a write to the disk
            killed = start("run", folder, out, die_at=draw.randint(1, uninterrupted.told["writes"]))
        else:  # at any moment
            killed = start("run", folder, out)
            time.sleep(draw.uniform(0, uninterrupted.seconds))
            killed.kill()
        killed.communicate(timeout=300)
        assert killed.returncode in (0, -signal.SIGKILL)
        deaths += killed.returncode != 0
        quicker += killed.returncode == 0
        assert quicker <= 5 + count // 4
        finish(start("run", folder, out))
        assert fingerprint(out) == uninterrupted.fingerprint
        assert leftovers(out) == []
    record_property("killed", deaths)


@counts(1, 3)
def test_finished_stages_are_not_repeated(count, folder, uninterrupted, tmp_path):
    """Killed when all was done but the results, a run takes up everything it had."""
    stages = {"encoder", "same network, cross-entropy", "logistic regression", "t-SNE"}
    assert stages <= set(uninterrupted.told["stations"])
    for number in range(count):
        out = tmp_path / f"run {number}"
        killed = start("run", folder, out, die_at="results.json")
        killed.communicate(timeout=300)
        assert killed.returncode == -signal.SIGKILL
        told, _ = finish(start("run", folder, out))
        assert stages.isdisjoint(told["stations"])
        assert fingerprint(out) == uninterrupted.fingerprint
