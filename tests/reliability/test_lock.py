"""A run folder has one owner: a second process says whose it is and leaves, and a dead owner holds up nobody."""

import json
import sys

import pytest

from reliability.tiers import counts
from reliability.victim import fingerprint, finish, start, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")


@counts(1, 5)
def test_the_second_leaves_and_the_first_is_not_disturbed(count, folder, uninterrupted, tmp_path):
    for number in range(count):
        out = tmp_path / f"run {number}"
        first = start("run", folder, out)
        wait_for(out / "run.json")
        second = start("run", folder, out)
        _, said = second.communicate(timeout=300)
        assert second.returncode == 2
        assert f"tercet: {out} is in use by process {first.pid} on " in said
        assert "Traceback" not in said
        finish(first)
        assert fingerprint(out) == uninterrupted.fingerprint


@counts(1, 5)
def test_a_dead_owner_is_recognised(count, folder, tmp_path):
    for number in range(count):
        out = tmp_path / f"run {number}"
        first = start("run", folder, out)
        wait_for(out / "run.json")
        first.kill()
        first.communicate(timeout=300)
        assert json.loads((out / ".owner.json").read_text())["process"] == first.pid
        _, said = finish(start("run", folder, out))
        assert f"process {first.pid} on" in said
        assert "going on with the run of 20" in said
