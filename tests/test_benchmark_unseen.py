"""What is trained on and what is searched share no class, and every method is recorded once."""

from dataclasses import replace

import pytest
import torch
from benchmarks import records, unseen

from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset


@pytest.fixture
def dataset(make_set):
    """Bars and rows, each in two shades."""

    def shaded(images):
        labels = torch.arange(len(images)) % 4
        return ImageSet(
            (images.images // (1 + labels // 2)[:, None, None, None]).to(torch.uint8), labels, ("a", "b", "c", "d")
        )

    return Dataset("tiny", shaded(make_set(160)), shaded(make_set(40, seed=2)), None, 12)


def test_every_class_is_unseen_in_one_of_two_draws():
    for draw in (0, 2):
        seen, left_out = unseen.halves(10, draw)
        assert sorted(seen + left_out) == list(range(10))
        assert len(seen) == 5
        assert unseen.halves(10, draw + 1) == (left_out, seen)
    assert unseen.halves(10, 0) != unseen.halves(10, 2)


def test_only_the_images_of_the_classes_are_left_under_their_names():
    images = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 3, 4, 4)
    kept = unseen.only(ImageSet(images, torch.tensor([2, 0, 1, 2, 3, 0]), ("a", "b", "c", "d")), [2, 3])
    assert kept.images[:, 0, 0, 0].tolist() == [0, 3, 4]
    assert [kept.classes[label] for label in kept.labels] == ["c", "c", "d"]


def test_every_method_is_recorded_once(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    small = replace(unseen.PRESET, widths=(4, 4, 8), epochs=1, fewest_steps=4, batch_size=16, precision="fp32")
    monkeypatch.setattr(unseen, "PRESET", small)
    for _ in range(2):
        for method in unseen.METHODS:
            unseen.measure(method, 0, dataset)
    unseen.measure(unseen.OURS, 1, dataset)
    found = records.read("unseen")
    assert [record["method"] for record in found] == [*unseen.METHODS, unseen.OURS]
    assert {name for record in found[:2] for name in record["unseen"]} < set(dataset.train.classes)
    assert set(found[0]["unseen"]).isdisjoint(found[-1]["unseen"])
    assert all(0 < record["unseen_recall@1"] <= 1 for record in found)
    rows = unseen.table().splitlines()
    assert len(rows) == 2 + len(unseen.METHODS)
    assert f"| {unseen.OURS} | 2 |" in rows[2]
    assert f"| {unseen.TWIN} | 1 |" in rows[3]
