"""Small archives in the layout of the official CIFAR-10: ten images a batch, one of each class."""

import io
import struct
import tarfile
from pathlib import Path

import numpy as np

from tercet.data.cifar10 import CLASSES

NAMES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
META = "\n".join([*CLASSES, "", ""]).encode()


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows uint8 [10, 3072] and labels [10] of a batch, always the same."""
    generator = np.random.default_rng(NAMES.index(name))
    return generator.integers(256, size=(10, 3072), dtype=np.uint8), generator.permutation(10)


def text(content: bytes) -> bytes:
    """The opcodes that push a string of Python 2."""
    return b"T" + struct.pack("<i", len(content)) + content


def call(function: str, argument: bytes) -> bytes:
    """The opcodes that call a function with one string."""
    return b"c" + function.replace(".", "\n").encode() + b"\n" + text(argument) + b"\x85R"


def array(rows: np.ndarray, *, kind: bytes = b"u1", by_columns: bool = False) -> bytes:
    """The opcodes that NumPy 1 under Python 2 writes for an array, checked against Python 2.7 with NumPy 1.16."""
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"M" + struct.pack("<H", rows.shape[0]) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86"
    dtype = b"cnumpy\ndtype\n" + text(kind) + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    order = b"\x88" if by_columns else b"\x89"
    return made + b"(K\x01" + shape + dtype + order + text(rows.tobytes("F" if by_columns else "C")) + b"tb"


def pickled(rows: np.ndarray, labels: np.ndarray, *, data: bytes | None = None) -> bytes:
    """A batch as the Python archive has it: a pickle of protocol 2; `data` replaces the opcodes of its array."""
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = [text(b"batch_label"), text(b"training batch 1 of 5"), text(b"labels"), numbers]
    items += [text(b"data"), data or array(rows), text(b"filenames"), b"]"]
    return b"\x80\x02}(" + b"".join(items) + b"u."


def members(layout: str) -> dict[str, bytes]:
    """Names and contents of the `binary` or the `python` archive, in no tidy order, as in the official ones."""
    if layout == "binary":
        batches = {f"{name}.bin": np.column_stack(batch(name)[::-1]).astype(np.uint8).tobytes() for name in NAMES}
        others = {"batches.meta.txt": META, "readme.html": b"<html>"}
    else:
        batches = {name: pickled(*batch(name)) for name in NAMES}
        others = {"batches.meta": b"\x80\x02}.", "readme.html": b"<html>"}
    folder = "cifar-10-batches-bin" if layout == "binary" else "cifar-10-batches-py"
    return {f"{folder}/{name}": content for name, content in [*reversed(batches.items()), *others.items()]}


def write_archive(file: Path, contents: dict[str, bytes]) -> Path:
    """A .tar.gz of these members."""
    with tarfile.open(file, "w:gz") as tar:
        for name, content in contents.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return file
