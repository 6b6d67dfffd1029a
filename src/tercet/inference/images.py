"""Image files as a person names them on a command line, decoded a chunk at a time.

A million files take no more memory than a thousand. What cannot be read is told, and the rest is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from glob import has_magic, iglob
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tercet.data.archive import File, list_folder, read_file
from tercet.data.parallel import decode_files
from tercet.errors import UsageError
from tercet.files import EMPTY_PATH

CHUNK = 256  # images decoded at a time
OnUnreadable = Callable[[str, str], None]  # (path, reason)


def image_paths(arguments: Iterable[str]) -> Iterator[str]:
    """The files meant by files, folders (every image below them), patterns such as `"photos/**/*.jpg"`, and `-`.

    `-` stands for the lines of the standard input, each of which may be any of these. What a pattern finds comes in the
    order of the file system. A folder or pattern in which there is nothing, and what is no path, is given as it is, so
    that its reader can say so. UsageError for an empty path.
    """
    for argument in arguments:
        if not argument:
            raise UsageError(EMPTY_PATH)
        kind = _kind(argument)
        if argument == "-":
            yield from image_paths(line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif kind == "folder":
            files = (str(file) for _, file in list_folder(Path(argument)))
            yield next(files, argument)
            yield from files
        elif kind == "pattern":
            found = _matches(argument)
            first = next(found, None)
            yield from [argument] if first is None else image_paths([first])
            for path in found:
                yield from image_paths([path])
        else:
            yield argument


def _kind(argument: str) -> str:
    try:
        if Path(argument).is_dir():
            return "folder"
        return "pattern" if has_magic(argument) and "\0" not in argument and not Path(argument).exists() else "file"
    except OSError:  # a name that is too long, or in a folder that must not be looked into
        return "file"


def _matches(pattern: str) -> Iterator[str]:
    """Files and folders, each before what lies in it, and nothing again that lies in a folder that was found."""
    folders: set[Path] = set()
    for path in iglob(pattern, recursive=True):  # noqa: PTH207 - a Path's own glob takes no absolute pattern
        if folders.isdisjoint(Path(path).parents):
            if Path(path).is_dir():
                folders.add(Path(path))
            yield path


def readable_images(
    paths: Iterable[str], side: int, on_unreadable: OnUnreadable
) -> Iterator[tuple[list[str], UInt8[np.ndarray, "n S S 3"]]]:
    """Paths and pixels of a chunk of images at a time, in order; the others go to `on_unreadable`."""
    decoded = decode_files((File(path, partial(read_file, Path(path))) for path in paths), side)
    while chunk := list(islice(decoded, CHUNK)):
        names, pixels = [], []
        for path, outcome in chunk:
            if isinstance(outcome, str):
                on_unreadable(path, outcome)
            else:
                names.append(path)
                pixels.append(outcome)
        if names:
            yield names, np.stack(pixels)
