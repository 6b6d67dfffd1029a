import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tercet.data import parallel
from tercet.data.sources import open_dataset
from tercet.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def draw(folder, count, first=0):
    """Write `count` images, each of a level of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")


@pytest.fixture
def pets(tmp_path):
    """Two classes of ten images."""
    draw(tmp_path / "pets" / "cat", 10)
    draw(tmp_path / "pets" / "dog", 10, first=10)
    return tmp_path / "pets"


@pytest.fixture
def parted(tmp_path):
    """The same with train, validation and test."""
    for part, count in (("train", 5), ("val", 2), ("test", 1)):
        draw(tmp_path / "parted" / part / "cat", count)
        draw(tmp_path / "parted" / part / "dog", count, first=10)
    return tmp_path / "parted"


def forbid_decoding(monkeypatch):
    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(parallel, "read_image", fail)


def test_class_folders_are_split_into_the_same_stratified_fifth_each_time(pets, cache_folder):
    first = open_dataset(pets)
    shutil.rmtree(cache_folder)
    second = open_dataset(str(pets))
    assert first.name == "pets"
    assert first.train.class_counts() == [8, 8]
    assert first.test.class_counts() == [2, 2]
    assert first.validation is None
    assert not set(first.train.paths) & set(first.test.paths)
    assert second.train.fingerprint() == first.train.fingerprint()
    assert second.test.paths == first.test.paths


def test_parts_are_taken_as_they_are(parted):
    dataset = open_dataset(parted)
    assert dataset.train.class_counts() == [5, 5]
    assert dataset.test.class_counts() == [1, 1]
    assert dataset.validation.class_counts() == [2, 2]


@pytest.mark.parametrize("kind", ["tar", "gztar", "xztar", "zip"])
def test_an_archive_with_a_wrapping_folder(parted, tmp_path, kind):
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "parted"))
    dataset = open_dataset(archive)
    assert dataset.name == archive.name
    assert dataset.train.fingerprint() == open_dataset(parted).train.fingerprint()
    assert dataset.test.paths == ("parted/test/cat/0.png", "parted/test/dog/10.png")


def test_the_second_time_nothing_is_decoded(pets, tmp_path, monkeypatch):
    (pets / "cat" / "text.png").write_text("just text")
    archive = shutil.make_archive(str(tmp_path / "packed"), "tar", pets)
    first = {source: open_dataset(source) for source in (pets, archive)}
    forbid_decoding(monkeypatch)
    for source, dataset in first.items():
        again = open_dataset(source)
        assert again.train.fingerprint() == dataset.train.fingerprint()
        assert again.skipped == dataset.skipped != ()


def test_a_damaged_cache_is_made_anew(pets, cache_folder, monkeypatch):
    expected = open_dataset(pets).train.fingerprint()
    (file,) = cache_folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert open_dataset(pets).train.fingerprint() == expected
    forbid_decoding(monkeypatch)
    assert open_dataset(pets).train.fingerprint() == expected


def test_skipped_files_are_told_and_logged(pets, caplog):
    (pets / "dog" / "text.jpg").write_text("just text")
    (pets / "dog" / "README.txt").write_text("no image, and no word about it")
    dataset = open_dataset(pets)
    assert dataset.skipped == ("dog/text.jpg: not a JPEG, PNG, WebP, GIF, BMP or TIFF image",)
    assert caplog.messages == [f"pets: files left out: 1, the first being {dataset.skipped[0]}"]


def test_a_size_may_be_asked_for(pets):
    assert open_dataset(pets).train.images.shape[2:] == (32, 32)
    assert open_dataset(pets, size=16).train.images.shape[2:] == (16, 16)
    with pytest.raises(UsageError, match="image size 0"):
        open_dataset(pets, size=0)


def test_digits():
    dataset = open_dataset("digits")
    assert dataset.name == "digits"
    assert dataset.train.images.shape == (1438, 3, 32, 32)
    assert len(dataset.test) == 359
    assert dataset.train.classes == tuple("0123456789")
    assert dataset.train.images.max() == 255
    assert open_dataset("digits", size=8).train.images.shape[2:] == (8, 8)


def test_a_folder_called_digits_is_opened_by_its_path(pets, monkeypatch):
    pets.rename(pets.parent / "digits")
    monkeypatch.chdir(pets.parent)
    assert open_dataset("./digits").train.classes == ("cat", "dog")
    assert open_dataset(Path("digits")).train.classes == ("cat", "dog")
    assert len(open_dataset("digits").train.classes) == 10


def test_cifar10_from_class_folders_is_the_jpeg_copy(pets, tmp_path, monkeypatch):
    monkeypatch.setenv("TERCET_CIFAR10", shutil.make_archive(str(tmp_path / "packed"), "xztar", pets))
    assert open_dataset("cifar10").name == "cifar10-jpeg"
    monkeypatch.setenv("TERCET_CIFAR10", str(pets))
    assert open_dataset("cifar10").name == "cifar10-jpeg"
    monkeypatch.setenv("TERCET_CIFAR10", str(tmp_path / "none.tar"))
    with pytest.raises(DataError, match=r"none\.tar', which \$TERCET_CIFAR10 names; unset it"):
        open_dataset("cifar10")


def test_arrays_are_split_and_resized(tmp_path):
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((20, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=["cat", "dog"] * 10)
    dataset = open_dataset(tmp_path / "a.npz")
    assert dataset.name == "a.npz"
    assert dataset.train.images.shape == (16, 3, 32, 32)
    assert dataset.train.images[:, 0, 0, 0].tolist() == dataset.train.images[:, 2, 31, 31].tolist()
    assert dataset.test.class_counts() == [2, 2]
    assert open_dataset(tmp_path / "a.npz", size=28).train.images.shape[2:] == (28, 28)


def test_arrays_in_parts_keep_them(tmp_path):
    images, labels = np.zeros((8, 32, 32, 3), dtype=np.uint8), [0, 1] * 4
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels, test_images=images[:2], test_labels=[0, 1])
    dataset = open_dataset(tmp_path / "a.npz")
    assert (len(dataset.train), len(dataset.test), dataset.validation) == (8, 2, None)


def test_a_missing_path_and_a_file_of_another_kind(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for missing in ("~nobody-of-this-name/photos", tmp_path / "loop"):
        with pytest.raises(DataError, match="found nothing at"):
            open_dataset(missing)
    with pytest.raises(DataError, match="found nothing at 'cifar100'; give `cifar10`, `digits`, or a folder"):
        open_dataset("cifar100")
    (tmp_path / "a.rar").write_bytes(b"")
    with pytest.raises(DataError, match=r"a.rar'; expected a folder, .tar, .tar.gz, .tgz, .tar.xz, .zip or .npz"):
        open_dataset(tmp_path / "a.rar")


def test_an_archive_that_is_none(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"just text")
    with pytest.raises(DataError, match="cannot be read to its end"):
        open_dataset(tmp_path / "a.tar.gz")


def test_one_class_is_not_enough(tmp_path):
    draw(tmp_path / "pets" / "cat", 10)
    with pytest.raises(DataError, match="found the classes \\['cat'\\] in pets; expected two or more"):
        open_dataset(tmp_path / "pets")


def test_classes_that_differ_between_parts_are_named(parted):
    draw(parted / "test" / "cow", 1)
    with pytest.raises(DataError, match="no readable image of 'cow' in the train part of parted"):
        open_dataset(parted)
    shutil.rmtree(parted / "test" / "cow")
    shutil.rmtree(parted / "val" / "dog")
    with pytest.raises(DataError, match="no readable image of 'dog' in the validation part"):
        open_dataset(parted)


def test_classes_with_too_few_readable_images_are_named_with_a_reason(pets):
    draw(pets / "cow", 3)
    (pets / "emu").mkdir()
    (pets / "emu" / "1.png").write_text("just text")
    with pytest.raises(
        DataError, match=r"fewer than 4 .* of 'cow', 'emu' in pets; .* \(files left out: 1, .* emu/1\.png"
    ):
        open_dataset(pets)
