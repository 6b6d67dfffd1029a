import zipfile

import numpy as np
import pytest

from tercet.data import archive
from tercet.data.npz import read_npz
from tercet.errors import DataError

IMAGES = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.npz"


def test_names(file):
    np.savez(file, images=IMAGES, labels=["dog", "cat", "dog"])
    train = read_npz(file)["train"]
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [1, 0, 1]
    assert (train.images.permute(0, 2, 3, 1).numpy() == IMAGES).all()


def test_indices_with_and_without_classes(file):
    np.savez(file, images=IMAGES[..., 0], labels=[1, 0, 1])
    assert read_npz(file)["train"].classes == ("0", "1")
    np.savez(file, images=IMAGES[..., 0], labels=[1, 0, 1], classes=["dog", "cat"])
    assert read_npz(file)["train"].classes == ("dog", "cat")
    assert read_npz(file)["train"].labels.tolist() == [1, 0, 1]


def test_parts_share_their_classes_even_where_one_is_missing(file):
    np.savez(file, train_images=IMAGES, train_labels=[10, 9, 2], test_images=IMAGES[:1], test_labels=[10])
    parts = read_npz(file)
    assert parts["train"].classes == parts["test"].classes == ("2", "9", "10")
    assert parts["train"].labels.tolist() == [2, 1, 0]
    assert parts["test"].labels.tolist() == [2]


@pytest.mark.parametrize(("train", "validation"), [("", "val_"), ("train_", "validation_"), ("train_", "val_")])
def test_no_part_is_passed_over(file, train, validation):
    names = {"train": train, "test": "test_", "validation": validation}
    labels = dict(zip(names, ([1, 0, 1], [0, 1, 1], [1, 1, 0]), strict=True))
    labels["train"] = np.array(labels["train"], np.uint64)
    arrays = {f"{prefix}images": IMAGES for prefix in names.values()}
    np.savez(file, **arrays, **{f"{prefix}labels": labels[part] for part, prefix in names.items()})
    parts = read_npz(file)
    assert {part: images.labels.tolist() for part, images in parts.items()} == {
        part: list(map(int, of_part)) for part, of_part in labels.items()
    }
    assert parts["train"].classes == ("0", "1")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": IMAGES, "labels": [0, 1, 2], "train_images": IMAGES}, "expected images and labels"),
        ({"images": IMAGES, "labels": [0, 1, 0], "classes": 7}, "classes of type int64 and shape \\[\\]"),
        ({"images": IMAGES, "labels": [0, 1, 0], "classes": [b"a", b"b"]}, "classes of type .S1 and shape \\[2\\]"),
        ({"images": IMAGES}, "found the arrays \\['images'\\]"),
        ({"x": IMAGES, "y": [0, 1, 2]}, "found the arrays \\['x', 'y'\\] .* expected images and labels"),
        (
            {"train_images": IMAGES, **{f"a{number}": [0] for number in range(12)}},
            "\\['train_images', 'a0', .*'a6'\\] in",
        ),
        ({"test_images": IMAGES, "test_labels": [0, 1, 2]}, "expected images and labels"),
        ({"train_images": IMAGES, "train_labels": [0, 1, 2], "test_images": IMAGES}, "expected images and labels"),
        ({"images": IMAGES, "labels": [0.0, 1.0, 2.0]}, "labels of type float64"),
        ({"images": IMAGES, "labels": [0, 1]}, "labels of shape \\[2\\] for 3 images"),
        ({"images": IMAGES.astype(float), "labels": [0, 1, 2]}, "images of type float64"),
        ({"images": IMAGES, "labels": np.array(["a", None, 1], dtype=object)}, "no readable .npz of plain arrays"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_told(file, arrays, says):
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=says):
        read_npz(file)


def test_a_damaged_file_is_an_error(file):
    np.savez_compressed(file, images=IMAGES, labels=[0, 1, 2])
    whole = file.read_bytes()
    for content in (b"", b"just text", whole[:-30], whole[:80] + b"\0\0\0\0" + whole[84:]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"no readable \.npz"):
            read_npz(file)


def test_what_claims_to_be_larger_than_any_memory_or_unpacks_to_far_more_than_it_is(file, monkeypatch):
    np.savez(file, images=IMAGES, labels=[0, 1, 2])
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"(3, 2, 2, 3), }" + b" " * 12, b"(3, 2, 2, 3" + b"0" * 12 + b"), }"))
    with pytest.raises(DataError, match=r"no readable \.npz"):
        read_npz(file)
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 1_000)
    np.savez_compressed(file, images=np.zeros((100, 100, 100), np.uint8), labels=np.zeros(100, int))
    with pytest.raises(DataError, match="unpacks to more than 100 times its size"):
        read_npz(file)


def test_what_is_no_array_in_it(file):
    with zipfile.ZipFile(file, "w") as bundle:
        bundle.writestr("images.npy", b"no array")
        bundle.writestr("labels.npy", b"no array")
    with pytest.raises(DataError, match=r"no readable \.npz of plain arrays \(the magic string"):
        read_npz(file)


def test_a_single_array_under_the_name_of_several(file):
    with file.open("wb") as stream:
        np.save(stream, IMAGES)
    with pytest.raises(DataError, match=r"no readable \.npz"):
        read_npz(file)
