import pytest

from tercet.data.layout import arrange
from tercet.errors import DataError


def places(*paths):
    return [tuple(place) for place in arrange(paths)[0]]


def test_class_folders():
    assert places("dog/1.jpg", "cat/2.jpg", "cat/1.jpg") == [
        ("train", "cat", "cat/1.jpg"),
        ("train", "cat", "cat/2.jpg"),
        ("train", "dog", "dog/1.jpg"),
    ]


@pytest.mark.parametrize("val", ["val", "validation"])
def test_parts(val):
    assert places("train/cat/1.jpg", "test/cat/2.jpg", f"{val}/cat/3.jpg") == [
        ("test", "cat", "test/cat/2.jpg"),
        ("train", "cat", "train/cat/1.jpg"),
        ("validation", "cat", f"{val}/cat/3.jpg"),
    ]


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("training", "testing"), ("TRAIN", "valid")])
def test_parts_by_their_other_names(train, test):
    part = "validation" if test == "valid" else "test"
    assert places(f"{train}/cat/1.jpg", f"{test}/cat/2.jpg", f"{train}/dog/3.jpg") == sorted(
        [
            ("train", "cat", f"{train}/cat/1.jpg"),
            (part, "cat", f"{test}/cat/2.jpg"),
            ("train", "dog", f"{train}/dog/3.jpg"),
        ]
    )


def test_one_wrapping_folder_is_looked_through():
    assert places("cifar10/train/cat/1.jpg", "cifar10/test/cat/1.jpg")[1] == ("train", "cat", "cifar10/train/cat/1.jpg")
    assert places("pets/cat/1.jpg", "pets/dog/1.jpg")[1] == ("train", "dog", "pets/dog/1.jpg")


def test_a_single_class_folder_is_no_wrapping():
    assert places("cat/1.jpg", "cat/2.jpg")[0] == ("train", "cat", "cat/1.jpg")


def test_folders_inside_a_class_belong_to_it():
    assert places("cat/2020/1.jpg", "dog/1.jpg")[0] == ("train", "cat", "cat/2020/1.jpg")


def test_a_class_may_be_called_train():
    assert [place[1] for place in places("train/1.jpg", "car/1.jpg", "bus/1.jpg")] == ["bus", "car", "train"]


def test_images_outside_of_class_folders_are_named():
    _, strays = arrange(["train/cat/1.jpg", "test/cat/1.jpg", "train/2.jpg", "logo.png", "raw/cat/1.jpg"])
    assert strays == ["logo.png", "raw/cat/1.jpg", "train/2.jpg"]


def test_parts_without_train_are_refused():
    with pytest.raises(DataError, match="found test/ and val/ but no train/"):
        arrange(["test/cat/1.jpg", "val/cat/1.jpg"])
