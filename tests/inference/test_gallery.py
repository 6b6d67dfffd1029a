"""The gallery on vectors alone: what is found, what lasts, what a crash leaves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tercet.errors import ModelError
from tercet.inference import gallery as module
from tercet.inference.gallery import Gallery, Stamp

STAMP = Stamp(10, 20)


def vectors(count, seed=0, dimensions=4):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)


def names(count, start=0):
    return [f"{number:03}.png" for number in range(start, start + count)]


def create(folder, dimensions=4):
    return Gallery.create(Path(folder), dimensions, model="runs/a", fingerprint="f00d")


def put(gallery, paths, rows):
    return gallery.put([(path, STAMP) for path in paths], rows)


def content(gallery):
    """What the gallery holds, asked for by searching."""
    queries = np.zeros((1, gallery.dimensions), np.float32)
    return dict(gallery.nearest(queries, 1000)[0])


def expected(paths, rows):
    return {path: pytest.approx(float(row @ row), rel=1e-5) for path, row in zip(paths, rows, strict=True)}


@pytest.fixture
def saved(tmp_path):
    """Five vectors in a folder."""
    gallery = create(tmp_path / "index")
    put(gallery, names(5), vectors(5))
    gallery.save()
    gallery.close()
    return tmp_path / "index"


def files_of(folder):
    return sorted(file.name for file in folder.iterdir() if file.name != "index.lock")


def test_finds_what_sorting_all_distances_finds(tmp_path):
    rows, queries = vectors(300), vectors(7, seed=1)
    gallery = create(tmp_path / "index")
    put(gallery, names(300), rows)
    every = np.square(queries[:, None] - rows[None]).sum(2)  # [M, N]
    for query, matches in enumerate(gallery.nearest(queries, 5)):
        order = every[query].argsort()[:5]
        assert [match.path for match in matches] == [names(300)[index] for index in order]
        np.testing.assert_allclose([match.distance for match in matches], every[query][order], rtol=1e-5)


def test_equal_vectors_are_0_apart_however_long_and_come_by_path(tmp_path):
    gallery = create(tmp_path / "index")
    rows = np.repeat(1000 * vectors(2), 2, axis=0)
    put(gallery, ["b", "a", "d", "c"], rows)
    assert gallery.nearest(rows[:1], 2) == [[("a", 0.0), ("b", 0.0)]]


def test_an_empty_one_finds_nothing_and_can_be_saved(tmp_path):
    gallery = create(tmp_path / "index")
    assert gallery.nearest(vectors(2), 3) == [[], []]
    gallery.save()
    again = Gallery.open(tmp_path / "index")
    assert len(again) == 0
    assert again.nearest(vectors(2), 3) == [[], []]
    put(again, names(1), vectors(1))
    again.save()
    assert len(Gallery.open(tmp_path / "index")) == 1


def test_what_is_saved_is_there_again(saved):
    gallery = Gallery.open(saved)
    assert content(gallery) == expected(names(5), vectors(5))
    assert (gallery.model, gallery.fingerprint, gallery.dimensions) == ("runs/a", "f00d", 4)
    assert gallery.stamp("001.png") == STAMP
    assert gallery.stamp("elsewhere.png") is None
    np.testing.assert_array_equal(np.load(saved / "vectors-1.npy"), vectors(5))


def test_a_path_that_is_there_gets_the_new_vector(saved):
    gallery = Gallery.open(saved)
    assert put(gallery, ["003.png", "new.png", "003.png"], vectors(3, seed=2)) == 1
    rows = np.concatenate([vectors(5), vectors(3, seed=2)[1:]])
    rows[3] = rows[6]
    assert content(gallery) == expected([*names(5), "new.png"], rows[:6])
    gallery.save()
    assert content(Gallery.open(saved)) == expected([*names(5), "new.png"], rows[:6])
    assert files_of(saved) == ["index.json", "paths-2.sqlite", "vectors-2.npy"]


@pytest.mark.parametrize("gone", [[0], [4], [0, 4], [1, 2, 3], [0, 1, 2, 3, 4], [3, 4]])
def test_removal_leaves_each_other_path_its_vector(saved, gone):
    gallery = Gallery.open(saved)
    assert [gallery.remove(names(5)[index]) for index in gone] == [1] * len(gone)
    assert gallery.remove(names(5)[gone[0]]) == 0
    kept = [index for index in range(5) if index not in gone]
    assert content(gallery) == expected([names(5)[index] for index in kept], vectors(5)[kept])
    put(gallery, ["new.png"], vectors(1, seed=3))
    gallery.save()
    rows = np.concatenate([vectors(5)[kept], vectors(1, seed=3)])
    assert (saved / "vectors-2.npy").stat().st_size == 128 + rows.nbytes
    assert content(Gallery.open(saved)) == expected([*(names(5)[index] for index in kept), "new.png"], rows)


@pytest.mark.parametrize(
    ("folder", "gone"),
    [
        ("a", {"a/1", "a/b/2", "a/b.c/3"}),
        ("./a/b/", {"a/b/2"}),
        (".", {"a/1", "a/b/2", "a/b.c/3", "ab", "a%/4", "x_y/5", "xzy/6"}),
        ("/", {"/a/1"}),
        ("..", {"../a/1"}),
        ("a%", {"a%/4"}),
        ("x_y", {"x_y/5"}),
        ("A", set()),
    ],
)
def test_a_folder_takes_out_what_lies_in_it(tmp_path, folder, gone):
    paths = ["a/1", "a/b/2", "a/b.c/3", "ab", "a%/4", "x_y/5", "xzy/6", "/a/1", "../a/1"]
    gallery = create(tmp_path / "index")
    put(gallery, paths, vectors(9))
    assert gallery.remove(folder) == len(gone)
    assert set(content(gallery)) == set(paths) - gone


def test_a_path_may_hold_any_character(tmp_path):
    paths = [
        "a b",
        "tab\tand\nline",
        "Übergrößenträger/写真.jpg",
        "quote'\"",
        os.fsdecode(b"\xff\xfe"),
        "🙂",
        "%s",
        "-k",
    ]
    gallery = create(tmp_path / "größe %20?#\n" / "index")
    put(gallery, paths, vectors(8))
    gallery.save()
    assert content(Gallery.open(gallery.folder)) == expected(paths, vectors(8))


def test_who_searches_meanwhile_goes_on_in_what_was_there(saved):
    reader, writer = Gallery.open(saved), Gallery.open(saved)
    put(writer, names(5), vectors(5, seed=4))
    writer.remove("000.png")
    before = content(reader)
    writer.save()
    assert content(reader) == before == expected(names(5), vectors(5))
    assert len(Gallery.open(saved)) == 4


def test_a_generation_that_goes_as_it_is_opened_is_not_missed(saved, monkeypatch):
    map_vectors = module.map_vectors

    def map_late(file):
        monkeypatch.setattr(module, "map_vectors", map_vectors)
        writer = Gallery.open(saved)
        put(writer, ["new.png"], vectors(1))
        writer.save()
        return map_vectors(file)

    monkeypatch.setattr(module, "map_vectors", map_late)
    assert len(Gallery.open(saved)) == 6


def test_one_at_a_time_changes_and_the_next_sees_what_was_saved(saved):
    first, second = Gallery.open(saved), Gallery.open(saved)
    put(first, ["one"], vectors(1))
    with pytest.raises(ModelError, match=r"another process is changing .*index; wait until it is done\.$"):
        put(second, ["two"], vectors(1))
    first.save()
    put(second, ["two"], vectors(1))
    second.save()
    assert set(content(Gallery.open(saved))) == {*names(5), "one", "two"}


def test_closing_drops_what_was_not_saved(saved):
    gallery = Gallery.open(saved)
    put(gallery, ["new.png"], vectors(1))
    gallery.close()
    assert files_of(saved) == ["index.json", "paths-1.sqlite", "vectors-1.npy"]
    assert content(Gallery.open(saved)) == expected(names(5), vectors(5))


def test_each_generation_is_checked_once(saved, monkeypatch):
    checked = []
    monkeypatch.setattr("tercet.inference.gallery.check_digests", lambda _, digests: checked.append(sorted(digests)))
    gallery = Gallery.open(saved)
    put(gallery, ["new.png"], vectors(1))
    gallery.save()
    gallery.close()
    assert checked == [["paths-1.sqlite", "vectors-1.npy"]]
    Gallery.open(saved)
    assert checked[1:] == [["paths-2.sqlite", "vectors-2.npy"]]


def test_saving_without_a_change_writes_nothing(saved):
    gallery = Gallery.open(saved)
    gallery.save()
    assert files_of(saved)[1] == "paths-1.sqlite"
    gallery.model = "moved/a"
    gallery.save()
    assert Gallery.open(saved).model == "moved/a"


@pytest.mark.skipif(sys.platform == "win32", reason="kill is POSIX")
@pytest.mark.parametrize("step", ["os.fsync", "module.write_description", "module.remove_unnamed"])
def test_a_crash_leaves_the_old_or_the_new_whole(saved, step):
    """Killed as `step` is called for the first time: half written, all written but not named, named."""
    program = f"""
import os, signal
from pathlib import Path
import numpy as np
from tercet.inference import gallery as module
index = module.Gallery.open(Path({str(saved)!r}))
index.put([("new.png", module.Stamp(1, 1)), ("000.png", module.Stamp(1, 1))], np.ones((2, 4), np.float32))
index.remove("001.png")
{step} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
index.save()
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    named = step == "module.remove_unnamed"
    assert len(files_of(saved)) == 5
    found = content(Gallery.open(saved))
    assert set(found) == ({"new.png", *names(5)} - {"001.png"} if named else set(names(5)))
    if not named:
        assert found == expected(names(5), vectors(5))
    gallery = Gallery.open(saved)
    put(gallery, ["after.png"], vectors(1))
    gallery.save()
    assert len(files_of(saved)) == 3
    assert len(Gallery.open(saved)) == 6
