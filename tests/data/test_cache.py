import logging
import os
from pathlib import Path

import pytest
import torch

from tercet.data import cache
from tercet.data.folder import Reading
from tercet.data.imageset import ImageSet


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reading():
    pixels = torch.arange(3 * 3 * 2 * 2, dtype=torch.uint8).reshape(3, 3, 2, 2)
    labels = torch.tensor([0, 1, 0])
    train = ImageSet(pixels[:2], labels[:2], ("cat", "dög"), ("train/cat/1.png", "train/dög/\udcff.png"))
    test = ImageSet(pixels[2:], labels[2:], ("cat", "dög"), ("test/cat/1.png",))
    return Reading({"train": train, "test": test}, 2, ("train/cat/2.png: not an image",))


def test_what_is_saved_is_loaded(tmp_path, reading):
    cache.save(tmp_path / "new" / "a.safetensors", reading)
    loaded = cache.load(tmp_path / "new" / "a.safetensors")
    assert (loaded.size, loaded.skipped) == (reading.size, reading.skipped)
    for part, images in reading.parts.items():
        assert loaded.parts[part].fingerprint() == images.fingerprint()
        assert loaded.parts[part].paths == images.paths
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_what_other_programs_are_writing_stays(cache_folder, reading):
    others = [cache_folder / name for name in (".film.part", "work/.images-1.part", ".images-folder.part/a")]
    for file in [*others, cache_folder / ".images-1.safetensors.abc.part"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
        os.utime(file, (0, 0))
    cache.save(cache_folder / "images-1.safetensors", reading)
    assert {file for file in cache_folder.rglob("*") if file.is_file()} == {
        *others,
        cache_folder / "images-1.safetensors",
    }


def test_a_part_none_of_which_could_be_read_is_kept_too(tmp_path, reading):
    empty = reading.parts["test"].select(torch.tensor([], dtype=torch.int64))
    cache.save(tmp_path / "a.safetensors", Reading({"train": reading.parts["train"], "test": empty}, 2, ()))
    assert len(cache.load(tmp_path / "a.safetensors").parts["test"]) == 0


def test_a_missing_or_damaged_file_loads_as_none(tmp_path, reading):
    file = tmp_path / "a.safetensors"
    assert cache.load(file) is None
    cache.save(file, reading)
    whole = file.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (b"", b"just text", whole[:100], whole[:-1], flipped):
        file.write_bytes(content)
        assert cache.load(file) is None


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, reading, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        cache.save(tmp_path / "file" / "a.safetensors", reading)
    assert "not kept in the cache" in caplog.text


def test_a_failed_write_leaves_nothing_behind(tmp_path, reading, monkeypatch, caplog):
    def fill_the_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(cache, "save_file", fill_the_disk)
    cache.save(tmp_path / "new" / "a.safetensors", reading)
    assert "no space left" in caplog.text
    assert list((tmp_path / "new").iterdir()) == []


def test_an_archive_is_known_by_its_content_and_size_alone(tmp_path, cache_folder):
    (tmp_path / "a.zip").write_bytes(b"one")
    (tmp_path / "b.zip").write_bytes(b"one")
    file = cache.cache_file(tmp_path / "a.zip", 32)
    assert file.parent == cache_folder
    assert file == cache.cache_file(tmp_path / "b.zip", 32)
    assert file != cache.cache_file(tmp_path / "a.zip", 64)
    assert file != cache.cache_file(tmp_path / "a.zip", None)
    (tmp_path / "a.zip").write_bytes(b"two")
    assert file != cache.cache_file(tmp_path / "a.zip", 32)


def test_a_folder_is_known_by_its_files(tmp_path):
    root = tmp_path / "pets"
    (root / "cat").mkdir(parents=True)
    picture = root / "cat" / "1.jpg"
    picture.write_bytes(b"one")
    os.utime(picture, (1, 1))
    seen = [cache.cache_file(root, 32)]
    (root / "README.txt").write_text("not an image")
    assert cache.cache_file(root, 32) == seen[0]

    os.utime(picture, (2, 2))
    seen.append(cache.cache_file(root, 32))
    picture.rename(root / "cat" / "2.jpg")
    seen.append(cache.cache_file(root, 32))
    (root / "cat" / "3.jpg").symlink_to(root / "none.jpg")
    seen.append(cache.cache_file(root, 32))
    root.rename(tmp_path / "animals")
    seen.append(cache.cache_file(tmp_path / "animals", 32))
    assert len(set(seen)) == 5


def test_without_the_variable_the_cache_is_where_the_system_keeps_them(tmp_path, monkeypatch):
    monkeypatch.delenv("TERCET_CACHE")
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name: f"/caches/{name}")
    assert cache.cache_file(tmp_path, 32).parent == Path("/caches/tercet")


def test_what_a_crash_left_long_ago_is_removed(cache_folder, reading):
    cache_folder.mkdir()
    forgotten, under_way = cache_folder / ".images-1.safetensors.a.part", cache_folder / ".images-2.safetensors.b.part"
    for file in (forgotten, under_way):
        file.touch()
    os.utime(forgotten, (0, 0))
    cache.save(cache_folder / "images-3.safetensors", reading)
    assert {file.name for file in cache_folder.iterdir()} == {under_way.name, "images-3.safetensors"}
