"""A bad network and a sudden end: `fetch` has the right file or says why not, and goes on where it was."""

import contextlib
import hashlib
import random
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from mirror import serve
from official import NAMES, batch, members, write_archive
from reliability.tiers import counts
from tercet.data import cifar10
from tercet.data.cifar10 import FILES, fetch_cifar10
from tercet.data.download import download
from tercet.errors import DataError

PATIENCE = {"read_timeout_s": 0.5, "pauses_s": (0.0, 0.0)}
MOST_BYTES_SENT = 1.2  # times the file, where the server can go on in the middle
HEAD_BYTES = 200  # of an answer, or a little more
# The command line with another published archive and less patience; `{watch}` is run before.
PROGRAM = """
import sys
from tercet.data import cifar10
from tercet.data.download import download
cifar10.CHECKSUMS, download.__kwdefaults__["pauses_s"] = {checksums!r}, (0.0, 0.0)
{watch}
from tercet.cli import entry
entry()
"""
# Counts what is done to files below the folder, says so, and ends the process by SIGKILL before the one of that number.
WATCH = """
import os, signal
done = 0
def watch(event, arguments):
    global done
    if event in ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir") and str(arguments[0]).startswith({folder!r}):
        done += 1
        if done == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(2, b"operation\\n")
sys.addaudithook(watch)
"""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The binary archive on a server, and its checksum among the published ones."""
    content = write_archive(tmp_path / "archive", members("binary")).read_bytes()
    monkeypatch.setattr(cifar10, "CHECKSUMS", {hashlib.md5(content).hexdigest(): "cifar-10-binary.tar.gz"})
    monkeypatch.setattr(cifar10, "download", partial(download, **PATIENCE))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(content) as server:
        yield server


def check_whole(folder):
    """Both parts as the archive has them, and no other file but the lock."""
    assert sorted(path.name for path in folder.iterdir()) == ["cifar10.lock", *sorted(FILES.values())]
    for part, names in (("train", NAMES[:5]), ("test", NAMES[5:])):
        with np.load(folder / FILES[part], allow_pickle=False) as arrays:
            rows = np.concatenate([batch(name)[0] for name in names]).reshape(-1, 3, 32, 32)
            np.testing.assert_array_equal(arrays["images"], rows.transpose(0, 2, 3, 1))
            np.testing.assert_array_equal(arrays["labels"], np.concatenate([batch(name)[1] for name in names]))


def places(count, whole):
    """`count` numbers of bytes after which an answer may end: none, in its head, near both ends of the body, any."""
    drawn = random.Random(9)
    fixed = [0, 40, HEAD_BYTES, whole - 1]
    return fixed + [drawn.randrange(whole) for _ in range(count - len(fixed))]


@counts(few=5, full=30)
def test_a_cut_costs_no_more_than_what_was_lost(count, mirror, tmp_path, record_property):
    worst = 0.0
    for place in places(count, len(mirror.content)):
        mirror.passed, mirror.faults = [], [f"cut at {place}", f"stall at {place // 2}"]
        fetch_cifar10(tmp_path / f"data {place}", url=mirror.url)
        check_whole(tmp_path / f"data {place}")
        assert not mirror.faults
        worst = max(worst, sum(mirror.passed) / len(mirror.content))
    record_property("most_bytes_sent", round(worst, 3))
    assert worst <= MOST_BYTES_SENT


def changed_tag(mirror):
    mirror.tag = f'"{len(mirror.asked)}"'


def other_content(mirror):
    """The same tag, so the rest of another file is taken for that of this one."""
    mirror.content = mirror.content[::-1]


def no_ranges(mirror):
    mirror.has_ranges = False


BETWEEN_TRIES = {  # what becomes of the server after a cut -> what the next try says, nothing where it has the file
    "no ranges": (no_ranges, ""),
    "another tag": (changed_tag, ""),
    "reset": (lambda mirror: mirror.faults.append("reset"), ""),
    "another file under the same tag": (other_content, "was expected; it was removed"),
    "a log-in page": (lambda mirror: mirror.faults.append("page"), "gave a web page, not the file"),
    "silence": (lambda mirror: mirror.faults.extend(["stall at 0"] * 3), "(fell silent|cannot be downloaded)"),
    "refusal": (lambda mirror: mirror.faults.append("403"), "403 Forbidden"),
}


@pytest.mark.parametrize("kind", BETWEEN_TRIES)
@counts(few=2, full=30)
def test_the_right_file_or_a_clean_error(count, kind, mirror, tmp_path):
    change, complaint = BETWEEN_TRIES[kind]
    content = mirror.content
    for place in places(count, len(content)):
        folder = tmp_path / f"data {place}"
        mirror.faults = [f"cut at {place}"] * 3
        with contextlib.suppress(DataError):  # a cut that brings something forward is forgiven
            fetch_cifar10(folder, url=mirror.url)
        mirror.faults = []
        change(mirror)
        if complaint and not cifar10.is_kept(folder):
            with pytest.raises(DataError, match=complaint):
                fetch_cifar10(folder, url=mirror.url)
            assert not cifar10.is_kept(folder)
        mirror.content, mirror.faults, mirror.tag, mirror.has_ranges = content, [], '"first"', True
        fetch_cifar10(folder, url=mirror.url)
        check_whole(folder)


def start(mirror, folder, watch=""):
    """`tercet fetch` as a process of its own."""
    program = PROGRAM.format(checksums=cifar10.CHECKSUMS, watch=watch)
    command = ["fetch", "cifar10", "--url", mirror.url, "--data-dir", str(folder)]
    return subprocess.Popen([sys.executable, "-c", program, *command], stderr=subprocess.PIPE, text=True)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@counts(few=1, full=3)
def test_two_processes_download_once(count, mirror, tmp_path):
    for number in range(count):
        folder = tmp_path / f"data {number}"
        mirror.asked, mirror.faults = [], [f"hold at {number * 60_000}"]
        mirror.released.clear()
        processes = [start(mirror, folder) for _ in range(2)]
        said = [process.stderr.readline() for process in processes]
        assert sum("another process works" in line for line in said) == 1
        mirror.released.set()
        for process in processes:
            process.communicate(timeout=60)
        assert [process.returncode for process in processes] == [0, 0]
        assert len(mirror.asked) == 1
        check_whole(folder)


@counts(few=2, full=10)
def test_a_download_that_was_killed_is_taken_up_again(count, mirror, tmp_path, record_property):
    worst = 0.0
    for number in range(count):
        folder = tmp_path / f"data {number}"
        part = folder / f"{cifar10.DOWNLOAD}.part"
        mirror.passed, mirror.faults = (
            [],
            [f"stall at {HEAD_BYTES + (number + 1) * len(mirror.content) // (count + 1)}"],
        )
        process = start(mirror, folder)
        wait_until(lambda: part.exists() and part.stat().st_size)  # noqa: B023
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        fetch_cifar10(folder, url=mirror.url)
        check_whole(folder)
        worst = max(worst, sum(mirror.passed) / len(mirror.content))
    record_property("most_bytes_sent", round(worst, 3))
    assert worst <= MOST_BYTES_SENT


@counts(few=4, full=40)
def test_killed_before_any_operation_on_a_file_it_ends_well_the_next_time(count, mirror, tmp_path, record_property):
    _, said = start(mirror, tmp_path / "whole", WATCH.format(folder=str(tmp_path / "whole"), number=0)).communicate()
    operations = said.count("operation\n")
    numbers = sorted({1 + place * (operations - 1) // (count - 1) for place in range(count)})
    for number in numbers:
        folder = tmp_path / f"data {number}"
        process = start(mirror, folder, WATCH.format(folder=str(folder), number=number))
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        fetch_cifar10(folder, url=mirror.url)
        check_whole(folder)
    record_property("kills", f"{len(numbers)} before {operations} operations")
