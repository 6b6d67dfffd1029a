"""A request's body to pixels: bounded in bytes, in pixels and in time, and kept in memory only.

An image is refused by its header before it is decoded. A refusal is an HTTPException whose detail says what was found
and what is expected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO

from PIL import Image, UnidentifiedImageError
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tercet.data.decode import FORMATS, MAX_PIXELS, Pixels, read_image
from tercet.errors import DataError

MOST_BYTES = 5_000_000  # of a body; the page makes larger photographs smaller before it sends them
BODY_SECONDS = 10  # for a body to arrive
MOST_PARTS = 100  # of a form, of which one counts
HELD_BYTES = 64_000_000  # of all bodies that arrive or wait: a guess
KINDS = "a JPEG, PNG, WebP, GIF, BMP or TIFF image"


class Inbox:
    """Receives bodies and knows how many bytes they take together, so that many slow senders cannot fill the memory."""

    def __init__(self, most_bytes: int = HELD_BYTES) -> None:
        self._most_bytes, self._held_bytes = most_bytes, 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts until the end of the block."""
        if not _is_small(request.headers.get("content-length", "0")):
            raise _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    self._held_bytes += len(chunk)
                    if len(body) > MOST_BYTES:
                        raise _too_large()
                    if self._held_bytes > self._most_bytes:
                        raise busy()
            yield bytes(body)
        except TimeoutError as error:
            raise HTTPException(
                408, f"the body did not arrive within {BODY_SECONDS} seconds; send it again."
            ) from error
        finally:
            self._held_bytes -= len(body)


def busy() -> HTTPException:
    """The answer to one request too many."""
    return HTTPException(503, "the service is busy; try again in a second.", {"Retry-After": "1"})


def image_file(content_type: str, body: bytes) -> bytes:
    """The image file in a body: its first file where it is a form (multipart/form-data), else all of it."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        body = _first_file(options.get(b"boundary", b""), body)
    if not body:
        raise HTTPException(400, f"found an empty body; expected {KINDS}.")
    return body


def read_pixels(file: bytes, side: int) -> Pixels:
    """Decode an image file as uint8 `[side, side, 3]`, as training does."""
    try:
        with Image.open(BytesIO(file), formats=FORMATS) as image:
            is_large = image.width * image.height > MAX_PIXELS
    except UnidentifiedImageError as error:
        raise HTTPException(415, f"found no image; expected {KINDS}.") from error
    except Image.DecompressionBombError:
        is_large = True
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on damaged files
        raise HTTPException(400, f"found an image that is damaged; expected {KINDS}.") from error
    if is_large:
        raise HTTPException(413, f"found more than {MAX_PIXELS // 1_000_000} million pixels; send a smaller image.")
    try:
        return read_image(BytesIO(file), side)
    except DataError as error:
        raise HTTPException(400, f"found an image that cannot be read: {error}; expected {KINDS}.") from error


def _first_file(boundary: bytes, body: bytes) -> bytes:
    parts: list[Field | File] = []

    def take(part: Field | File) -> None:
        parts.append(part)
        if len(parts) > MOST_PARTS:
            raise HTTPException(400, f"found a form of more than {MOST_PARTS} parts; expected one file.")

    try:
        # Files above this size would be written to disk.
        settings = {"MAX_MEMORY_FILE_SIZE": MOST_BYTES + 1}
        parser = FormParser("multipart/form-data", take, take, boundary=boundary, config=settings)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, "found a damaged form; expected multipart/form-data with one file.") from error
    files = [part for part in parts if isinstance(part, File)]
    if not files:
        raise HTTPException(400, "found a form without a file; expected one file in multipart/form-data.")
    content = files[0].file_object
    assert isinstance(content, BytesIO)  # by the setting above
    return content.getvalue()


def _is_small(length: str) -> bool:
    return length.isdecimal() and len(length) < 20 and int(length) <= MOST_BYTES


def _too_large() -> HTTPException:
    return HTTPException(413, f"found more than {MOST_BYTES // 1_000_000} MB; send a smaller image.")
