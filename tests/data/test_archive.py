import io
import os
import tarfile
import zipfile

import pytest

import hostile
from tercet.data import archive
from tercet.data.archive import walk
from tercet.errors import DataError

FILES = {"dog/1.png": b"bow", "cat/1.jpg": b"miaow", "cat/2.JPG": b"purr"}
SUFFIXES = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip"]


def add(tar, name, content=b"", **about):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, setting in about.items():
        setattr(member, key, setting)
    tar.addfile(member, io.BytesIO(content))


def pack(file, files=FILES):
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in files.items():
                bundle.writestr(name, content)
    else:
        with tarfile.open(file, f"w:{file.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as tar:
            for name, content in files.items():
                add(tar, name, content)
    return file


def contents(source):
    return {file.path: file.read() for file in walk(source)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_is_read_in_its_own_order(tmp_path, suffix):
    assert list(contents(pack(tmp_path / f"a{suffix}")).items()) == list(FILES.items())


def test_a_folder_is_read_in_order_of_name(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert list(contents(tmp_path).items()) == sorted(FILES.items())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_visible_image_is_passed_over(tmp_path, suffix):
    clutter = ["README.txt", "cat/Thumbs.db", "cat/.DS_Store", "cat/._1.jpg", ".git/1.jpg", "__MACOSX/cat/1.jpg", "jpg"]
    assert contents(pack(tmp_path / f"a{suffix}", FILES | dict.fromkeys(clutter, b"x"))) == FILES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_archive_is_an_error(tmp_path, suffix):
    file = pack(tmp_path / f"a{suffix}", {f"cat/{number}.jpg": os.urandom(900) for number in range(40)})
    whole = file.read_bytes()
    for left in (0, 3, len(whole) // 2 + 100):
        file.write_bytes(whole[:left])
        with pytest.raises(DataError, match=f"a{suffix}' cannot be read to its end"):
            contents(file)


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path):
    file = pack(tmp_path / "a.tar")
    damaged = bytearray(file.read_bytes())
    damaged[1024] ^= 1  # the second of the headers, of which each is followed by one block
    file.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged header"):
        contents(file)


def test_a_wrong_checksum_of_a_gzip_is_noticed(tmp_path):
    file = pack(tmp_path / "a.tgz")
    damaged = bytearray(file.read_bytes())
    damaged[-8] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(DataError, match="CRC"):
        contents(file)


def test_hostile_members_of_a_tar_are_ignored_and_nothing_is_written(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as tar:
        add(tar, "../x.jpg", b"out")
        add(tar, "cat/../../x.jpg", b"out")
        add(tar, str(tmp_path / "absolute.jpg"), b"out")
        add(tar, "cat/link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "cat/hard.jpg", type=tarfile.LNKTYPE, linkname="cat/1.jpg")
        add(tar, "cat/device.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
        add(tar, "cat/pipe.jpg", type=tarfile.FIFOTYPE)
        add(tar, "./cat/1.jpg", b"miaow")
    assert contents(folder / "a.tar") == {"cat/1.jpg": b"miaow"}
    assert list(tmp_path.rglob("*")) == [folder, folder / "a.tar"]


def test_hostile_members_of_a_zip_are_ignored(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("../x.jpg", b"out")
        bundle.writestr("/absolute.jpg", b"out")
        link = zipfile.ZipInfo("cat/link.jpg")
        link.external_attr = 0o120777 << 16
        bundle.writestr(link, "/etc/passwd")
        bundle.writestr("dog\\1.jpg", b"bow")  # as some programs on Windows write it
    assert contents(tmp_path / "a.zip") == {"dog/1.jpg": b"bow"}


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 4)
    files = walk(pack(tmp_path / f"a{suffix}"))
    assert next(files).read() == b"bow"
    with pytest.raises(OSError, match="larger than"):
        next(files).read()


def test_a_damaged_member_of_a_zip_is_a_fault_of_that_file_alone(tmp_path):
    file = pack(tmp_path / "a.zip", {"cat/1.jpg": b"\1" * 50, "cat/2.jpg": b"fine"})
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(b"PK\1\2") + 16] ^= 1  # the first checksum in the directory
    file.write_bytes(damaged)
    files = walk(file)
    with pytest.raises(OSError, match="damaged in the archive"):
        next(files).read()
    assert next(files).read() == b"fine"


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "cat").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "1.jpg").write_bytes(b"bow")
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "again").symlink_to(root)
    (root / "cat" / "1.jpg").symlink_to(elsewhere / "1.jpg")
    assert contents(root) == {"cat/1.jpg": b"bow", "dog/1.jpg": b"bow"}


def test_a_broken_link_is_a_fault_of_that_file(tmp_path):
    (tmp_path / "1.jpg").symlink_to(tmp_path / "none.jpg")
    (file,) = walk(tmp_path)
    with pytest.raises(OSError, match="link"):
        file.read()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (hostile.member("x", bytes(100_000), kind=b"L"), "damaged header"),
        (hostile.pax({"x": "y" * 100_000}), "damaged header"),
        (hostile.negative("cat/x.png"), "damaged header"),
        (hostile.member("cat/x.png", size=2**50), "beyond the end"),
        (hostile.sparse("cat/x.png", 2**20), "a file with holes"),
        (hostile.pax({"GNU.sparse.map": "0,1"}) + hostile.member("cat/x.png"), "a file with holes"),
        (hostile.pax({"x": "y"}) * 2_000, "recursion"),
    ],
)
def test_headers_that_would_fill_the_memory_or_take_for_ever_are_refused(tmp_path, part, says):
    (tmp_path / "a.tar").write_bytes(hostile.tar((part, 1), kind="tar")[1])
    with pytest.raises(DataError, match=f"a.tar' cannot be read to its end .*{says}"):
        list(walk(tmp_path / "a.tar"))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])
def test_what_unpacks_to_far_more_than_it_is_is_refused(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 2_000)
    assert contents(pack(tmp_path / f"a{suffix}", {"cat/1.png": b"\1" * 1_000})) == {"cat/1.png": b"\1" * 1_000}
    with pytest.raises(DataError, match=rf"a\{suffix}' unpacks to more than 100 times its size"):
        list(walk(pack(tmp_path / f"a{suffix}", {"cat/1.png": bytes(400_000)})))


def test_a_zip_packed_in_another_way_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as bundle:
        bundle.writestr("cat/1.png", b"miaow")
    with pytest.raises(OSError, match="another method than deflate"):
        contents(tmp_path / "a.zip")
