"""The replay of crashes: it finds what careless writers lose, and nothing that the model does not allow."""

import os
import shutil
import sqlite3

import pytest

from reliability.crashes import changes, drawn, picks, recording, variants

OLD, NEW = b"old content", b"and the new one"


@pytest.fixture
def folder(tmp_path):
    """A folder with one file, all of it on the disk."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_bytes(OLD)
    return tmp_path / "root"


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def in_place(folder):
    (folder / "file").write_bytes(NEW)
    sync(folder / "file")


def renamed(folder, *synced):
    """Write aside and rename; in full with fsync of "content" and of "entry"."""
    (folder / "part").write_bytes(NEW)
    if "content" in synced:
        sync(folder / "part")
    (folder / "part").replace(folder / "file")
    if "entry" in synced:
        sync(folder)


def left(folder, write):
    """What may be in `file` before `write` has returned, and after."""
    with recording(folder) as history:
        write(folder)
        history.note("returned")
    crashes = list(history.crashes())
    return tuple({crash.tree.get("file") for crash in crashes if bool(crash.notes) is after} for after in (False, True))


def test_a_careful_writer_leaves_old_or_new_and_then_new(folder):
    assert left(folder, lambda folder: renamed(folder, "content", "entry")) == ({OLD, NEW}, {NEW})


def test_a_writer_in_place_is_caught(folder):
    during, after = left(folder, in_place)
    half = NEW[: len(NEW) // 2]
    assert during == {OLD, NEW, b"", half, half.ljust(len(NEW), b"\0")}
    assert after == {NEW}


def test_a_rename_without_fsync_of_the_content_is_caught(folder):
    during, _ = left(folder, lambda folder: renamed(folder, "entry"))
    assert {b"", NEW[: len(NEW) // 2]} < during


def test_a_rename_without_fsync_of_the_folder_is_caught(folder):
    _, after = left(folder, lambda folder: renamed(folder, "content"))
    assert after == {OLD, NEW}


def test_a_manifest_before_its_data_is_caught(folder):
    def write(names):
        with recording(folder) as history:
            for name in names:
                (folder / f"{name}.part").write_bytes(NEW)
                sync(folder / f"{name}.part")
                (folder / f"{name}.part").rename(folder / name)
                sync(folder)
        trees = [crash.tree for crash in history.crashes()]
        shutil.rmtree(folder)
        folder.mkdir()
        return [tree for tree in trees if "manifest" in tree and "data" not in tree]

    assert write(["manifest", "data"])
    assert not write(["data", "manifest"])


def test_a_new_folder_lasts_from_the_fsync_of_the_one_above(folder):
    with recording(folder) as history:
        (folder / "a").mkdir()
        (folder / "a/b").write_bytes(NEW)
        sync(folder / "a/b")
        sync(folder / "a")
        history.note("written")
        sync(folder)
        history.note("lasting")
    trees = {
        notes: [crash.tree for crash in history.crashes() if crash.notes == notes]
        for notes in (("written",), ("written", "lasting"))
    }
    assert {"file": OLD} in trees["written",]
    assert trees["written", "lasting"] == [{"a": None, "file": OLD, "a/b": NEW}]


def test_removals_may_have_happened_in_any_order(folder):
    (folder / "other").write_bytes(NEW)
    with recording(folder) as history:
        (folder / "file").unlink()
        (folder / "other").unlink()
    assert {frozenset(crash.tree) for crash in history.crashes()} == {
        frozenset(names) for names in ((), ("file",), ("other",), ("file", "other"))
    }


def test_writers_outside_of_python_are_seen(folder):
    with recording(folder) as history:
        files = sqlite3.connect(folder / "paths.sqlite")
        files.execute("CREATE TABLE files (path)")
        files.close()
        history.note("closed")
    found = {crash.tree["paths.sqlite"][:6] for crash in history.crashes() if "paths.sqlite" in crash.tree}
    assert found == {b"", b"SQLite"}


def test_a_removed_file_and_a_new_one_are_not_taken_for_a_rename(folder):
    with recording(folder) as history:
        (folder / "file").unlink()
        (folder / "second").write_bytes(NEW)  # to which many file systems give the inode of the first
        sync(folder / "second")
    assert OLD not in {crash.tree.get("second") for crash in history.crashes()}
    assert {"file", "second"} in [set(crash.tree) for crash in history.crashes()]


def test_without_forgets_one_kind_of_fsync(folder):
    with recording(folder) as history:
        renamed(folder, "content", "entry")
        history.note("returned")
    careful = [crash.tree["file"] for crash in history.crashes() if crash.notes]
    assert careful == [NEW]
    assert b"" in {crash.tree["file"] for crash in history.without("files").crashes()}
    assert OLD in {crash.tree["file"] for crash in history.without("folders").crashes() if crash.notes}


def test_changes_of_entries():
    before = {(0, "a"): 1, (0, "b"): 2, (3, "c"): 4}
    after = {(0, "b"): 1, (0, "a"): 5, (0, "c"): 4}
    renamed_over, new, here, not_there = {(0, "a"): None, (0, "b"): 1}, {(0, "a"): 5}, {(0, "c"): 4}, {(3, "c"): None}
    assert changes(before, after) == [renamed_over, new, here, not_there]


def test_many_states_are_drawn_by_lot_with_both_extremes(folder):
    with recording(folder) as history:
        for number in range(12):
            (folder / str(number)).write_bytes(NEW)
    sizes = {len(crash.tree) for crash in history.crashes(most=50)}
    assert {1, 13} <= sizes
    assert len(list(history.crashes(most=50))) <= 52
    assert drawn(history.crashes(), 3) == drawn(history.crashes(), 3)
    assert len(drawn(history.crashes(), 3)) == 3


def test_a_crash_is_written_as_it_was(folder, tmp_path):
    with recording(folder) as history:
        (folder / "a").mkdir()
        (folder / "a/b").write_bytes(NEW)
    *_, last = history.crashes()
    written = last.write(tmp_path / "replayed")
    assert (written / "a/b").read_bytes() == last.tree["a/b"]
    assert (written / "file").read_bytes() == OLD


def test_half_a_file_is_cut_or_filled_with_zeros():
    assert variants(b"", b"1234") == (b"", b"12", b"12\0\0", b"1234")
    assert variants(b"12", b"") == (b"12", b"")
    assert list(picks([(False, True), (1, 2)], 4, None)) == [(False, 1), (False, 2), (True, 1), (True, 2)]
