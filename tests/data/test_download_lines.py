"""Lines that are down and names of servers that cannot be, without a server."""

import hashlib

import httpx
import pytest

from tercet.data.download import download
from tercet.errors import DataError

CONTENT = b"content"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.tar.gz"


def test_a_line_that_was_there_and_is_still_down_is_waited_for(file, monkeypatch):
    faults = [httpx.ReadError("cut"), httpx.ConnectError("no such name"), None]

    def receive(client, url, part, most_bytes, on_bytes):
        part.path.write_bytes(CONTENT)
        if fault := faults.pop(0):
            raise fault

    monkeypatch.setattr("tercet.data.download._receive", receive)
    download("http://localhost/file", file, [hashlib.md5(CONTENT).hexdigest()], 100, pauses_s=(0, 0))
    assert file.read_bytes() == CONTENT
    assert not faults


@pytest.mark.parametrize("url", ["http://a..com/x", f"http://{'a' * 64}.com/x"])
def test_a_name_that_no_machine_can_have_is_told(file, url):
    with pytest.raises(DataError, match=r"cannot be downloaded .* check address and connection"):
        download(url, file, [], 100, pauses_s=())
