"""The zoo of forty files, as a folder and packed: each is read, left out with its reason, or ignored, as it should."""

import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from tercet.data.folder import read_folder
from tercet.data.sources import open_dataset
from tercet.errors import DataError
from zoo import EMPTY, FILES, IGNORED, READ, SKIPPED, write_zoo

NO_CLASS = "holds no image, so it is no class"  # of a folder; an archive lists files only
LEVELS_OFF = 6  # what JPEG, the palette and the conversion from CMYK may change


def pack(zoo, kind):
    """The zoo in an archive beside it, in no particular order."""
    file = zoo.parent / f"zoo{kind}"
    members = [(path.relative_to(zoo.parent).as_posix(), path) for path in zoo.rglob("*") if path.is_file()]
    if kind == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, path in members:
                bundle.write(path, name)
    else:
        with tarfile.open(file, "w:gz") as tar:
            for name, path in members:
                tar.add(path, name)
    return file


@pytest.fixture(scope="module", params=["folder", ".zip", ".tar.gz"])
def reading(request, tmp_path_factory):
    zoo = write_zoo(tmp_path_factory.mktemp("zoos") / "zoo")
    return read_folder(zoo if request.param == "folder" else pack(zoo, request.param))


def without_wrapping(path):
    return path.removeprefix("zoo/")


def test_there_are_forty():
    assert len(FILES) == 40
    assert (len(READ), len(SKIPPED), len(IGNORED)) == (28, 8, 4)


def test_exactly_these_are_read(reading):
    train = reading.parts["train"]
    assert list(reading.parts) == ["train"]
    assert sorted(map(without_wrapping, train.paths)) == sorted(READ)
    assert train.classes == ("birds", "fish", "moths", "snails")
    assert train.class_counts() == [10, 10, 7, 1]
    for path, label in zip(train.paths, train.labels.tolist(), strict=True):
        assert without_wrapping(path).split("/")[0] == train.classes[label]


def test_exactly_these_are_left_out_and_say_why(reading):
    found = dict(without_wrapping(line).split(": ", 1) for line in reading.skipped)
    assert found.pop(EMPTY, NO_CLASS) == NO_CLASS
    assert found.keys() == SKIPPED.keys()
    for path, (_, reason) in SKIPPED.items():
        assert found[path].startswith(reason), path


def test_each_shows_its_halves(reading):
    """Of 120 x 80 the centre square is kept: 40 of its 80 columns left of the middle, and the same right of it."""
    train, side = reading.parts["train"], 73
    assert reading.size == 64
    assert train.images.shape[1:] == (3, side, side)
    for path, image in zip(train.paths, train.images, strict=True):
        halves = image[:, :, : side // 2 - 1], image[:, :, side // 2 + 2 :]
        for half, expected in zip(halves, READ[without_wrapping(path)][1], strict=True):
            np.testing.assert_allclose(half.float().mean((1, 2)), expected, atol=LEVELS_OFF, err_msg=path)
            assert half.float().std((1, 2)).max() < LEVELS_OFF, path


def test_the_empty_class_folder_is_named(tmp_path):
    assert f"{EMPTY}: {NO_CLASS}" in read_folder(write_zoo(tmp_path / "zoo")).skipped


def test_the_class_of_one_image_is_refused_and_without_it_there_is_one_warning(tmp_path, caplog):
    zoo = write_zoo(tmp_path / "zoo")
    with pytest.raises(DataError, match="found fewer than 4 readable images of 'snails'"):
        open_dataset(zoo)
    shutil.rmtree(zoo / "snails")
    dataset = open_dataset(zoo)
    assert len(dataset.train) + len(dataset.test) == len(READ) - 1
    assert dataset.skipped[0] == "birds/bomb.gif: more than the 50 million pixels allowed"
    assert caplog.messages == [f"zoo: files left out: 9, the first being {dataset.skipped[0]}"]
