"""Embeddings of many image files, written as they are made: `.npz` or `.csv`, whole or not at all."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float
from numpy.lib.format import write_array_header_2_0

from tercet.errors import DataError, UsageError
from tercet.files import replacing
from tercet.inference.images import OnUnreadable, image_paths, readable_images
from tercet.model.bundle import Bundle

Block = tuple[list[str], Float[np.ndarray, "n D"]]  # paths and their embeddings


def embed_files(bundle: Bundle, arguments: Iterable[str], out: Path, on_unreadable: OnUnreadable) -> int:
    """Embed the images that the arguments mean (`image_paths`) into `out`; return how many there are.

    `.npz` holds `embeddings` float32 `[N, D]` and `paths`; `.csv` a row an image, `path` and then D numbers. Memory
    does not grow with the number of images. DataError where none can be read or `out` cannot be written.
    """
    arguments = list(arguments)
    if out.suffix not in WRITERS:
        raise UsageError(f"--out is {out}; expected a name that ends in {' or '.join(WRITERS)}.")
    blocks = (
        (names, bundle.embed(pixels))
        for names, pixels in readable_images(image_paths(arguments), bundle.side, on_unreadable)
    )
    try:
        with replacing(out) as file:
            count = WRITERS[out.suffix](file, out.parent, blocks)
            if not count:
                raise DataError(
                    f"found no readable image in {', '.join(arguments)}; expected image files or folders of them."
                )
    except OSError as error:
        raise DataError(f"--out {out} cannot be written ({error.strerror}); give another path.") from error
    return count


def _write_npz(file: IO[bytes], folder: Path, blocks: Iterable[Block]) -> int:
    """Spool both arrays, since their headers, and the width of the paths, are known at the end only."""
    with TemporaryFile(dir=folder) as vectors, TemporaryFile(dir=folder) as names:
        count = dimensions = longest = 0
        for paths, embeddings in blocks:
            vectors.write(embeddings.astype("<f4").tobytes())
            for path in paths:
                encoded = path.encode("utf-32-le", "surrogatepass")
                names.write(len(encoded).to_bytes(4, "little") + encoded)
                longest = max(longest, len(encoded))
            count, dimensions = count + len(paths), embeddings.shape[1]
        vectors.seek(0)
        names.seek(0)
        with ZipFile(file, "w") as archive:
            with archive.open("embeddings.npy", "w", force_zip64=True) as member:
                member.write(_header("<f4", (count, dimensions)))
                shutil.copyfileobj(vectors, member)
            with archive.open("paths.npy", "w", force_zip64=True) as member:
                member.write(_header(f"<U{max(1, longest // 4)}", (count,)))
                for _ in range(count):  # NumPy keeps text as that many characters of 32 bits, filled up with zeros
                    member.write(names.read(int.from_bytes(names.read(4), "little")).ljust(longest, b"\0"))
    return count


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    """What an `.npy` file begins with."""
    header = io.BytesIO()
    write_array_header_2_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write_csv(file: IO[bytes], folder: Path, blocks: Iterable[Block]) -> int:  # noqa: ARG001
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    rows, count = csv.writer(text), 0
    for paths, embeddings in blocks:
        if not count:
            rows.writerow(["path", *(f"e{number}" for number in range(embeddings.shape[1]))])
        rows.writerows([path, *map(str, row)] for path, row in zip(paths, embeddings, strict=True))
        count += len(paths)
    text.detach()  # which flushes, and leaves the file open
    return count


WRITERS: dict[str, Callable[[IO[bytes], Path, Iterable[Block]], int]] = {".npz": _write_npz, ".csv": _write_csv}
