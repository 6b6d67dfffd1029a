"""The power goes at any moment: what is there afterwards is old or new, and what was said to be done is done.

Each test records a writer, replays what a crash may leave of its folder and reads that as a user would. Its negative
control leaves out a protection and must see the reader lose something.
"""

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bundles import small_bundle
from mirror import serve
from official import members, write_archive
from pictures import write_folder
from reliability.crashes import drawn, recording
from reliability.tiers import counts
from tercet import pipeline
from tercet.config import Config
from tercet.data import cache, cifar10
from tercet.data.download import checksum, download
from tercet.data.folder import read_folder
from tercet.data.imageset import ImageSet
from tercet.errors import DataError, ModelError, TercetError
from tercet.files import is_unfinished, replacing, write_atomically
from tercet.inference.index import Index, update
from tercet.model.bundle import load_bundle
from tercet.training.checkpoint import Checkpoint, TrainingState

TINY = Config(epochs=1, fewest_steps=6, batch_size=12, widths=(4, 4, 4), dimensions=4, precision="fp32")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def check_each(tmp_path):
    """Calls `check(folder, notes)` on what each crash leaves."""
    numbers = itertools.count()

    def check_each(crashes, check):
        for crash in crashes:
            check(crash.write(tmp_path / "replayed" / str(next(numbers))), crash.notes)

    return check_each


@pytest.fixture
def survives(check_each, record_property):
    """Checks all crashes, or a number of them drawn by lot."""

    def check_drawn(crashes, check, count=None):
        chosen = drawn(crashes, count)
        record_property("crashes", len(chosen))
        check_each(chosen, check)

    return check_drawn


@pytest.fixture
def loses(check_each):
    """Sees a check fail in one of the crashes at least."""

    def check_until_lost(crashes, check):
        with pytest.raises((AssertionError, TercetError, OSError)):
            check_each(crashes, check)

    return check_until_lost


@counts(few=100, full=None)
def test_a_file_is_the_old_one_or_the_new_one(root, survives, loses, count):
    versions = [b"first", b"second, which is longer", b"3"]
    write_atomically(root / "file", versions[0])
    with recording(root) as history:
        write_atomically(root / "file", versions[1])
        history.note("second")
        with replacing(root / "file") as file:
            file.write(versions[2])
        history.note("third")

    def check(folder, notes):
        assert (folder / "file").read_bytes() in versions[len(notes) : len(notes) + 2]

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


def state(step):
    network, average = (nn.Linear(20, 30, bias=False) for _ in range(2))
    for number, module in enumerate((network, average)):
        nn.init.constant_(module.weight, 10 * step + number)
    return TrainingState(network, average, [torch.optim.SGD(network.parameters(), 0.1)], step=step, losses=[step / 3])


@counts(few=100, full=None)
def test_a_checkpoint_is_never_lost(root, survives, loses, count):
    with recording(root) as history:
        for step in (1, 2, 3):
            Checkpoint(root / "checkpoints/encoder", "key").save(state(step))
            history.note(f"saved step {step}")

    def check(folder, notes):
        restored = state(0)
        Checkpoint(folder / "checkpoints/encoder", "key").restore(restored)
        assert restored.step in (len(notes), len(notes) + 1)
        wanted = state(restored.step)
        assert restored.losses == wanted.losses or restored.step == 0
        assert all(map(torch.equal, restored.tensors().values(), wanted.tensors().values()))

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


@counts(few=30, full=None)
def test_a_bundle_is_whole_or_says_that_it_is_not(root, survives, loses, count):
    bundle = small_bundle()
    with recording(root) as history:
        bundle.save(root / "models/new")
        history.note("saved")

    def check(folder, notes):
        try:
            loaded = load_bundle(folder / "models/new")
        except ModelError:
            assert not notes
            return
        assert (loaded.classes, loaded.settings) == (bundle.classes, bundle.settings)
        for ours, theirs in ((loaded.encoder, bundle.encoder), (loaded.head, bundle.head)):
            assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


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


@counts(few=3, full=40)
def test_a_training_goes_on_to_the_same_bytes(root, tmp_path, survives, loses, monkeypatch, count):
    monkeypatch.setattr("tercet.training.loop.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("tercet.training.head.FEWEST_STEPS", 20)
    photos = write_folder(tmp_path / "photos", 8)
    with recording(root) as history:
        pipeline.train(photos, out=root / "run", config=TINY)
        history.note("trained")
    wanted = contents(root / "run/model")

    def check(folder, notes):
        assert not notes or contents(folder / "run/model") == wanted
        pipeline.train(photos, out=folder / "run", config=TINY)
        assert contents(folder / "run/model") == wanted

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses((crash for crash in history.without("folders").crashes() if crash.notes), check)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a model by name; what a crash cut off under a temporary name is of no use to anybody."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not is_unfinished(path)}
