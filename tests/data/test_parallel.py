import threading
import time
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tercet.data import parallel
from tercet.data.archive import File
from tercet.data.parallel import decode_files


def gray(level):
    file = BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


def unreadable():
    raise OSError(13, "Permission denied")


@pytest.mark.parametrize("limit", ["BATCH_FILES", "BATCH_BYTES", "MAX_THREADS"])
def test_files_come_in_order_however_they_fall_into_batches(monkeypatch, limit):
    files = [File(f"{level}.png", partial(gray, level)) for level in range(50)]
    whole = list(decode_files(files, 4))
    monkeypatch.setattr(parallel, limit, {"BATCH_FILES": 7, "BATCH_BYTES": 1, "MAX_THREADS": 1}[limit])
    for level, (path, pixels) in enumerate(decode_files(files, 4)):
        assert (path, pixels.shape) == (f"{level}.png", (4, 4, 3))
        assert (pixels == level).all()
        assert np.array_equal(pixels, whole[level][1])


def test_a_file_that_cannot_be_had_or_decoded_is_a_reason():
    files = [File("a.png", unreadable), File("b.png", lambda: b"text"), File("c.png", partial(gray, 7))]
    (_, denied), (_, text), (_, pixels) = decode_files(files, 4)
    assert denied == "Permission denied"
    assert text == "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"
    assert (pixels == 7).all()


def test_no_files_give_nothing():
    assert list(decode_files([], 4)) == []


def test_only_a_few_batches_are_read_ahead(monkeypatch):
    monkeypatch.setattr(parallel, "BATCH_FILES", 1)
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    asked = []

    def note(level):
        asked.append(level)
        return gray(level)

    decoded = decode_files([File("", partial(note, level)) for level in range(100)], 4)
    next(decoded)
    assert len(asked) == 5  # two for each thread wait, and the one that made the first come


def test_large_files_are_read_one_at_a_time(monkeypatch):
    """Each is gone before the next is read."""
    monkeypatch.setattr(parallel, "HELD_BYTES", 100)
    monkeypatch.setattr(parallel, "BATCH_BYTES", 1)
    held = []

    class Content(bytes):
        def __del__(self):
            held.remove(len(self))

    def read():
        deadline = time.monotonic() + 5  # a thread gives its result before it lets go
        while held and time.monotonic() < deadline:
            time.sleep(0.001)
        assert held == []
        held.append(1000)
        return Content(1000)

    assert len(list(decode_files([File("", read)] * 5, 4))) == 5


def test_threads_decode_at_the_same_time(monkeypatch):
    meeting = threading.Barrier(2, timeout=10)  # broken, and so an error, where only one thread comes

    def wait(*_):
        meeting.wait()
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(parallel, "BATCH_FILES", 1)
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(parallel, "read_image", wait)
    started = time.monotonic()
    assert len(list(decode_files([File("", lambda: b"")] * 2, 4))) == 2
    assert time.monotonic() - started < 10
