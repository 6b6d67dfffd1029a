"""Contents that ask for more than they hold: of a safetensors file, and of the `config.json` of a Bundle."""

import json
from collections.abc import Callable
from typing import Any

Header = dict[str, Any]


def joined(header: bytes, body: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


def parted(content: bytes) -> tuple[Header, bytes]:
    """Header and body of a good file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def tensors_of(content: bytes) -> dict[str, bytes]:
    """Files of weights that are none, made from a good one."""
    header, body = parted(content)
    text = json.dumps(header).encode()
    first = next(name for name, entry in header.items() if len(entry.get("shape", [])) > 1 and 0 not in entry["shape"])
    begin, end = header[first]["data_offsets"]
    twin = next(name for name in header if name not in ("__metadata__", first))

    def changed(**values: Any) -> bytes:
        """The first tensor is told to be something else."""
        return joined(json.dumps({**header, first: {**header[first], **values}}).encode(), body)

    empty = {f"extra.{n}": {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2} for n in range(100_000)}
    long = json.dumps({**header, "__metadata__": {**header.get("__metadata__", {}), "a": "a" * 10**8}}).encode()
    again = json.dumps({first: header[first]}).encode()[1:-1]
    return {
        "nothing": b"",
        "seven bytes": bytes(7),
        "no header": joined(b"", body),
        "a header of 2^63 bytes": joined(text, body, 2**63),
        "a header of 2^64 - 1 bytes": joined(text, body, 2**64 - 1),
        "a header of 100 MB that is not there": joined(text, body, 10**8),
        "a header of 100 MB that is there": joined(long, body),
        "a header one byte short": joined(text, body, len(text) - 1),
        "a header that is a list": joined(b"[]", body),
        "a header that is no text": joined(b"\xff" * 99, body),
        "a header nested 100,000 deep": joined(b'{"a":' * 100_000, body),
        "a header with NaN": joined(b'{"a":NaN,' + text[1:], body),
        "a header as long as may be": joined(b"{" + b",".join(b'"%d":{}' % n for n in range(180_000)) + b"}", body),
        "100,000 entries": joined(json.dumps({**header, **empty}).encode(), body),
        "a tensor twice": joined(text[:-1] + b"," + again + b"}", body),
        "a tensor that is a list": joined(json.dumps({**header, first: [1, 2]}).encode(), body),
        "a tensor without a shape": joined(json.dumps({**header, first: {"dtype": "F32"}}).encode(), body),
        "overlapping tensors": changed(data_offsets=[begin + 4, end + 4]),
        "all tensors in one place": joined(
            json.dumps({name: {**entry, "data_offsets": [0, end - begin]} for name, entry in header.items()}).encode(),
            body,
        ),
        "offsets beyond the file": changed(data_offsets=[len(body), len(body) + end - begin]),
        "offsets beyond any file": changed(data_offsets=[2**62, 2**63]),
        "offsets that go backwards": changed(data_offsets=[end, begin]),
        "a shape that overflows": changed(shape=[2**62, 4, 4]),
        "a shape beyond 64 bits": changed(shape=[2**64, 2**64]),
        "a shape below nothing": changed(shape=[-1, -1]),
        "a shape of fractions": changed(shape=[1.5]),
        "a shape of 100,000 numbers": changed(shape=[1] * 100_000),
        "a shape of no numbers": changed(shape=["many"]),
        "an unknown type": changed(dtype="F31"),
        "another name": joined(text.replace(twin.encode(), twin[::-1].encode()), body),
        "a body cut short": joined(text, body[:-4]),
        "a body too long": joined(text, body + bytes(4)),
    }


def configs_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings that would take more memory than there is, or that are none, made from good ones."""
    changes: dict[str, dict[str, Any]] = {
        "as wide as fits into memory": {"widths": [3_000] * 3},
        "wide": {"widths": [10**9] * 3},
        "wider than numbers go": {"widths": [10**30] * 3},
        "100,000 widths": {"widths": [1] * 100_000},
        "no width": {"widths": [0, 0, 0]},
        "members beyond number": {"members": 10**9, "dimensions": 10**9},
        "as many members as may be, and 100,000 widths": {"members": 16, "widths": [1] * 100_000, "dimensions": 16},
        "no member": {"members": 0},
        "members of the pretrained encoder": {"encoder": "pretrained", "members": 2},
        "a width in words": {"widths": ["wide", 8, 8]},
        "many dimensions": {"dimensions": 10**9},
        "many dimensions of the classic encoder": {"encoder": "classic", "dimensions": 10**9},
        "many dimensions of the pretrained encoder": {"encoder": "pretrained", "dimensions": 10**9},
        "no dimensions": {"dimensions": 0},
        "half a dimension": {"dimensions": 0.5},
        "as many dimensions as fit into memory": {"dimensions": 10**7},
        "a hidden layer that fits into memory": {"hidden": 10**7},
        "a large hidden layer": {"hidden": 10**9},
        "a hidden layer larger than numbers go": {"hidden": 10**30},
        "a negative hidden layer": {"hidden": -1},
        "large images": {"size": 10**9},
        "images of nothing": {"size": 0},
        "images of a size in words": {"size": "large"},
        "a size that is NaN": {"size": float("nan")},
        "an infinite size": {"size": float("inf")},
        "a size of a thousand digits": {"size": 10**1000},
        "an encoder that is a list": {"encoder": [[]]},
        "classes that are a number": {"classes": 10**9},
        "100,000 classes": {"classes": ["a"] * 100_000},
        "a million classes": {"classes": ["a"] * 1_000_000},
        "format in words": {"format": "2"},
        "a format below 1": {"format": -1},
    }
    return {name: {**config, **change} for name, change in changes.items()}


def texts_of(config: dict[str, Any]) -> dict[str, Callable[[], bytes]]:
    """Texts that are no settings."""
    text = json.dumps(config).encode()
    return {
        "settings twice": lambda: text[:-1] + b', "size": 12}',
        "settings nested 100,000 deep": lambda: text[:-1] + b', "size": ' + b"[" * 100_000,
        "a size of 100,000 digits": lambda: text[:-1] + b', "more": ' + b"9" * 100_000 + b"}",
        "settings of 100 MB": lambda: text + b" " * 10**8,
    }
