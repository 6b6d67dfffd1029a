"""Archives made to do harm: each with ten good images of two classes, and something else.

Of each it is told what becomes of it: so many images are read, or it is refused in these words.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

MEGABYTE = 2**20
BLOCK = bytes(64 * MEGABYTE)
PACK = {"tar": bytes, "tar.gz": partial(gzip.compress, compresslevel=1), "tar.xz": partial(lzma.compress, preset=0)}


def image(number: int) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    return content.getvalue()


GOOD = {f"{label}/{number}.png": image(number) for number, label in enumerate(["cat"] * 5 + ["dog"] * 5)}


def member(name: str, content: bytes = b"", *, size: int | None = None, kind: bytes = b"0", link: str = "") -> bytes:
    """A member of a tar, of which `size` may tell another length than its content has."""
    header = tarfile.TarInfo(name)
    header.size, header.type, header.linkname = len(content) if size is None else size, kind, link
    header.devmajor, header.devminor = 1, 5
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


GOOD_MEMBERS = b"".join(member(name, content) for name, content in GOOD.items())


def tar(*parts: tuple[bytes, int], kind: str = "tar.gz") -> tuple[str, bytes]:
    """Parts, each so many times, then the good images; gzip and xz let packed parts stand one after another."""
    return kind, b"".join(packed(kind, part) * times for part, times in (*parts, (GOOD_MEMBERS + bytes(1024), 1)))


@cache
def packed(kind: str, part: bytes) -> bytes:
    return PACK[kind](part)


def pax(content: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    records = b"".join(record(key, value) for key, value in content.items())
    return member("pax", records, kind=kind)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = len(text) + next(n for n in range(1, 9) if len(str(len(text) + n)) == n)
    return str(length).encode() + text


def sparse(name: str, size: int) -> bytes:
    """A member of zeros that are not there, in the old form of GNU."""
    header = bytearray(member(name, size=0, kind=tarfile.GNUTYPE_SPARSE))
    header[386 : 386 + 24] = b"%011o\0" % size + b"%011o\0" % 0  # one piece at the end, of no length
    header[483 : 483 + 12] = b"%011o\0" % size
    return checked(header)


def negative(name: str) -> bytes:
    header = bytearray(member(name))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512
    return checked(header)


def checked(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


def zipped(extra: dict[str, bytes] | None = None, edit: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        for name, data in {**GOOD, **(extra or {})}.items():
            bundle.writestr(name, data)
        if edit:
            edit(bundle)
    return content.getvalue()


def link(bundle: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("cat/link.png")
    entry.external_attr = 0o120777 << 16
    bundle.writestr(entry, "/etc/passwd")


def many(bundle: zipfile.ZipFile, count: int) -> None:
    for number in range(count):
        bundle.writestr(zipfile.ZipInfo(f"cat/{number:07}.png"), b"")


def patched(content: bytes, places: tuple[int, ...], value: bytes) -> bytes:
    """A zip of which these places of the first entry of the directory hold something else."""
    edited, start = bytearray(content), content.index(b"PK\1\2")
    for place in places:
        edited[start + place : start + place + len(value)] = value
    return bytes(edited)


def overlapping(count: int, kernel: bytes) -> bytes:
    """Files that hold one another: each quotes the next one's head and goes on with it (Fifield, A better zip bomb)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed, content, entries = packer.compress(kernel) + packer.flush(), kernel, []
    whole = b""
    for number in reversed(range(count)):
        name = f"cat/{number:05}.png".encode()
        sizes = (zlib.crc32(content), len(packed), len(content), len(name), 0)
        head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, *sizes) + name
        whole = head + packed
        entries.append((head[4:30], name, len(whole)))
        packed = struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF) + whole  # the head as a block that is not packed
        content = head + content
    directory = b"".join(
        b"PK\1\2\x14\0" + numbers + struct.pack("<HHHII", 0, 0, 0, 0, len(whole) - from_end) + name
        for numbers, name, from_end in entries
    )
    return whole + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(whole), 0)


NAMES = ["../out.png", "../../out.png", "cat/../../out.png", "/tmp/out.png", "..\\..\\out.png", "C:\\out.png", ".png"]
ACCENTS = [unicodedata.normalize(form, "cat/é.png") for form in ("NFC", "NFD")]
READ, GROWN, DAMAGED = "10 images", "unpacks to", "cannot be read to its end"


def tars(outside: Path, blocks: int) -> Iterator[tuple[str, bytes, str]]:
    """Suffix, content and what becomes of it; a bomb is `blocks` times 64 MB."""
    hello = image(99)
    names = [*NAMES, str(outside / "absolute.png")]
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    links = [member(f"cat/{n}.png", kind=kind, link="../../../etc/passwd") for n, kind in enumerate(kinds)]
    large = member("cat/x.png", size=blocks * len(BLOCK))
    yield *tar((b"".join(member(name, hello) for name in names), 1)), READ
    yield *tar((b"".join(links), 1)), READ
    yield *tar((member("cat/0.png", hello), 1_000)), READ
    yield *tar((member("CAT/0.png", hello), 1), kind="tar.xz"), "fewer than 4 readable images of 'CAT'"
    yield *tar((b"".join(member(name, hello) for name in ACCENTS), 1)), "12 images"
    for kind in ("tar.gz", "tar.xz"):
        yield *tar((large, 1), (BLOCK, blocks), kind=kind), GROWN
        yield *tar((member("cat/x.png", size=len(BLOCK)), 1), (BLOCK, 1), kind=kind), READ
        yield *tar((member("cat/x.png", BLOCK[: 60 * MEGABYTE]), blocks), kind=kind), GROWN
        for letter in b"LKxg":
            yield (
                *tar((member("x", size=blocks * len(BLOCK), kind=bytes([letter])), 1), (BLOCK, blocks), kind=kind),
                DAMAGED,
            )
    yield *tar((member("cat/x.png", size=2**40), 1), kind="tar"), DAMAGED
    yield *tar((negative("cat/x.png"), 1), kind="tar"), DAMAGED
    yield *tar((pax({"size": "-512"}) + member("cat/x.png"), 1), kind="tar"), DAMAGED
    yield *tar((pax({"size": "9" * 5_000}) + member("cat/x.png"), 1), kind="tar"), READ  # taken for 0
    yield *tar((pax({"GNU.sparse.map": "0," * 5_000}) + member("cat/x.png"), 1), kind="tar"), "a file with holes"
    yield *tar((pax({"comment": "x"}), 5_000), kind="tar"), DAMAGED
    yield *tar((pax({"x": "y" * 60_000}, tarfile.XGLTYPE) + member("x"), 1_000)), READ
    yield *tar((sparse("cat/x.png", 60 * MEGABYTE), blocks), kind="tar"), "a file with holes"
    yield *tar((b"".join(member(f"cat/{n}.png") for n in range(20_000)), 1)), READ


def zips(outside: Path, blocks: int) -> Iterator[tuple[str, bytes, str]]:
    """The same for zips."""
    hello, zeros = image(99), zipped({"cat/x.png": BLOCK[: 60 * MEGABYTE]})
    yield (
        "zip",
        zipped(dict.fromkeys([*NAMES, str(outside / "absolute.png")], hello)),
        "fewer than 4 readable images of 'C:'",
    )
    yield "zip", zipped(edit=link), READ
    yield "zip", zeros, READ
    yield "zip", zipped({"cat/x.png": zeros, "cat/y.zip": zeros}), READ
    yield "zip", zipped(edit=partial(many, count=20_000)), READ
    yield "zip", zipped({"cat/y.png": BLOCK * 2}), GROWN
    yield "zip", overlapping(50, BLOCK[: 20 * MEGABYTE]), GROWN
    yield "zip", patched(zipped(), (8,), b"\1"), "9 images"  # encrypted, it says
    yield "zip", patched(zipped(), (10,), b"\x63"), "9 images"  # packed in no known way
    yield "zip", patched(zipped(), (24,), b"\1\0\0\0"), "9 images"  # of one byte
    yield "zip", patched(zipped(), (20, 24), b"\xf0\xff\xff\xff"), GROWN  # of 4 GB
    yield "zip", patched(zipped(), (42,), b"\xf0\xff\xff\xff"), "9 images"  # that lies far out
    yield "zip", zipped()[:-22] + b"PK\5\6" + b"\xff" * 18, DAMAGED
