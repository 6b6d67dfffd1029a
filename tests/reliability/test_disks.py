"""The disk that refuses: it counts every way in which Python writes, and refuses from the call asked for."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from reliability.disks import refusing
from tercet.files import make_folder, write_atomically


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def ways_to_write(folder):
    (folder / "new").mkdir()
    (folder / "a").write_bytes(b"1")
    (folder / "b").write_text("2")
    with (folder / "a").open("ab") as file:
        file.write(b"3")
        file.flush()
        os.fsync(file.fileno())
    (folder / "a").rename(folder / "c")
    np.save(folder / "d.npy", np.zeros(3))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"4")


def test_it_counts_every_way_to_write(folder, tmp_path):
    with refusing(folder) as disk:
        ways_to_write(folder)
        (tmp_path / "elsewhere").write_text("not counted")
        (folder / "b").read_bytes()
    *named, created, written = disk.calls
    assert (created.split()[0], written.split()[0]) == ("create", "write")
    assert [call for call in named if "d.npy" not in call] == [
        *("mkdir out/new", "create out/a", "write out/a", "create out/b", "write out/b"),
        *("write out/a", "fsync out/a", "rename out/a"),
    ]
    assert {"create out/d.npy", "write out/d.npy"} <= set(named)
    assert (folder / "c").read_bytes() == b"13"


def test_it_refuses_from_the_call_asked_for(folder):
    with refusing(folder) as disk:
        write_atomically(folder / "file", "old")
        count = len(disk.calls)
    assert [call.split()[0] for call in disk.calls] == ["create", "write", "fsync", "replace", "fsync"]
    for first in range(count):
        with refusing(folder, first), pytest.raises(OSError, match=r"\[Errno (28|5)\]") as caught:
            write_atomically(folder / "file", "new")
        assert caught.value.filename == str(folder / "file")
        with refusing(folder, first), pytest.raises(OSError, match=r"\[Errno (28|5)\]") as caught:
            make_folder(folder / str(first) / "a/b")
        assert str(folder) in caught.value.filename
    with refusing(folder, count):
        write_atomically(folder / "file", "newest")
    assert (folder / "file").read_text() == "newest"


def test_a_read_only_one_lets_nothing_be_removed(folder):
    (folder / "file").write_text("old")
    with refusing(folder, 0, errno.EROFS), pytest.raises(OSError, match="Read-only"):
        (folder / "file").unlink()
    with refusing(folder, 0):
        (folder / "file").unlink()
    assert not Path(folder / "file").exists()
