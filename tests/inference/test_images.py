import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from tercet.errors import UsageError
from tercet.inference.images import CHUNK, image_paths, readable_images


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.png", "sub folder/ü.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (len(name), 0, 0)).save(file)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_files_folders_and_patterns(folder):
    below = [str(folder / name) for name in ("a.png", "b.png", "sub folder/ü.png")]
    assert list(image_paths([str(folder)])) == below
    assert list(image_paths([str(folder / "notes.txt"), below[0]])) == [str(folder / "notes.txt"), below[0]]
    assert sorted(image_paths([str(folder / "*.png")])) == below[:2]
    assert sorted(image_paths([str(folder / "**/*.png")])) == below
    assert list(image_paths([str(folder / "sub*")])) == below[2:]  # a folder that a pattern finds
    assert list(image_paths([str(folder / "*.gif")])) == [str(folder / "*.gif")]


def test_a_pattern_for_all_below_gives_each_file_once(folder):
    assert list(image_paths([str(folder / "**")])) == list(image_paths([str(folder)]))
    files = sorted(str(file) for file in folder.rglob("*") if file.is_file())
    assert sorted(image_paths([str(folder / "**/*")])) == files
    assert list(image_paths([str(folder / "**/sub*")])) == [str(folder / "sub folder/ü.png")]  # of a folder


@pytest.mark.parametrize("name", ["a\0b", "a\0*", "a" * 300, "a" * 300 + "*"])
def test_what_can_be_no_path_is_told_and_the_rest_is_done(folder, name):
    told = []
    found = list(readable_images(image_paths([name, str(folder / "a.png")]), 8, lambda *fault: told.append(fault)))
    assert [names for names, _ in found] == [[str(folder / "a.png")]]
    assert [path for path, _ in told] == [name]


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(UsageError, match="found an empty path; expected a name"):
        list(image_paths([""]))


def test_a_folder_without_images_and_a_name_of_nothing_are_told(folder):
    (folder / "empty").mkdir()
    told = []
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    names = [str(folder / name) for name in ("empty", "nowhere.png", "*.heic", "gone.png")]
    assert list(readable_images(image_paths(names), 8, lambda *fault: told.append(fault))) == []
    reasons = ("a folder without images", "no such file or folder", "no such file or folder", "a link to nothing")
    assert told == [*zip(names, reasons, strict=True)]


def test_a_name_with_the_signs_of_a_pattern_is_a_name(folder):
    odd = folder / "[1]*.png"
    Image.new("L", (9, 9)).save(odd)
    assert list(image_paths([str(odd)])) == [str(odd)]


def test_the_standard_input_lists_what_arguments_may_be(folder, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{folder / 'b.png'}\r\n\n{folder / 'sub folder'}\n"))
    assert list(image_paths(["-", "last.png"])) == [
        str(folder / "b.png"),
        str(folder / "sub folder/ü.png"),
        "last.png",
    ]


def test_nothing_is_listed_before_it_is_needed(folder):
    lines = iter([str(folder / "a.png"), "unread"])
    assert next(image_paths(lines)) == str(folder / "a.png")
    assert next(lines) == "unread"


def test_chunks_keep_the_order_and_tell_what_is_unreadable(folder):
    names = [str(folder / ("a.png" if number % 2 else "b.png")) for number in range(CHUNK + 10)]
    names[3] = str(folder / "notes.txt")
    names[-1] = str(folder / "missing.png")
    told = []
    chunks = list(readable_images(names, 9, lambda path, reason: told.append((path, reason))))
    assert [len(paths) for paths, _ in chunks] == [CHUNK - 1, 9]
    assert [path for paths, _ in chunks for path in paths] == names[:3] + names[4:-1]
    assert [path for path, _ in told] == [names[3], names[-1]]
    assert all(reason for _, reason in told)
    assert chunks[0][1].shape == (CHUNK - 1, 9, 9, 3)
    assert chunks[0][1].dtype == np.uint8


@pytest.mark.skipif(os.name != "posix", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_read(folder):
    path = os.fsencode(folder) + b"/\xff.png"
    with open(path, "wb") as file:  # noqa: PTH123
        Image.new("RGB", (9, 9)).save(file, "PNG")
    ((paths, _),) = readable_images(image_paths([str(folder)]), 9, lambda *_: None)
    assert os.fsencode(paths[-1]) == path or path in map(os.fsencode, paths)
