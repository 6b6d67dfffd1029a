"""The files of a gallery: `index.json`, and the generation of vectors and paths that it names.

A change is made to the next generation, which counts from when `index.json` is replaced to name it. What it does not
name is of no use to anybody: older generations, and what a crash has left.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tercet.errors import ModelError, check_format
from tercet.files import is_unfinished, write_atomically
from tercet.untrusted import read_object

FORMAT = 2  # raised when an older tercet could not read the folder; 1 had no digests
DESCRIPTION, LOCK = "index.json", "index.lock"
MOST_DIMENSIONS = 2**20  # more than any network gives: a guess
ENTRIES = {
    "format": (int,),
    "model": (str, type(None)),
    "fingerprint": (str,),
    "dimensions": (int,),
    "count": (int,),
    "vectors": (str,),
    "paths": (str,),
    "digests": (dict,),  # SHA-256 of both files by their names
}
_OWN = re.compile(r"(?:vectors|paths)-(\d+)\.(?:npy|sqlite|sqlite-journal)")


def names(generation: int) -> tuple[str, str]:
    """The names of the two files of a generation."""
    return f"vectors-{generation}.npy", f"paths-{generation}.sqlite"


def describe(folder: Path) -> dict[str, Any]:
    """What `index.json` says, and the number of the generation that it names as `generation`."""
    try:
        found = read_object(folder / DESCRIPTION)
        check_format(f"the index in {folder}", found["format"], FORMAT)
        if found["format"] == 1:
            found["digests"] = {}
        generation = int(found["vectors"].removeprefix("vectors-").removesuffix(".npy"))
        files = names(generation)
        if found.keys() != ENTRIES.keys() or (found["vectors"], found["paths"]) != files:
            raise ValueError("entries that are not ours")
        if found["digests"].keys() != (set() if found["format"] == 1 else {*files}):
            raise ValueError("checksums of other files")
        if not all(type(found[name]) in kinds for name, kinds in ENTRIES.items()):  # True is an int to isinstance
            raise TypeError("entries of another kind")
        if not all(isinstance(written, str) for written in found["digests"].values()):
            raise TypeError("checksums of another kind")
        if not 0 < found["dimensions"] <= MOST_DIMENSIONS:
            raise ValueError("vectors without numbers or with too many")
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"found no index in {folder}; expected a folder that `tercet index` has made.") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(folder, error) from error
    return {**found, "generation": generation}


def damaged(folder: Path, error: Exception) -> ModelError:
    """The error that says so."""
    return ModelError(f"the index in {folder} is damaged ({type(error).__name__}); remove it and index again.")


def digest(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_description(folder: Path, **entries: Any) -> None:
    """Let the generation count whose files, named in the entries, are on the disk."""
    entries["digests"] = {name: digest(folder / name) for name in (entries["vectors"], entries["paths"])}
    write_atomically(folder / DESCRIPTION, json.dumps({"format": FORMAT, **entries}, indent=2) + "\n")


def check_digests(folder: Path, digests: dict[str, str]) -> None:
    """ValueError where a file is not what was written."""
    for name, written in digests.items():
        if digest(folder / name) != written:
            raise ValueError(f"{name} does not match its checksum")


def map_vectors(file: Path) -> NDArray[np.float32]:
    """The vectors of a generation, `[N, D]`, read from the disk as they are looked at; ValueError where it has none."""
    # Private to this process: torch wants them writable, and what is written would not reach the file.
    vectors = np.load(file, mmap_mode="c")
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:  # of a zip NumPy makes no array
        raise ValueError(f"found {getattr(vectors, 'dtype', 'no array')}")
    return vectors


def write_header(stream: BinaryIO, rows: int, dimensions: int) -> int:
    """Say in a file of vectors how many there are; return where they begin, in bytes.

    NumPy leaves room for the number to grow, so that the vectors keep their place.
    """
    stream.seek(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimensions)}
    np.lib.format.write_array_header_1_0(stream, header)
    stream.flush()
    return stream.tell()


def check_new(folder: Path) -> None:
    """ModelError where the folder holds anything but what a crash may have left of a new index."""
    try:
        strangers = {file.name for file in folder.iterdir() if not (_OWN.fullmatch(file.name) or is_unfinished(file))}
    except FileNotFoundError:
        return
    except OSError as error:
        raise ModelError(f"{folder} cannot hold an index ({error.strerror}); give another path.") from error
    if DESCRIPTION in strangers:
        raise ModelError(f"{folder} holds an index already; open it, or give another path.")
    if strangers - {LOCK}:
        raise ModelError(f"found other files in {folder}; expected a new or empty folder: give another path.")


def remove_unnamed(folder: Path) -> None:
    """Remove the generations that `index.json` does not name, and what a crash has left of `index.json`."""
    generation = describe(folder)["generation"] if (folder / DESCRIPTION).exists() else 0
    for file in folder.iterdir():
        own = _OWN.fullmatch(file.name)
        if is_unfinished(file) or (own and int(own[1]) != generation):
            with suppress(OSError):  # Windows keeps what a reader has open; the next change removes it
                file.unlink()
