"""The long tail falls as it is said to, is judged on other images, and every method is recorded once."""

from dataclasses import replace

import pytest
import torch
from benchmarks import imbalance, records

from tercet.data.sources import Dataset
from tercet.training import head


@pytest.fixture
def dataset(make_set):
    return Dataset("tiny", make_set(240), make_set(24, seed=2), None, 12)


def test_class_sizes_fall_geometrically_and_nothing_is_judged_that_was_learnt(monkeypatch):
    for name, value in (("MOST", 40), ("FEWEST", 10), ("JUDGED", 20)):
        monkeypatch.setattr(imbalance, name, value)
    images = torch.randint(256, (240, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    every = imbalance.ImageSet(images, torch.arange(240) % 4, ("a", "b", "c", "d"))
    tail, judged = imbalance.long_tail(every, seed=1)
    assert sorted(tail.class_counts()) == [round(40 / 4 ** (place / 3)) for place in (3, 2, 1, 0)]
    assert judged.class_counts() == [20] * 4
    learnt = {image.numpy().tobytes() for image in tail.images}
    assert not learnt & {image.numpy().tobytes() for image in judged.images}


def test_rare_classes_count_as_common_ones_where_it_says_so():
    labels = torch.tensor([0] * 6 + [1] * 2)
    outputs = torch.nn.functional.one_hot(torch.tensor([0] * 6 + [0, 1]), 2).float()
    train = imbalance.ImageSet(torch.zeros(8, 3, 4, 4, dtype=torch.uint8), labels, ("a", "b"))
    found = imbalance.figures(outputs, train, train)
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["accuracy_at_training_shares"] == pytest.approx(7 / 8)


def test_every_method_is_recorded_once(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    for name, value in (("MOST", 40), ("FEWEST", 10), ("JUDGED", 20)):
        monkeypatch.setattr(imbalance, name, value)
    monkeypatch.setattr(head, "EPOCHS", 1)
    monkeypatch.setattr(head, "FEWEST_STEPS", 10)
    small = replace(imbalance.CONFIG, widths=(4, 4, 8), epochs=1, fewest_steps=4, batch_size=16, precision="fp32")
    monkeypatch.setattr(imbalance, "CONFIG", small)
    for _ in range(2):
        imbalance.measure(0, dataset)
    found = records.read("imbalance")
    assert len({record["method"] for record in found}) == len(found) == 6
    assert {record["data"] for record in found} == {"tiny, 4:1"}
    assert imbalance.table().count("| tiny, 4:1 | majority |") == 1
    imbalance.measure(0, dataset._replace(name="cifar10"))
    assert imbalance.table().count("majority") == 2
    assert imbalance.table().count("| CIFAR-10, lossless, 4:1 | majority |") == 1
