import hashlib
import logging
import threading
from pathlib import Path

import pytest

from mirror import serve
from tercet.data.download import alone, checksum, download
from tercet.errors import DataError

CONTENT = bytes(range(256)) * 2000  # half a megabyte
MD5 = hashlib.md5(CONTENT).hexdigest()
MOST_BYTES = 2**20


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(CONTENT) as server:
        yield server


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.tar.gz"


def fetch(mirror, file, *, checksums=(MD5,), most_bytes=MOST_BYTES, pauses_s=(), **options):
    download(mirror.url, file, checksums, most_bytes, pauses_s=pauses_s, **options)


def names(file):
    return sorted(path.name for path in file.parent.iterdir())


def cut_once(mirror, file):
    """A first call that ends half way."""
    mirror.faults = ["cut"]
    with pytest.raises(DataError, match=r"broke off after 0\.3 MB .*; the same command goes on\.$"):
        fetch(mirror, file)
    assert names(file) == ["file.tar.gz.part", "file.tar.gz.part.json"]
    assert file.with_name("file.tar.gz.part").read_bytes() == CONTENT[: len(CONTENT) // 2]


def test_a_file_comes_whole_with_progress_and_only_once(mirror, file):
    calls = []
    fetch(mirror, file, on_bytes=lambda *call: calls.append(call))
    assert file.read_bytes() == CONTENT
    assert names(file) == ["file.tar.gz"]
    assert calls[0] == (0, len(CONTENT))
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert calls == sorted(calls)
    fetch(mirror, file)
    assert len(mirror.asked) == 1


def test_a_damaged_file_that_lies_there_is_replaced(mirror, file):
    file.write_bytes(CONTENT[:-1])
    fetch(mirror, file)
    assert checksum(file) == MD5


def test_a_cut_download_goes_on_where_it_was_cut(mirror, file):
    cut_once(mirror, file)
    calls = []
    fetch(mirror, file, on_bytes=lambda *call: calls.append(call))
    half = len(CONTENT) // 2
    assert mirror.asked[1]["Range"] == f"bytes={half}-"
    assert mirror.asked[1]["If-Range"] == '"first"'
    assert mirror.sent == [CONTENT[:half], CONTENT[half:]]
    assert calls[0] == (half, len(CONTENT))
    assert file.read_bytes() == CONTENT
    assert names(file) == ["file.tar.gz"]


def test_within_one_call_it_goes_on_as_long_as_more_comes(mirror, file, caplog):
    mirror.faults = ["cut"] * 6 + ["503", "cut"]  # more often than there are pauses
    fetch(mirror, file, pauses_s=(0.0, 0.0))
    assert b"".join(mirror.sent) == CONTENT
    assert len(caplog.messages) == 8
    assert caplog.messages[0].endswith("after 0.3 MB; trying again")


def test_it_gives_up_where_nothing_more_comes(mirror, file):
    mirror.has_ranges, mirror.faults = False, ["cut"] * 20
    with pytest.raises(DataError, match="the same command goes on"):
        fetch(mirror, file, pauses_s=(0.0, 0.0))
    assert len(mirror.asked) == 3  # the first, which brought something, and one after each pause


def test_a_server_without_ranges_starts_anew(mirror, file):
    cut_once(mirror, file)
    mirror.has_ranges = False
    fetch(mirror, file)
    assert mirror.sent[1] == CONTENT
    assert file.read_bytes() == CONTENT


def test_another_version_of_the_file_starts_anew(mirror, file):
    cut_once(mirror, file)
    mirror.content, mirror.tag = CONTENT[::-1], '"second"'
    fetch(mirror, file, checksums=[hashlib.md5(mirror.content).hexdigest()])
    assert mirror.sent[1] == mirror.content
    assert file.read_bytes() == mirror.content


@pytest.mark.parametrize(
    ("tag", "date", "sends"),
    [("", "Thu, 01 Jan 2009 00:00:00 GMT", True), ('W/"weak"', "", False), ("", "", False), ('"gr\xfcn"', "", False)],
    ids=["date", "weak tag", "nothing", "tag that is no ASCII"],
)
def test_only_what_identifies_the_bytes_is_taken_up(mirror, file, tag, date, sends):
    mirror.tag, mirror.date = tag, date
    cut_once(mirror, file)
    fetch(mirror, file)
    assert mirror.asked[1].get("If-Range") == (date if sends else None)
    assert mirror.asked[1].get("Range", "").startswith("bytes=" if sends else "")
    assert len(mirror.sent[1]) == len(CONTENT) // (2 if sends else 1)


def test_the_part_from_another_address_is_not_taken_up(mirror, file):
    cut_once(mirror, file)
    mirror.url += "?mirror=2"
    fetch(mirror, file)
    assert "Range" not in mirror.asked[1]


@pytest.mark.parametrize("fault", ["416", "shifted"])
def test_a_server_that_refuses_the_rest_gives_all(mirror, file, fault):
    cut_once(mirror, file)
    mirror.faults = [fault]
    fetch(mirror, file, pauses_s=(0.0,))
    assert "Range" not in mirror.asked[2]
    assert file.read_bytes() == CONTENT


def test_a_download_that_ended_before_its_check_asks_for_nothing(mirror, file):
    cut_once(mirror, file)
    file.with_name("file.tar.gz.part").write_bytes(CONTENT)
    fetch(mirror, file)
    assert len(mirror.asked) == 1
    assert names(file) == ["file.tar.gz"]


@pytest.mark.parametrize("record", ["", "[]", "not JSON", '{"url": 1}'])
def test_a_damaged_record_starts_anew(mirror, file, record):
    cut_once(mirror, file)
    file.with_name("file.tar.gz.part.json").write_text(record)
    fetch(mirror, file)
    assert "Range" not in mirror.asked[1]


def test_a_wrong_content_is_removed(mirror, file):
    with pytest.raises(DataError, match=f"with the MD5 {MD5} where 123 or 456 was expected; it was removed"):
        fetch(mirror, file, checksums=["123", "456"])
    assert names(file) == []


def test_without_a_length_a_truncated_body_shows_in_the_checksum(mirror, file):
    mirror.announces_length, mirror.faults = False, ["cut"]
    with pytest.raises(DataError, match="it was removed"):
        fetch(mirror, file)
    fetch(mirror, file)
    assert file.read_bytes() == CONTENT


def test_a_web_page_is_refused_and_the_part_survives(mirror, file):
    cut_once(mirror, file)
    mirror.faults = ["page"]
    with pytest.raises(DataError, match="gave a web page, not the file"):
        fetch(mirror, file)
    assert file.with_name("file.tar.gz.part").stat().st_size == len(CONTENT) // 2
    fetch(mirror, file)
    assert mirror.asked[2]["Range"]


def test_a_missing_file_is_not_asked_for_again(mirror, file):
    mirror.faults = ["404"]
    with pytest.raises(DataError, match=r"cannot be downloaded \(404 Not Found\)"):
        fetch(mirror, file, pauses_s=(0.0,))
    assert len(mirror.asked) == 1
    assert names(file) == []


def test_a_silent_server_ends_in_a_sentence(mirror, file):
    mirror.faults = ["stall"]
    with pytest.raises(DataError, match=r"broke off after 0\.3 MB \(the server fell silent\)"):
        fetch(mirror, file, read_timeout_s=0.2)
    fetch(mirror, file)
    assert mirror.asked[1]["Range"]


@pytest.mark.parametrize("announces", [True, False])
def test_more_than_expected_is_not_kept(mirror, file, announces):
    mirror.announces_length, came = announces, [0]
    with pytest.raises(DataError, match=r"more than the 0\.1 MB expected"):
        fetch(mirror, file, most_bytes=100_000, on_bytes=lambda done, _: came.append(done))
    assert max(came) < len(CONTENT)  # it hangs up in the middle
    assert names(file) == []


def test_a_redirect_is_followed(mirror, file):
    mirror.faults = ["redirect"]
    fetch(mirror, file)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/file", "ftp://127.0.0.1/file", "nonsense", "http://127.0.0.1:x/", "http://"]
)
def test_an_address_that_leads_nowhere_is_one_sentence(file, monkeypatch, url):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"cannot be downloaded \(.+\); check address and connection\.$"):
        download(url, file, [MD5], MOST_BYTES)


def test_a_proxy_that_cannot_be_used_is_one_sentence(file, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1")
    with pytest.raises(DataError, match="the proxy or the certificates"):
        download("http://127.0.0.1:9/file", file, [MD5], MOST_BYTES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, the disk that is always full")
def test_a_full_disk_is_an_error_of_the_system(mirror, file):
    file.with_name("file.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fetch(mirror, file)


def test_the_second_waits_for_the_first_and_says_so(tmp_path, caplog):
    order, inside = [], threading.Event()

    def second():
        inside.wait(5)
        with alone(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with caplog.at_level(logging.WARNING), alone(tmp_path / "lock"):
        inside.set()
        while not caplog.messages and thread.is_alive():
            thread.join(0.01)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert caplog.messages == [f"another process works in {tmp_path}; waiting until it is done"]
