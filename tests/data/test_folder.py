import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from pictures import write_folder
from tercet.data import folder
from tercet.data.folder import natural_size, read_folder
from tercet.errors import DataError


def png(level, size=(4, 4)):
    file = io.BytesIO()
    Image.new("L", size, level).save(file, "PNG")
    return file.getvalue()


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def levels(images):
    """The gray level of each image of one colour."""
    return images.images[:, 0, 0, 0].tolist()


PETS = {
    "train/dog/1.png": png(30),
    "train/cat/2.png": png(20),
    "train/cat/1.png": png(10),
    "test/cat/3.png": png(40),
    "test/dog/3.png": png(50),
}


def test_parts_classes_labels_and_paths_belong_together(tmp_path):
    reading = read_folder(write(tmp_path, PETS), size=4)
    train, test = reading.parts["train"], reading.parts["test"]
    assert train.paths == ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png")
    assert levels(train) == [10, 20, 30]
    assert train.labels.tolist() == [0, 0, 1]
    assert train.classes == test.classes == ("cat", "dog")
    assert levels(test) == [40, 50]
    assert reading.skipped == ()


def test_an_archive_gives_the_same_as_its_folder_whatever_its_order(tmp_path):
    expected = read_folder(write(tmp_path / "pets", PETS), size=4)
    with tarfile.open(tmp_path / "pets.tar.xz", "w:xz") as tar:
        for name, content in PETS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as bundle:
        for name, content in reversed(PETS.items()):
            bundle.writestr(name, content)
    for name in ("pets.tar.xz", "pets.zip"):
        reading = read_folder(tmp_path / name, size=4)
        for part, images in expected.parts.items():
            assert reading.parts[part].fingerprint() == images.fingerprint()
            assert reading.parts[part].paths == images.paths


def test_channels_come_first(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    (tmp_path / "cat").mkdir()
    Image.fromarray(pixels).save(tmp_path / "cat" / "1.png")
    assert (read_folder(tmp_path, size=4).parts["train"].images[0].permute(1, 2, 0).numpy() == pixels).all()


def test_files_that_cannot_be_read_are_named_and_leave_no_gap(tmp_path):
    files = {"cat/1.png": b"just text", "cat/2.png": png(20), "dog/1.png": png(30)[:-20], "dog/2.png": png(40)}
    reading = read_folder(write(tmp_path, files | {"logo.png": png(0), "cat/read me.txt": b""}), size=4)
    assert levels(reading.parts["train"]) == [20, 40]
    assert reading.parts["train"].paths == ("cat/2.png", "dog/2.png")
    assert [line.split(":")[0] for line in reading.skipped] == ["cat/1.png", "dog/1.png", "logo.png"]
    assert reading.skipped[0] == "cat/1.png: not a JPEG, PNG, WebP, GIF, BMP or TIFF image"
    assert reading.skipped[2] == "logo.png: not in a class folder"


def test_a_class_none_of_which_can_be_read_is_still_a_class(tmp_path):
    train = read_folder(write(tmp_path, {"cat/1.png": b"just text", "dog/1.png": png(1)})).parts["train"]
    assert train.classes == ("cat", "dog")
    assert train.class_counts() == [0, 1]


def test_of_two_members_with_one_path_the_later_counts(tmp_path):
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for content in (png(10), b"just text", png(20)):
            member = tarfile.TarInfo("cat/1.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    reading = read_folder(tmp_path / "pets.tar", size=4)
    assert levels(reading.parts["train"]) == [20]
    assert reading.skipped == ()


def test_size_follows_the_median_of_the_shorter_sides(tmp_path):
    write(tmp_path, {"cat/1.png": png(1, (48, 90)), "cat/2.png": png(2, (90, 48)), "cat/3.png": png(3, (500, 500))})
    assert read_folder(tmp_path).parts["train"].images.shape == (3, 3, 32, 32)
    write(tmp_path, {"cat/4.png": png(4, (50, 50))})
    reading = read_folder(tmp_path)
    assert reading.size == 64
    assert reading.parts["train"].images.shape == (4, 3, 73, 73)
    assert [natural_size(side) for side in (28, 48, 49, 95, 96, 3000)] == [32, 32, 64, 64, 128, 128]


def test_of_many_files_some_are_measured(tmp_path, monkeypatch):
    """The first, and every tenth after: of these forty the first four and numbers 10, 20, 30 and 40."""
    write(tmp_path, {f"cat/{number:02}.png": png(1, (20, 20) if number <= 4 else (99, 99)) for number in range(1, 41)})
    monkeypatch.setattr(folder, "MEASURED", 4)
    assert read_folder(tmp_path).size == 64  # the median of four 20s and four 99s is 59.5
    monkeypatch.setattr(folder, "MEASURED", 5)
    assert read_folder(tmp_path).size == 128


def test_progress_ends_at_the_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "STEP", 2)
    calls = []
    read_folder(write(tmp_path, PETS), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 0), (2, 0), (4, 0), (2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    "files", [{}, {"README.txt": b""}, {"1.png": png(1)}, {"train/1.png": png(1), "test/cat/1.png": png(1)}]
)
def test_without_class_folders_the_expected_layout_is_told(tmp_path, files):
    with pytest.raises(DataError, match="expected CLASS/IMAGE, or train/CLASS/IMAGE and test/CLASS/IMAGE"):
        read_folder(write(tmp_path, files))


@pytest.mark.parametrize("layout", ["{}", "wrapped/{}", "{}|train", "wrapped/{}|train"])
def test_a_folder_without_images_beside_the_classes_is_named(tmp_path, layout):
    place, _, parts = layout.partition("|")
    root = tmp_path / place.format("")
    for part in ("train", "test") if parts else ("",):
        write_folder(root / part, 1, seed=len(part))
    beside = root / (parts or "")
    (beside / "empty").mkdir()
    (beside / "words").mkdir()
    (beside / "words" / "list.txt").write_text("no image")
    (beside / ".hidden").mkdir()
    (beside / "__MACOSX").mkdir()
    reading = read_folder(tmp_path, 8)
    names = [(beside / name).relative_to(tmp_path).as_posix() for name in ("empty", "words")]
    assert reading.skipped == tuple(f"{name}: holds no image, so it is no class" for name in names)
    assert reading.parts["train"].classes == ("checks", "plain", "stripes")
