"""Files that a stranger or a faulty disk may have made: looked at before they are taken at their word.

What is large, deep or says a thing twice is refused before memory is spent on it. Knows nothing of what the files mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

MOST_BYTES = 2 * 2**20  # of JSON: the classes of ImageNet-21k and the tensors of a thousand layers take less
MOST_BRACKETS = 50_000  # opened: a tensor opens three; each costs a slow machine some microseconds


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds; ValueError where `parse_object` finds none."""
    with path.open("rb") as file:
        return parse_object(file.read(MOST_BYTES + 1))


def parse_object(content: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else, also for what JSON leaves open.

    That is: a key given twice, NaN and infinity, objects and arrays by the ten thousand or nested too deep.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"found more than {MOST_BYTES:,} bytes of JSON")
    if content.count(b"{") + content.count(b"[") > MOST_BRACKETS:
        raise ValueError(f"found more than {MOST_BRACKETS:,} objects and arrays in JSON")
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("found JSON that is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("found no JSON object")
    return found


def read_header(stream: BufferedIOBase) -> dict[str, Any]:
    """What a safetensors file says of its tensors by name, and of itself as `__metadata__`; ValueError if nothing.

    Whether shapes and places agree with the content is left to the library.
    """
    length = int.from_bytes(stream.read(8), "little")
    if length > MOST_BYTES:
        raise ValueError(f"found a header of {length:,} bytes")
    return parse_object(stream.read(length))


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("found a key twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"found {name}")
