"""One file by HTTP to a path: taken up again where it was cut, checked, whole or not there.

What has come so far lies in NAME.part; NAME.part.json beside it says of what it is a part. A fault of the network or a
wrong content is a DataError, what the disk refuses an OSError. Knows nothing of what the file holds.
Reference: Fielding et al., RFC 9110: HTTP semantics, 2022, sections 13.1.5 (If-Range) and 14 (range requests).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from tercet.errors import DataError
from tercet.files import sync_folder, write_atomically

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 20.0  # guesses: long for a slow line, short for a person who waits
PAUSES_S = (1.0, 4.0)  # before each new try; guesses
PASSING = {429, 500, 502, 503, 504}  # statuses of a server that may answer a moment later

OnBytes = Callable[[int, int], None]  # (done, total); a total of 0 is not known

logger = logging.getLogger(__name__)


def download(
    url: str,
    file: Path,
    checksums: Collection[str],
    most_bytes: int,
    on_bytes: OnBytes = lambda *_: None,
    *,
    read_timeout_s: float = READ_TIMEOUT_S,
    pauses_s: Sequence[float] = PAUSES_S,
) -> None:
    """Bring the file that has one of these MD5 checksums to `file`; if it lies there already, nothing is sent for.

    A dropped or stalled connection is tried again after each of `pauses_s`, which begin anew whenever more has come
    than ever before. Bytes that came are kept for the next call.
    """
    part, longest, pauses = Part(file), 0, iter(pauses_s)
    if file.is_file() and checksum(file) in checksums:
        part.discard()  # a process killed at the end has left its record
        return
    with _client(read_timeout_s) as client:
        while not part.is_whole(url):
            try:
                _receive(client, url, part, most_bytes, on_bytes)
                break  # whole, as far as can be told where the server announces no length
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                if part.size > longest:
                    longest, pauses = part.size, iter(pauses_s)
                pause_s = next(pauses, None) if _may_pass(error, part) else None
                if pause_s is None:
                    raise DataError(_complaint(url, part, error)) from error
                logger.warning("%s after %s; trying again", _reason(error), _megabytes(part.size))
                time.sleep(pause_s)
    if (found := checksum(part.path)) not in checksums:
        part.discard()
        raise DataError(
            f"{url} gave a file with the MD5 {found} where {' or '.join(checksums)} was expected; it was removed: "
            "try again, or take another source."
        )
    with part.path.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.path.replace(file)
    sync_folder(file.parent)
    part.discard()


def checksum(file: Path) -> str:
    """The MD5 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock `file`, which one process at a time can; say so where that means waiting."""
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.warning("another process works in %s; waiting until it is done", file.parent)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Part:
    """What has come of a file, and the record of where it came from."""

    file: Path

    @property
    def path(self) -> Path:
        """Where the bytes are."""
        return self.file.with_name(f"{self.file.name}.part")

    @property
    def record(self) -> Path:
        """Where URL, validator and total are."""
        return self.file.with_name(f"{self.file.name}.part.json")

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, url: str, validator: str, total: int) -> None:
        """Forget what has come and start anew; without a validator it cannot be taken up again."""
        self.path.write_bytes(b"")
        write_atomically(self.record, json.dumps({"url": url, "validator": validator, "total": total}))

    def recorded(self, url: str) -> tuple[str, int]:
        """Validator and total of what has come from this URL; empty and 0 where they are not known."""
        try:
            about = json.loads(self.record.read_text())
            return (str(about["validator"]), int(about["total"])) if about["url"] == url else ("", 0)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", 0

    def is_whole(self, url: str) -> bool:
        """Whether all bytes have come."""
        return 0 < self.size == self.recorded(url)[1]

    def discard(self) -> None:
        """Remove bytes and record."""
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def _client(read_timeout_s: float) -> httpx.Client:
    # Nothing may compress the body on its way: ranges and checksum are of the file itself.
    headers = {"Accept-Encoding": "identity", "User-Agent": "tercet"}
    timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    try:
        return httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)
    except (ImportError, ValueError, OSError) as error:  # such as a proxy of a kind that httpx has no support for
        raise DataError(f"the proxy or the certificates set here cannot be used ({error}); change them.") from error


def _receive(client: httpx.Client, url: str, part: Part, most_bytes: int, on_bytes: OnBytes) -> None:
    """Ask for what is missing, or for all where the part cannot be taken up, and append what comes."""
    done, (validator, _) = part.size, part.recorded(url)
    asked = {"Range": f"bytes={done}-", "If-Range": validator} if done and validator else {}
    with client.stream("GET", url, headers=asked) as response:
        span = re.fullmatch(rf"bytes {done}-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if asked and (response.status_code == 416 or (response.status_code == 206 and not span)):
            part.discard()
            raise httpx.RemoteProtocolError("the server would not send the rest")  # so the next try starts anew
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise DataError(f"{url} gave a web page, not the file; log in to the network, or take another source.")
        if asked and response.status_code == 206 and span:
            total = int(span[1])
        else:
            done, total = 0, int(response.headers.get("Content-Length", 0))
            part.begin(url, _validator(response), total)
        with part.path.open("ab") as stream:
            on_bytes(done, total)
            blocks = response.iter_raw()
            while max(done, total) <= most_bytes and (block := next(blocks, b"")):
                stream.write(block)
                done += len(block)
                on_bytes(done, total)
    if max(done, total) > most_bytes:
        part.discard()
        raise DataError(f"{url} gives more than the {_megabytes(most_bytes)} expected; take another source.")
    if done < total:
        raise httpx.RemoteProtocolError("the server sent less than it had announced")


def _validator(response: httpx.Response) -> str:
    """What identifies this version of the file to the byte, which a weak ETag does not."""
    tag: str = response.headers.get("ETag", "")
    validator: str = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    return validator if validator.isascii() else ""


def _may_pass(error: Exception, part: Part) -> bool:
    """Whether the same request may succeed a moment later, as one that has succeeded before."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in PASSING
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return part.size > 0
    return isinstance(error, httpx.ReadTimeout | httpx.ReadError | httpx.RemoteProtocolError)


def _complaint(url: str, part: Part, error: Exception) -> str:
    if _may_pass(error, part) and part.size:
        came = _megabytes(part.size)
        return f"the download of {url} broke off after {came} ({_reason(error)}); the same command goes on."
    return f"{url} cannot be downloaded ({_reason(error)}); check address and connection."


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"{error.response.status_code} {error.response.reason_phrase}".strip()
    if isinstance(error, httpx.ReadTimeout):
        return "the server fell silent"
    return str(error).split(" (")[0] or type(error).__name__


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
