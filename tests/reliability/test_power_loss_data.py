"""The power goes while data is brought, kept or indexed: what is there afterwards is right, or made again.

Recorded, replayed and controlled as in `test_power_loss`.
"""

import hashlib

import numpy as np
import pytest
import torch

from bundles import small_bundle
from mirror import serve
from official import members, write_archive
from pictures import write_folder
from reliability.crashes import recording
from reliability.tiers import counts
from tercet.data import cache, cifar10
from tercet.data.download import checksum, download
from tercet.data.folder import read_folder
from tercet.data.imageset import ImageSet
from tercet.errors import DataError, ModelError
from tercet.files import is_unfinished
from tercet.inference.index import Index, update


@counts(few=30, full=None)
def test_the_cache_gives_the_same_images_or_none(root, tmp_path, survives, loses, monkeypatch, count):
    reading = read_folder(write_folder(tmp_path / "photos", 2), 32)

    def record():
        with recording(root) as history:
            cache.save(root / "cache/images.safetensors", reading)
        return history

    def check(folder, _notes):
        kept = cache.load(folder / "cache/images.safetensors")
        assert kept is None or all(
            torch.equal(kept.parts[name].images, part.images) for name, part in reading.parts.items()
        )

    history = record()
    survives(history.crashes(), check, count)
    survives(history.without("files").crashes(), check, count)  # for the content is checked as well
    monkeypatch.setattr(ImageSet, "fingerprint", lambda _: "unchecked")
    loses(record().without("files").crashes(), check)


@counts(few=30, full=None)
def test_cifar10_is_whole_or_fetched_again(root, tmp_path, survives, loses, monkeypatch, count):
    archive = write_archive(tmp_path / "official.tar.gz", members("binary"))
    monkeypatch.setattr(cifar10, "CHECKSUMS", {checksum(archive): archive.name})
    with recording(root) as history:
        cifar10.fetch_cifar10(root / "data", archive=archive)
        history.note("fetched")
    wanted = cifar10.load_cifar10(root / "data")

    def check(folder, notes):
        is_new = cifar10.fetch_cifar10(folder / "data", archive=archive)
        assert not (is_new and notes)
        found = cifar10.load_cifar10(folder / "data")
        assert [part.fingerprint() for part in found.values()] == [part.fingerprint() for part in wanted.values()]

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


@counts(few=20, full=None)
def test_a_download_goes_on_to_the_right_bytes(root, survives, loses, monkeypatch, count):
    """The record may promise what is not there, since what comes is synced at the end only; the checksum finds it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    earlier, content = (np.random.default_rng(seed).bytes(2**17) for seed in (0, 1))
    md5 = hashlib.md5(content).hexdigest()
    with serve(earlier) as mirror:

        def fetch(file, on_bytes=lambda *_: None):
            download(mirror.url, file, [md5], 2**20, on_bytes, pauses_s=())

        mirror.tag, mirror.faults = '"of an earlier version"', ["cut", "cut"]
        with recording(root) as history:
            with pytest.raises(DataError, match="broke off"):
                fetch(root / "file", lambda *_: history.look())
            mirror.content, mirror.tag = content, '"first"'
            with pytest.raises(DataError, match="broke off"):
                fetch(root / "file", lambda *_: history.look())
            fetch(root / "file", lambda *_: history.look())
            history.note("downloaded")

        def check(folder, notes):
            asked = len(mirror.asked)
            try:
                fetch(folder / "file")
            except DataError:  # "... it was removed: try again"
                fetch(folder / "file")
            assert (folder / "file").read_bytes() == content
            assert [path.name for path in folder.iterdir() if not is_unfinished(path)] == ["file"]
            assert len(mirror.asked) - asked <= (0 if notes else 2)

        survives(history.crashes(), check, count)
        loses(history.without("files").crashes(), check)
        monkeypatch.setattr("tercet.data.download.checksum", lambda _: md5)
        loses(history.crashes(), check)


def found_in(index):
    return {match.path: match.distance for match in index.query(np.zeros((1, 16, 16, 3), np.uint8), 100)[0]}


@counts(few=20, full=400)
def test_an_index_is_the_old_one_or_the_new_one(root, tmp_path, survives, loses, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", 2)
    bundle = small_bundle()
    bundle.save(tmp_path / "model")
    versions: list[dict] = [{}]
    with recording(root) as history:
        for added, removed in (
            (["photos/plain", "photos/checks"], []),
            (["photos/stripes"], ["photos/plain", "photos/checks/000.png"]),
        ):
            update(str(root / "index"), "model", add=added, remove=removed)
            history.note("updated")
            with Index.open(root / "index", bundle) as index:
                versions.append(found_in(index))

    def check(folder, notes):
        try:
            with Index.open(folder / "index", bundle) as index:
                found = found_in(index)
        except ModelError as error:
            found = {} if "found no index" in str(error) else {"damaged": error}
        assert found in versions[len(notes) : len(notes) + 2]
        changes, _ = update(str(folder / "index"), "model", add=["photos/checks"], remove=[])
        assert changes.added + changes.unchanged == 2  # what a crash has left is no hindrance

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)
