import numpy as np
import pytest
import torch

from tercet.data.imageset import ImageSet
from tercet.errors import DataError


def of_labels(labels, classes=("a", "b", "c")):
    """Images whose every pixel is the image's position."""
    levels = torch.arange(len(labels), dtype=torch.uint8)
    return ImageSet(
        images=levels[:, None, None, None].expand(-1, 3, 2, 2).contiguous(),
        labels=torch.tensor(labels, dtype=torch.int64),
        classes=classes,
        paths=tuple(f"{position}.png" for position in range(len(labels))),
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": torch.zeros(2, 3, 4, 4)}, "type torch.float32"),
        ({"images": torch.zeros(2, 4, 4, 3, dtype=torch.uint8)}, "shape \\[2, 4, 4, 3\\]"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "labels of type torch.int64 and shape \\[3\\] for 2"),
        ({"labels": torch.zeros(2, dtype=torch.int32)}, "type torch.int32"),
        ({"labels": torch.tensor([0, 2])}, "labels from 0 to 2 for 2 classes"),
        ({"labels": torch.tensor([-1, 0])}, "labels from -1 to 0"),
        ({"classes": ("a", "a")}, "each name once"),
        ({"paths": ("one.png",)}, "1 paths for 2 images"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refuses_what_is_no_set_of_labelled_images(change, says):
    good = {
        "images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        "labels": torch.tensor([0, 1]),
        "classes": ("a", "b"),
        "paths": ("one.png", "two.png"),
    }
    ImageSet(**good)
    with pytest.raises(DataError, match=says):
        ImageSet(**(good | change))


def test_from_arrays_moves_channels_first_and_numbers_names_in_order():
    images = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    made = ImageSet.from_arrays(images, ["dog", "cat"])
    assert made.classes == ("cat", "dog")
    assert made.labels.tolist() == [1, 0]
    assert made.images[1, 2, 0, 1] == images[1, 0, 1, 2]


def test_from_arrays_makes_gray_images_rgb():
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    made = ImageSet.from_arrays(images, [0, 1])
    assert made.images.shape == (2, 3, 2, 2)
    assert all(torch.equal(made.images[:, channel], torch.from_numpy(images)) for channel in range(3))


def test_from_arrays_takes_indices_or_names_with_classes():
    images = np.zeros((2, 1, 1, 3), dtype=np.uint8)
    assert ImageSet.from_arrays(images, [1, 0], ["dog", "cat"]).labels.tolist() == [1, 0]
    assert ImageSet.from_arrays(images, ["cat", "dog"], ["dog", "cat"]).labels.tolist() == [1, 0]
    assert ImageSet.from_arrays(images, [10, 9]).classes == ("9", "10")
    with pytest.raises(DataError, match="the label 'cow'"):
        ImageSet.from_arrays(images, ["cow", "dog"], ["dog", "cat"])


@pytest.mark.parametrize("labels", [[0.0, 1.0], [b"cat", b"dog"]])
def test_from_arrays_refuses_labels_that_are_no_names(labels):
    with pytest.raises(DataError, match="expected class names or integer indices"):
        ImageSet.from_arrays(np.zeros((2, 1, 1), dtype=np.uint8), labels)


def test_from_arrays_shares_no_memory_with_its_argument():
    images = np.zeros((2, 1, 1, 3), dtype=np.uint8)  # of one pixel each, so that either layout is the same memory
    made = ImageSet.from_arrays(images, [0, 1])
    images[:] = 9
    assert made.images.max() == 0


def test_from_arrays_gives_one_fingerprint_whatever_kind_of_text_the_classes_are():
    images = np.zeros((2, 1, 1, 3), dtype=np.uint8)
    plain = ImageSet.from_arrays(images, [0, 1], ["cat", "dog"])
    numpy_text = ImageSet.from_arrays(images, [0, 1], np.array(["cat", "dog"]))
    assert plain.fingerprint() == numpy_text.fingerprint()


def test_select_keeps_order_labels_and_paths_together():
    chosen = of_labels([0, 1, 2]).select(torch.tensor([2, 0]))
    assert chosen.images[:, 0, 0, 0].tolist() == [2, 0]
    assert chosen.labels.tolist() == [2, 0]
    assert chosen.paths == ("2.png", "0.png")
    assert chosen.classes == ("a", "b", "c")


def test_split_is_stratified_disjoint_complete_and_takes_one_image_a_class():
    whole = of_labels([0] * 40 + [1] * 20 + [2] * 3)
    rest, part = whole.split(seed=0, share=0.1)
    assert part.class_counts() == [4, 2, 1]
    assert rest.class_counts() == [36, 18, 2]
    assert set(rest.paths) | set(part.paths) == set(whole.paths)
    assert not set(rest.paths) & set(part.paths)


def test_split_never_takes_all_of_a_class():
    rest, part = of_labels([0, 1, 1, 2, 2, 2]).split(seed=0, share=1.0)
    assert rest.class_counts() == [1, 1, 1]
    assert part.class_counts() == [0, 1, 2]


def test_split_depends_on_the_seed_alone():
    whole = of_labels([0] * 20 + [1] * 20, ("a", "b"))
    assert whole.split(seed=1)[1].paths == whole.split(seed=1)[1].paths
    assert whole.split(seed=1)[1].paths != whole.split(seed=2)[1].paths


def test_class_counts_include_classes_without_images():
    assert of_labels([0, 0, 2]).class_counts() == [2, 0, 1]


def test_channel_statistics_agree_with_numpy():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    mean, std = ImageSet.from_arrays(images, [0] * 7).channel_statistics()
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 1, 2)), rtol=1e-6)


def test_channel_statistics_of_one_colour_can_be_divided_by():
    mean, std = ImageSet.from_arrays(np.full((2, 3, 3), 7, dtype=np.uint8), [0, 1]).channel_statistics()
    assert mean.tolist() == [7, 7, 7]
    assert std.tolist() == [1, 1, 1]


def test_fingerprint_changes_with_a_pixel_a_label_or_a_name_and_with_nothing_else():
    images, labels = torch.zeros(2, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1])
    original = ImageSet(images, labels, ("a", "b")).fingerprint()
    pixel = images.clone()
    pixel[1, 2, 1, 0] = 1
    assert ImageSet(pixel, labels, ("a", "b")).fingerprint() != original
    assert ImageSet(images, torch.tensor([1, 0]), ("a", "b")).fingerprint() != original
    assert ImageSet(images, labels, ("a", "c")).fingerprint() != original
    channels_last = images.to(memory_format=torch.channels_last)
    assert ImageSet(channels_last, labels, ("a", "b"), ("1.png", "2.png")).fingerprint() == original
