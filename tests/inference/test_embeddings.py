import csv
import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tercet.errors import DataError, UsageError
from tercet.inference import embeddings
from tercet.inference.embeddings import embed_files

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


class MeanColour:
    """Stands for a Bundle: an image's embedding is its mean colour."""

    side = 8

    def embed(self, images):
        return images.mean((1, 2)).astype(np.float32)


def ignore(path, reason):
    pass


@pytest.fixture
def files(tmp_path, unchecked):
    names = [str(tmp_path / name) for name in ("a.png", "b b.png", "ü\U0001f40e.png")]
    for name, colour in zip(names, COLOURS, strict=True):
        Image.new("RGB", (8, 8), colour).save(name)
    return names


def test_npz_holds_embeddings_and_paths(files, tmp_path):
    told = []
    out = tmp_path / "out.npz"
    missing = str(tmp_path / "missing.png")
    assert embed_files(MeanColour(), [*files, missing], out, lambda path, reason: told.append(path)) == 3
    with np.load(out) as saved:
        assert saved["paths"].tolist() == files
        assert saved["embeddings"].dtype == np.float32
        assert saved["embeddings"].tolist() == [list(map(float, colour)) for colour in COLOURS]
    assert told == [missing]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["a.png", "b b.png", "out.npz", "ü\U0001f40e.png"]
    )


def test_csv_holds_a_row_an_image(files, tmp_path):
    out = tmp_path / "out.csv"
    assert embed_files(MeanColour(), files, out, ignore) == 3
    header, *rows = csv.reader(out.read_text(encoding="utf-8").splitlines())
    assert header == ["path", "e0", "e1", "e2"]
    assert [row[0] for row in rows] == files
    assert [tuple(map(float, row[1:])) for row in rows] == COLOURS


@pytest.mark.skipif(os.name != "posix", reason="elsewhere names are text")
@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_names_that_are_no_text_survive(files, tmp_path, ending):
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    os.link(files[0], odd)
    out = tmp_path / f"out{ending}"
    embed_files(MeanColour(), [os.fsdecode(odd)], out, ignore)
    if ending == ".npz":
        with np.load(out) as saved:
            assert os.fsencode(str(saved["paths"][0])) == odd
    else:
        assert odd in out.read_bytes()


def test_an_old_file_stays_where_nothing_can_be_read(files, tmp_path):
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")
    with pytest.raises(DataError, match="no readable image"):
        embed_files(MeanColour(), [str(tmp_path / "missing.png")], out, ignore)
    assert out.read_bytes() == b"old"


def test_another_ending_is_refused_before_any_work(files, tmp_path):
    with pytest.raises(UsageError, match=r"\.npz or \.csv"):
        embed_files(MeanColour(), files, tmp_path / "out.parquet", ignore)


def test_a_folder_that_is_not_there_is_told(files, tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        embed_files(MeanColour(), files, tmp_path / "none/out.npz", ignore)


@pytest.mark.parametrize("ending", [".npz", ".csv"])
def test_memory_does_not_grow_with_the_number_of_images(monkeypatch, tmp_path, unchecked, ending):
    def peak(count):
        def blocks(paths, side, on_unreadable):
            for start in range(0, count, 100):
                yield [f"{'x' * 80}{start + place}" for place in range(100)], np.zeros((100, 8, 8, 3), np.uint8)

        monkeypatch.setattr(embeddings, "readable_images", blocks)
        tracemalloc.start()
        assert embed_files(MeanColour(), ["unused"], tmp_path / f"out{ending}", ignore) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(20_000) < 1.5 * peak(2_000) + 200_000  # paths alone would take 7 MB
