"""Folders that are no index, hold something else or are damaged: one sentence each, and nothing is touched."""

import json
import sqlite3

import numpy as np
import pytest

from tercet.errors import ModelError
from tercet.inference.gallery import Gallery, Stamp
from tercet.inference.generations import map_vectors, write_header


@pytest.fixture
def saved(tmp_path):
    gallery = Gallery.create(tmp_path / "index", 4, model=None, fingerprint="f00d")
    gallery.put([("a", Stamp(1, 1)), ("b", Stamp(1, 1))], np.eye(2, 4, dtype=np.float32))
    gallery.save()
    gallery.close()
    return tmp_path / "index"


def change(folder, **entries):
    file = folder / "index.json"
    found = {**json.loads(file.read_text()), **entries}
    file.write_text(json.dumps({key: value for key, value in found.items() if value != "absent"}))


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-2] ^= 1  # among the numbers of the vectors, and in what a data base leaves unused
    file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "index.json").write_text("{"),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "index.json").write_bytes(b"\xff"),
        lambda folder: (folder / "index.json").write_text('{"format":' + "[" * 99_999),
        lambda folder: change(folder, count=3),
        lambda folder: change(folder, dimensions=8),
        lambda folder: change(folder, fingerprint="absent"),
        lambda folder: change(folder, vectors="../vectors-1.npy"),
        lambda folder: change(folder, paths="paths-2.sqlite"),
        lambda folder: change(folder, vectors=1),
        lambda folder: change(folder, model=3),
        lambda folder: change(folder, dimensions=None),
        lambda folder: change(folder, dimensions=True),
        lambda folder: change(folder, digests={"vectors-1.npy": float("nan"), "paths-1.sqlite": ""}),
        lambda folder: change(folder, dimensions=-4),
        lambda folder: change(folder, dimensions=2**62),
        lambda folder: (folder / "vectors-1.npy").unlink(),
        lambda folder: (folder / "vectors-1.npy").write_bytes((folder / "vectors-1.npy").read_bytes()[:-1]),
        lambda folder: (folder / "vectors-1.npy").write_bytes(b""),
        lambda folder: np.save(folder / "vectors-1.npy", np.eye(2, 4)),
        lambda folder: flip_a_bit(folder / "vectors-1.npy"),
        lambda folder: flip_a_bit(folder / "paths-1.sqlite"),
        lambda folder: change(folder, digests={}),
        lambda folder: change(folder, digests={"vectors-1.npy": "", "../paths-1.sqlite": ""}),
        lambda folder: (folder / "paths-1.sqlite").unlink(),
        lambda folder: (folder / "paths-1.sqlite").write_bytes(b"no data base of ours, but long enough to be one" * 99),
    ],
)
def test_what_is_damaged_is_one_sentence(saved, harm):
    harm(saved)
    with pytest.raises(ModelError, match=r"^the index in .*index is damaged \(\w+\); remove it and index again\.$"):
        Gallery.open(saved)


def test_no_index_is_said(tmp_path):
    (tmp_path / "file").write_text("text")
    for name in ("nowhere", "file", "."):
        with pytest.raises(ModelError, match="found no index in"):
            Gallery.open(tmp_path / name)


def test_a_folder_with_other_files_is_left_alone(tmp_path, saved):
    (tmp_path / "file").write_text("text")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/vectors-x.npy").write_text("not ours")
    with pytest.raises(ModelError, match="found other files in"):
        Gallery.create(tmp_path / "photos", 4, model=None, fingerprint="f00d")
    with pytest.raises(ModelError, match="cannot hold an index"):
        Gallery.create(tmp_path / "file", 4, model=None, fingerprint="f00d")
    with pytest.raises(ModelError, match="holds an index already"):
        Gallery.create(saved, 4, model=None, fingerprint="f00d")


def test_what_a_crash_left_of_a_new_index_is_no_hindrance(saved):
    (saved / "index.json").unlink()
    gallery = Gallery.create(saved, 4, model=None, fingerprint="f00d")
    gallery.put([("c", Stamp(1, 1))], np.eye(1, 4, dtype=np.float32))
    gallery.save()
    assert gallery.nearest(np.eye(1, 4, dtype=np.float32), 5) == [[("c", 0.0)]]


def test_an_index_made_anew_by_another_model_is_not_changed_by_mistake(saved):
    gallery = Gallery.open(saved)
    change(saved, fingerprint="beef")
    with pytest.raises(ModelError, match=r"was made anew by another model meanwhile; open it again\.$"):
        gallery.remove("a")


@pytest.mark.parametrize("target", ["vectors", "paths"])
def test_a_full_disk_is_one_sentence_and_the_old_index_stays(saved, target, monkeypatch):
    def full(*_):
        raise (
            OSError(28, "No space left on device") if target == "vectors" else sqlite3.OperationalError("disk is full")
        )

    gallery = Gallery.open(saved)
    monkeypatch.setattr("tercet.inference.gallery.write_header", full)
    with pytest.raises(ModelError, match=r"cannot be written \((No space left on device|disk is full)\); make room"):
        gallery.remove("a")
    monkeypatch.undo()
    gallery.close()
    assert len(Gallery.open(saved)) == 2
    again = Gallery.open(saved)  # the lock is free
    assert again.remove("a") == 1


@pytest.mark.parametrize("rows", [0, 1, 10, 10**6])
def test_a_header_keeps_its_length_as_rows_are_added(tmp_path, rows):
    with (tmp_path / "vectors.npy").open("w+b") as stream:
        begin = write_header(stream, 10**9, 128)
        assert write_header(stream, rows, 128) == begin
        assert begin % 64 == 0
        stream.truncate(begin + rows * 512)
    assert map_vectors(tmp_path / "vectors.npy").shape == (rows, 128)


def test_what_is_no_array_has_no_vectors(tmp_path):
    np.savez(tmp_path / "several.npz", a=np.zeros((2, 4), np.float32))
    np.save(tmp_path / "numbers.npy", np.zeros((2, 4)))
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    for name, says in (("several.npz", "no array"), ("numbers.npy", "float64"), ("objects.npy", "Python objects")):
        with pytest.raises(ValueError, match=says):
            map_vectors(tmp_path / name)
