"""SIGINT and SIGTERM: saved at once, an exit status that says so, a resume to the same bytes; a second one is final."""

import random
import signal
import sys
import time

import pytest

from reliability.tiers import counts
from reliability.victim import fingerprint, finish, start, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
SECONDS_TO_SAVE, SECONDS_OF_A_SECOND = 5.0, 1.0


@counts(2, 20)
def test_a_signal_at_any_moment(count, folder, uninterrupted, tmp_path, record_property):
    draw, slowest, late, number = random.Random(0), 0.0, 0, 0
    while number < count:
        out, kind = tmp_path / f"run {number} {late}", (signal.SIGINT, signal.SIGTERM)[number % 2]
        process = start("run", folder, out, checkpoint_seconds=1e9)  # saved at the signal, or not at all
        wait_for(out / "run.json")
        time.sleep(draw.uniform(0, 0.9) * uninterrupted.seconds_of_work)
        sent = time.monotonic()
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        if (out / "report.html").exists() and not (out / "checkpoints").exists():  # it was quicker
            assert process.returncode in (0, -kind)  # as Python ends it no longer has handlers
            late += 1
            assert late <= 5 + count // 2
            continue
        number += 1
        slowest = max(slowest, time.monotonic() - sent)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[kind], said
        assert said.endswith("tercet: interrupted; the same command goes on where it stopped.\n")
        assert "Traceback" not in said
        finish(start("run", folder, out))
        assert fingerprint(out) == uninterrupted.fingerprint
    record_property("slowest end after a signal, s", round(slowest, 2))
    assert slowest < SECONDS_TO_SAVE


@counts(2, 10)
def test_a_signal_in_a_destructor_is_not_lost(count, folder, tmp_path):
    """Python drops what is raised there."""
    for number in range(count):
        kind, status = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[number % 2]
        process = start("destroyed", folder, tmp_path / f"run {number}")
        assert process.stdout.readline() == "destroyed\n"
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        assert process.returncode == status
        assert said == "tercet: interrupted; the same command goes on where it stopped.\n"


@counts(2, 10)
def test_a_second_signal_is_final(count, folder, tmp_path, record_property):
    """The first waits for a step that does not end; the second does not wait."""
    slowest = 0.0
    for number in range(count):
        kind = (signal.SIGINT, signal.SIGTERM)[number % 2]
        process = start("stuck", folder, tmp_path / f"run {number}")
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(kind)
        time.sleep(0.5)
        assert process.poll() is None
        sent = time.monotonic()
        process.send_signal(kind)
        process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - sent)
        assert process.returncode == -kind  # which a shell shows as 130 and 143
    record_property("slowest end after a second signal, s", round(slowest, 2))
    assert slowest < SECONDS_OF_A_SECOND
