import errno
import os
import stat
import sys
import tracemalloc
from pathlib import Path

import pytest

from tercet.errors import UsageError
from tercet.files import (
    SealError,
    at_home,
    is_unfinished,
    make_folder,
    read_sealed,
    replacing,
    write_atomically,
    write_sealed,
)


@pytest.mark.parametrize(("content", "wanted"), [(b"\x00\xff", b"\x00\xff"), ("né\n", b"n\xc3\xa9\n"), ("", b"")])
def test_writes_bytes_and_text(tmp_path, content, wanted):
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == wanted
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_replaces_what_was_there(tmp_path):
    for content in ("a long first version", "short"):
        write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_text() == "short"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    write_atomically(tmp_path / "file", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync" if step == "fsync" else "pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_interrupt_leaves_no_part_either(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_others_may_read_it(tmp_path):
    write_atomically(tmp_path / "file", "text")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", "text")


@pytest.mark.parametrize("content", [b"", b"\x00", bytes(range(256)) * 99])
def test_a_sealed_file_gives_back_its_content(tmp_path, content):
    write_sealed(tmp_path / "file", content)
    assert read_sealed(tmp_path / "file") == content


def test_every_change_of_a_sealed_file_is_noticed(tmp_path):
    write_sealed(tmp_path / "file", b"four")
    whole = (tmp_path / "file").read_bytes()
    flipped = [(int.from_bytes(whole) ^ 1 << bit).to_bytes(len(whole)) for bit in range(0, 8 * len(whole), 5)]
    cut, longer = [whole[:length] for length in range(len(whole))], [whole + b"\0", b"\0" + whole, whole * 2]
    for harmed in (*flipped, *cut, *longer):
        (tmp_path / "file").write_bytes(harmed)
        with pytest.raises(SealError, match="does not match its checksum"):
            read_sealed(tmp_path / "file")


def test_sealing_copies_nothing(tmp_path):
    content = bytes(4_000_000)
    tracemalloc.start()
    write_sealed(tmp_path / "file", content)
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    assert read_sealed(tmp_path / "file") == content
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written < 0.1 * len(content)
    assert read < 1.1 * len(content)


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.chmod", "pathlib.Path.replace", "tempfile.mkstemp"])
def test_what_the_disk_refuses_names_the_file(tmp_path, monkeypatch, step):
    monkeypatch.setattr(step, refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "file", "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "file"))


def test_a_refusal_to_clean_up_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", refuse)
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: (tmp_path / "missing").stat())
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", "new")


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    def copy_what_is_missing():
        with replacing(tmp_path / "file") as file:
            file.write((tmp_path / "source").read_bytes())

    with pytest.raises(FileNotFoundError) as caught:
        copy_what_is_missing()
    assert caught.value.filename == str(tmp_path / "source")


def test_what_a_killed_process_was_writing_is_known_by_its_name(tmp_path):
    with replacing(tmp_path / "file"):
        (part,) = tmp_path.iterdir()
        assert is_unfinished(part)
    assert not any(map(is_unfinished, (tmp_path / "file", tmp_path / "archive.part", tmp_path / ".hidden")))


def test_makes_folders_above_too_and_leaves_what_is_there(tmp_path):
    for _ in range(2):
        make_folder(tmp_path / "a/b/c")
        assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        make_folder(tmp_path / "file" / "a")


def test_a_link_stays_one_and_who_may_read_stays_too(tmp_path):
    (tmp_path / "private").write_text("old")
    (tmp_path / "private").chmod(0o600)
    (tmp_path / "link").symlink_to("private")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "private").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_is_neither_file_nor_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file"):
        write_atomically(tmp_path / "pipe", "new")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(UsageError, match="found an empty path"):
        at_home("")
    assert at_home("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")
