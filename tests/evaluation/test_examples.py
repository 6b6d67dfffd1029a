import csv
import io

import numpy as np
import torch
from PIL import Image

from tercet.data.imageset import ImageSet
from tercet.evaluation import examples
from tercet.evaluation.examples import (
    COLUMNS,
    confident_mistakes,
    save_examples,
    save_thumbnails,
    save_training_images,
    shown_indices,
    spread_over_classes,
)
from tercet.evaluation.thumbnails import columns_of, read_tiles


def test_all_images_are_shown_or_a_random_sample_of_the_seed(monkeypatch):
    assert shown_indices(10_000, 0).equal(torch.arange(10_000))
    monkeypatch.setattr(examples, "MOST_SHOWN", 50)
    sample = shown_indices(500, 0)
    assert len(sample.unique()) == 50
    assert sample.equal(sample.sort().values)
    assert sample.max() > 400
    assert sample.equal(shown_indices(500, 0))
    assert not sample.equal(shown_indices(500, 1))


def test_queries_are_spread_over_the_classes():
    labels = torch.tensor([0] * 90 + [1] * 5 + [2])
    chosen = spread_over_classes(labels, 9, seed=0)
    assert labels[chosen].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert len(chosen.unique()) == 9
    many = spread_over_classes(torch.arange(100), 10, seed=0)
    assert len(many) == 10
    assert many.max() > 20  # of many classes not only the first
    assert len(spread_over_classes(labels[-3:], 10, seed=0)) == 3


def test_mistakes_come_most_confident_first():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    assert confident_mistakes(probabilities, torch.tensor([0, 1, 0, 1])).tolist() == [2, 1]
    assert confident_mistakes(probabilities, torch.tensor([0, 1, 0, 1]), count=1).tolist() == [2]
    assert confident_mistakes(probabilities, torch.tensor([0, 0, 1, 1])).tolist() == []


def test_neighbors_and_pictures_are_those_of_the_embedding(tmp_path):
    def plain(levels, labels, paths=()):
        images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).clone()
        return ImageSet(images, torch.tensor(labels), ("dark", "light"), paths)

    train, test = (
        plain([10, 20, 200, 210], [0, 0, 1, 1], ("a.png", "b.png", "c.png", "d.png")),
        plain([12, 203], [0, 1]),
    )
    embeddings = [images.images[:, 0, 0, :1].float() for images in (train, test)]
    wrong_once = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    save_examples(tmp_path, (train, embeddings[0]), (test, embeddings[1]), wrong_once, seed=0)
    with np.load(tmp_path / "examples.npz", allow_pickle=False) as saved:
        arrays = dict(saved)
    assert arrays["queries"].tolist() == [0, 1]
    assert arrays["neighbors"].tolist() == [[0, 1, 2, 3], [2, 3, 1, 0]]
    assert arrays["neighbor_labels"].tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert arrays["neighbor_paths"][0].tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert np.allclose(arrays["distances"][0], [2, 8, 188, 198])
    assert arrays["mistakes"].tolist() == [1]
    tiles, side = read_tiles(tmp_path / "examples.webp", COLUMNS)
    levels = [Image.open(io.BytesIO(tile)).convert("RGB").getpixel((0, 0))[0] for tile in tiles]
    assert side == 8
    assert levels[:11] == [12, 10, 20, 200, 210, 203, 200, 210, 20, 10, 203]  # queries with neighbours, then mistakes


def test_thumbnails_are_written_in_the_order_shown(tmp_path, tiny_set):
    save_thumbnails(tmp_path, tiny_set, torch.tensor([3, 5]))
    tiles, side = read_tiles(tmp_path / "thumbnails.webp", 2)
    assert (len(tiles), side) == (2, 12)


def rows_of(path):
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_each_training_image_is_named_and_a_sample_is_shown(tmp_path, tiny_set, monkeypatch):
    names = tuple(f'a, b/{index:03} "ü\udcff".png' for index in range(len(tiny_set)))
    train = ImageSet(tiny_set.images, tiny_set.labels, tiny_set.classes, names)
    save_training_images(tmp_path, train, seed=0)
    rows = rows_of(tmp_path / "train_images.csv")
    assert [row["path"] for row in rows] == list(names)
    assert [row["label"] for row in rows] == [train.classes[label] for label in train.labels.tolist()]
    assert [row["tile"] for row in rows] == [str(index) for index in range(48)]
    monkeypatch.setattr(examples, "MOST_PICTURED", 10)
    levels = torch.arange(48, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8) * 5
    save_training_images(tmp_path, ImageSet(levels.clone(), train.labels, train.classes), seed=0)
    rows = rows_of(tmp_path / "train_images.csv")
    pictured = [row for row in rows if row["tile"]]
    assert [row["tile"] for row in pictured] == [str(tile) for tile in range(10)]
    assert {row["path"] for row in rows} == {""}
    tiles, side = read_tiles(tmp_path / "train_thumbnails.webp", columns_of(10))
    assert side == 8
    for row, tile in zip(pictured, tiles, strict=False):
        level = Image.open(io.BytesIO(tile)).convert("RGB").getpixel((4, 4))[0]
        assert abs(level - 5 * int(row["index"])) <= 3
    before = (tmp_path / "train_images.csv").read_bytes(), (tmp_path / "train_thumbnails.webp").read_bytes()
    save_training_images(tmp_path, ImageSet(levels.clone(), train.labels, train.classes), seed=0)
    assert before == ((tmp_path / "train_images.csv").read_bytes(), (tmp_path / "train_thumbnails.webp").read_bytes())
    save_training_images(tmp_path, ImageSet(levels.clone(), train.labels, train.classes), seed=1)
    assert rows_of(tmp_path / "train_images.csv") != rows
