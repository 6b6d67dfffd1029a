"""What is read around a model, what is said to be missing, and where a new image is put on the map."""

import csv
import shutil

import numpy as np
import pytest
import torch

from tercet.errors import ModelError
from tercet.evaluation import examples
from tercet.evaluation.examples import save_training_images
from tercet.files import write_arrays
from tercet.inference.service.surroundings import Map, read_surroundings
from tercet.model.bundle import load_bundle


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def read(folder):
    return read_surroundings(folder, load_bundle(folder))


def test_the_run_folder_and_its_model_folder_are_the_same(run):
    whole, inside = read(run), read(run / "model")
    assert whole.name == inside.name == "patterns"
    assert whole.gallery.paths == inside.gallery.paths
    assert len(whole.map.data["x"]) == len(inside.map.embeddings) == 20
    assert whole.missing == ()


def test_a_bare_bundle_has_nothing_around_and_says_so(run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    found = read(tmp_path / "model")
    assert found.gallery is found.map is None
    assert len(found.missing) == 1
    assert "outside of a run folder" in found.missing[0]


@pytest.mark.parametrize(
    ("lacks", "says", "kept"),
    [
        (["embeddings.npz"], "no embeddings.npz", (False, False)),
        (["tsne.npz"], "no tsne.npz", (True, False)),
        (["train_images.csv"], "named but not shown", (True, True)),
        (["train_thumbnails.webp"], "named but not shown", (True, True)),
    ],
)
def test_an_older_run_says_what_it_lacks(copy, lacks, says, kept):
    for name in lacks:
        (copy / name).unlink()
    found = read(copy)
    assert len(found.missing) == 1
    assert says in found.missing[0]
    assert (found.gallery is not None, found.map is not None) == kept


def test_without_names_images_have_numbers_and_no_tiles(copy):
    (copy / "train_images.csv").unlink()
    gallery = read(copy).gallery
    first = gallery.nearest(gallery.embeddings[4:5], 1, pictured=True)[0]
    assert (first["name"], first["tile"]) == ("image 4", None)
    assert gallery.sheet == b""


def test_only_pictured_images_are_found_where_asked(copy, trained_on, monkeypatch):
    monkeypatch.setattr(examples, "MOST_PICTURED", 6)
    save_training_images(copy, trained_on, seed=0)
    with (copy / "train_images.csv").open(newline="") as file:
        tiles = {int(row["index"]): int(row["tile"]) for row in csv.DictReader(file) if row["tile"]}
    gallery = read(copy).gallery
    for row in range(30):
        found = gallery.nearest(gallery.embeddings[row : row + 1], 40, pictured=True)
        assert {neighbor["index"]: neighbor["tile"] for neighbor in found} == tiles
        assert row not in tiles or found[0]["index"] == row
        assert gallery.nearest(gallery.embeddings[row : row + 1], 40)[0]["index"] == row
        assert all(neighbor["label"] == trained_on.classes[neighbor["index"] % 3] for neighbor in found)


def test_names_that_are_no_text_become_readable(copy):
    text = (copy / "train_images.csv").read_bytes().replace("Bild ä 7".encode(), b"Bild \xff 7")
    (copy / "train_images.csv").write_bytes(text)
    assert read(copy).gallery.paths[7] == "checks/Bild ? 7.png"


def test_what_belongs_to_another_model_or_is_damaged_is_refused(copy):
    with np.load(copy / "embeddings.npz") as saved:
        arrays = dict(saved)
    changes = [
        {"classes": np.array(["a", "b", "c"])},
        {"train": arrays["train"][:, :5]},
        {"train_labels": arrays["train_labels"][:9]},
        {"train_labels": arrays["train_labels"] + 7},
    ]
    for change in changes:
        write_arrays(copy / "embeddings.npz", **{**arrays, **change})
        with pytest.raises(ModelError, match="damaged"):
            read(copy)
    (copy / "embeddings.npz").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"embeddings\.npz unreadable"):
        read(copy)


def test_a_mapped_image_lies_on_its_own_point_and_others_between(model):
    drawn = model.surroundings.map
    for row in range(20):
        place = drawn.place(drawn.embeddings[row : row + 1])
        assert place["x"] == pytest.approx(drawn.data["x"][row], abs=5)
        assert place["y"] == pytest.approx(drawn.data["y"][row], abs=5)


def test_the_nearer_count_more():
    data = {"x": [0, 300, 0, 0], "y": [0, 600, 0, 0], "labels": [0, 1, 0, 0], "classes": ["a", "b"]}
    drawn = Map(torch.tensor([[0.0], [3.0], [9.0], [9.0]]), data)
    place = drawn.place(torch.tensor([[1.0]]))  # squared distances 1 and 4, so weights 4/5 and 1/5
    assert place == {"x": 60, "y": 120, "neighbors": [0, 1], "classes": [("a", 1), ("b", 1)]}


@pytest.mark.parametrize(("mapped", "count"), [(4, 2), (18, 4), (99, 9), (400, 10)])
def test_of_a_few_mapped_images_fewer_count(mapped, count):
    data = {"x": [0] * mapped, "y": [0] * mapped, "labels": [0] * mapped, "classes": ["a"]}
    drawn = Map(torch.arange(mapped).float()[:, None], data)
    assert drawn.place(torch.tensor([[0.0]]))["neighbors"] == [*range(count)]
