import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from mirror import serve
from official import NAMES, batch, members, write_archive
from tercet.data import cifar10
from tercet.data.cifar10 import CLASSES, FILES, data_folder, fetch_cifar10, load_cifar10, read_official
from tercet.data.sources import open_dataset
from tercet.errors import DataError


@pytest.fixture
def admit(monkeypatch):
    """A function that writes an archive in an official layout and publishes its checksum."""

    def write(path, layout, **changed):
        contents = members(layout)
        contents |= {name: changed[Path(name).stem] for name in contents if Path(name).stem in changed}
        file = write_archive(path / f"cifar-10-{layout}.tar.gz", contents)
        checksums = {**cifar10.CHECKSUMS, hashlib.md5(file.read_bytes()).hexdigest(): file.name}
        monkeypatch.setattr(cifar10, "CHECKSUMS", checksums)
        return file

    return write


@pytest.fixture
def mirror(admit, tmp_path, monkeypatch):
    """The binary archive on a server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "server").mkdir()
    with serve(admit(tmp_path / "server", "binary").read_bytes()) as server:
        yield server


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "cifar10.lock")


KEPT = sorted(FILES.values())


def check(arrays, part):
    wanted = NAMES[:5] if part == "train" else NAMES[5:]
    rows = np.concatenate([batch(name)[0] for name in wanted])
    np.testing.assert_array_equal(arrays["labels"], np.concatenate([batch(name)[1] for name in wanted]))
    assert tuple(arrays["classes"]) == CLASSES
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].shape == (len(rows), 32, 32, 3)
    for image, row, column, channel in ((0, 0, 0, 0), (0, 0, 1, 2), (9, 31, 30, 1)):
        assert arrays["images"][image, row, column, channel] == rows[image, 1024 * channel + 32 * row + column]


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_either_archive_from_disk_becomes_two_files(admit, tmp_path, layout):
    folder = tmp_path / "data"
    folder.mkdir()
    archive = admit(tmp_path, layout).rename(folder / "cifar-10.tar.gz")  # the name a download would have
    assert fetch_cifar10(folder, archive=archive)
    assert names(folder) == [archive.name, *KEPT]
    for part, name in FILES.items():
        with np.load(folder / name, allow_pickle=False) as arrays:
            check(arrays, part)
    archive.unlink()
    assert not fetch_cifar10(folder, archive=archive)  # it is there already, so the archive is not looked at


def test_both_archives_hold_the_same(admit, tmp_path):
    binary, python = (load_cifar10(admit(tmp_path, layout)) for layout in ("binary", "python"))
    for part in ("train", "test"):
        assert binary[part].fingerprint() == python[part].fingerprint()


@pytest.mark.parametrize("keep", [False, True])
def test_a_download_leaves_two_files_and_the_archive_if_it_is_to_be_kept(mirror, tmp_path, keep):
    calls = []
    folder = tmp_path / "data"
    assert fetch_cifar10(folder, url=mirror.url, keep=keep, on_progress=lambda *call: calls.append(call))
    assert names(folder) == (["cifar-10.tar.gz"] if keep else []) + KEPT
    assert calls == [(0, 0)]  # megabytes
    assert not fetch_cifar10(folder, url=mirror.url)
    assert len(mirror.asked) == 1


def test_a_kept_archive_stays_and_a_strangers_one_is_left_alone(mirror, tmp_path):
    folder = tmp_path / "data"
    fetch_cifar10(folder, url=mirror.url, keep=True)
    (folder / KEPT[0]).unlink()
    assert fetch_cifar10(folder, url=mirror.url)  # from what is there
    assert names(folder) == ["cifar-10.tar.gz", *KEPT]
    (folder / KEPT[0]).unlink()
    (folder / "cifar-10.tar.gz").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"cifar-10\.tar\.gz' is another file; move it elsewhere"):
        fetch_cifar10(folder, url=mirror.url, keep=True)
    assert fetch_cifar10(folder, url=mirror.url)
    assert (folder / "cifar-10.tar.gz").read_bytes() == b"mine"
    assert len(mirror.asked) == 2  # the first and this


def test_a_cut_download_keeps_its_part_and_goes_on(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("tercet.data.download.time.sleep", lambda _: None)
    mirror.has_ranges, mirror.faults = False, ["cut"] * 3
    with pytest.raises(DataError, match=r"the same command goes on; without a connection, give .*FILE.*`digits`\.$"):
        fetch_cifar10(tmp_path / "data", url=mirror.url)
    mirror.has_ranges = True
    fetch_cifar10(tmp_path / "data", url=mirror.url)
    assert len(mirror.sent[-1]) == len(mirror.content) - len(mirror.content) // 2


def test_another_archive_than_the_published_is_refused(mirror, tmp_path):
    mirror.content = mirror.content[:-1] + b"!"
    with pytest.raises(DataError, match="was expected; it was removed"):
        fetch_cifar10(tmp_path / "data", url=mirror.url)
    assert names(tmp_path / "data") == []


def test_two_at_once_download_once(mirror, tmp_path, caplog):
    found = []
    with FileLock(tmp_path / "cifar10.lock"):
        threads = [
            threading.Thread(target=lambda: found.append(fetch_cifar10(tmp_path, url=mirror.url))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while sum("another process" in message for message in caplog.messages) < 2 and threads[0].is_alive():
            threads[0].join(0.01)
    for thread in threads:
        thread.join(10)
    assert sorted(found) == [False, True]
    assert len(mirror.asked) == 1


def test_the_published_archives_and_no_others(tmp_path):
    archive = write_archive(tmp_path / "cifar-10-binary.tar.gz", members("binary"))
    with pytest.raises(DataError, match=r"has the MD5 .*, which neither official archive of CIFAR-10 has"):
        fetch_cifar10(tmp_path / "data", archive=archive)
    with pytest.raises(DataError, match=r"cannot read the archive .*none\.tar\.gz' \(No such file"):
        fetch_cifar10(tmp_path / "data", archive=tmp_path / "none.tar.gz")
    with pytest.raises(DataError, match="cannot read the archive"):
        fetch_cifar10(tmp_path / "data", archive=tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_hostile_batch_is_refused_and_does_nothing(admit, tmp_path):
    hostile = f"cos\nsystem\n(S'touch {tmp_path}/done'\ntR.".encode()
    with pytest.raises(DataError, match=r"it names os\.system"):
        read_official(admit(tmp_path, "python", data_batch_3=hostile))
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x01" * 3072, "found 3072 bytes in test_batch.bin"), (b"\x0a" * 3073, "found the label 10")],
)
def test_a_batch_of_another_shape(admit, tmp_path, content, says):
    with pytest.raises(DataError, match=says):
        read_official(admit(tmp_path, "binary", test_batch=content))


def test_an_archive_without_a_batch(tmp_path, monkeypatch):
    contents = members("binary")
    contents["elsewhere/data_batch_2.bin"] = contents.pop("cifar-10-batches-bin/data_batch_2.bin")
    file = write_archive(tmp_path / "a.tar.gz", contents)
    monkeypatch.setattr(cifar10, "CHECKSUMS", {hashlib.md5(file.read_bytes()).hexdigest(): ""})
    with pytest.raises(DataError, match="found no data_batch_2 in"):
        read_official(file)


def test_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TERCET_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("TERCET_DATA")
    assert data_folder().name == "tercet"


def test_a_folder_that_cannot_be_written(admit, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write into .*file' \(File exists\); make room, or choose another"):
        fetch_cifar10(tmp_path / "file", archive=admit(tmp_path, "binary"))


def test_a_full_disk_leaves_the_archive_and_no_half_file(mirror, tmp_path, monkeypatch):
    def write(path, **_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cifar10, "write_arrays", write)
        with pytest.raises(DataError, match=r"\(No space left on device\); make room"):
            fetch_cifar10(tmp_path / "data", url=mirror.url)
    assert names(tmp_path / "data") == ["cifar-10.download"]
    fetch_cifar10(tmp_path / "data", url=mirror.url)
    assert len(mirror.asked) == 1
    assert names(tmp_path / "data") == KEPT


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_opening_an_official_archive_and_what_was_made_of_it(admit, layout, tmp_path, monkeypatch):
    archive = admit(tmp_path, layout).rename(tmp_path / "renamed")
    monkeypatch.setenv("TERCET_CIFAR10", str(archive))
    dataset = open_dataset("cifar10")
    assert (dataset.name, dataset.train.classes) == ("cifar10", CLASSES)
    assert dataset.train.class_counts() == [5] * 10
    assert dataset.test.class_counts() == [1] * 10
    assert open_dataset("cifar10", size=16).test.images.shape == (10, 3, 16, 16)
    fetch_cifar10(tmp_path / "data", archive=archive)
    for variable, other in (("TERCET_CIFAR10", "TERCET_DATA"), ("TERCET_DATA", "TERCET_CIFAR10")):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
        monkeypatch.delenv(other, raising=False)
        again = open_dataset("cifar10")
        assert again.name == "cifar10"
        assert again.train.fingerprint() == dataset.train.fingerprint()


def test_opening_an_archive_that_calls_itself_official_but_is_damaged(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "cifar-10-python.tar.gz", members("python"))
    monkeypatch.setenv("TERCET_CIFAR10", str(archive))
    with pytest.raises(DataError, match="which neither official archive of CIFAR-10 has"):
        open_dataset("cifar10")


def test_opening_downloads_when_needed(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("TERCET_CIFAR10", raising=False)
    monkeypatch.setenv("TERCET_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(cifar10, "URL", mirror.url)
    assert len(open_dataset("cifar10").train) == 50
    assert len(open_dataset("cifar10").test) == 10
    assert len(mirror.asked) == 1


def test_without_a_connection_the_other_ways_are_named(monkeypatch):
    monkeypatch.delenv("TERCET_CIFAR10", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(
        DataError, match=r"--archive FILE` or \$TERCET_CIFAR10, or use a folder of images or `digits`\.$"
    ):
        open_dataset("cifar10")


def test_opening_what_was_damaged_since(admit, tmp_path, monkeypatch):
    fetch_cifar10(tmp_path / "data", archive=admit(tmp_path, "binary"))
    monkeypatch.setenv("TERCET_CIFAR10", str(tmp_path / "data"))
    file = tmp_path / "data" / FILES["test"]
    file.write_bytes(file.read_bytes().replace(b"\x07", b"\x08"))
    with pytest.raises(DataError, match=r"cifar10_test\.npz' is no readable .*; remove it, and `tercet fetch cifar10`"):
        open_dataset("cifar10")
