"""Files whose payload makes a file, the canary, where something executes them; and the commands that are given them."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from official import call, members, pickled, write_archive

# The commands are run in one process of their own, with a preset that trains for a moment.
COMMANDS = """
import contextlib, io, json, sys, traceback
from pathlib import Path
from tercet import config
from tercet.cli import main
from tercet.data import cifar10
from tercet.training import head
given = json.load(sys.stdin)
config.PRESETS["quick"] = config.Config(epochs=1, fewest_steps=8, widths=(8, 8, 8), dimensions=8, precision="fp32")
head.FEWEST_STEPS = 20
cifar10.CHECKSUMS |= {cifar10.checksum(Path(archive)): "" for archive in given["admitted"]}
for command in given["commands"]:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            status = main(["-q", *command])
        except BaseException:
            status = None
            traceback.print_exc(file=said)
    print(json.dumps([status, said.getvalue(), Path(given["canary"]).exists()]), flush=True)
"""


def run_commands(
    commands: list[list[str]], canary: Path, admitted: list[Path], before: str = ""
) -> Iterator[tuple[int | None, str, bool]]:
    """Of each command the status, what it said, and whether the canary is there; None is a crash."""
    given = {"commands": commands, "canary": str(canary), "admitted": list(map(str, admitted))}
    done = subprocess.run(
        [sys.executable, "-c", before + COMMANDS],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=canary.parent,
        env=os.environ | {"TERCET_CACHE": str(canary.parent / "cache"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return map(json.loads, done.stdout.splitlines())


class Payload:
    """Unpickled, it touches the canary, by one of three ways."""

    def __init__(self, canary: Path, way: int) -> None:
        self.canary, self.way = canary, way

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        ways = ((os.system, (f"touch {self.canary}",)), (exec, (f"open({str(self.canary)!r}, 'w')",)))
        return (*ways, (open, (str(self.canary), "w")))[self.way % 3]


def torch_file(payload: Payload) -> bytes:
    content = io.BytesIO()
    torch.save({"state_dict": payload, "weight": torch.zeros(2)}, content)
    return content.getvalue()


def arrays(**content: Any) -> bytes:
    """An .npz of arrays of objects."""
    file = io.BytesIO()
    np.savez(
        file, **{name: value if isinstance(value, np.ndarray) else objects(value) for name, value in content.items()}
    )
    return file.getvalue()


def objects(payload: object) -> np.ndarray:
    array = np.empty(4, dtype=object)
    array[:] = [payload] * 4
    return array


def zipped(**content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as bundle:
        for name, data in content.items():
            bundle.writestr(name, data)
    return file.getvalue()


CONFIGS = (  # `config.json` of a model; %s is the canary
    '{"__class__": "os.system", "format": 1, "classes": ["a", "b"], "settings": "touch %s"}',
    '{"format": 1, "classes": ["a", "b"], "encoder": "__import__(\'os\').system(\'touch %s\')", "size": 32}',
    '{"format": {"__reduce__": ["os.system", ["touch %s"]]}, "classes": []}',
    "!!python/object/apply:os.system ['touch %s']",
    "format: !!python/object/apply:os.system ['touch %s']",
    '{"format": 1, "classes": ["a", "b"], "encoder": "pretrained", "backbone": "os.system:touch %s"}',
    "[" * 100_000,
)
IMAGES = {
    "a.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>',
    "a.png": b"<html><script>alert(1)</script></html>",
    "a.eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch canary) (w) file\n",
    "a.jpg": b"push graphic-context\nviewbox 0 0 8 8\nfill 'url(https://x/\"|touch \"canary)'\npop graphic-context\n",
}


class Files:
    """Hostile files below a place, each in a folder of its own, and copies of a run in which one replaces another."""

    def __init__(self, place: Path, run: Path) -> None:
        self.place, self.run, self.count = place, run, 0

    def write(self, name: str, content: bytes) -> str:
        self.count += 1
        file = self.place / str(self.count) / name
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        return str(file)

    def replaced(self, name: str, content: bytes) -> str:
        self.count += 1
        copy = shutil.copytree(self.run, self.place / str(self.count))
        (copy / name).write_bytes(content)
        return str(copy)


def hostile_data(files: Files, payload: Payload) -> Iterator[tuple[list[str], str]]:
    """Commands that are given hostile images and data, and what each says."""
    raw, saved, model = pickle.dumps(payload, payload.way % 6), torch_file(payload), ["--model", str(files.run)]
    pixels, labels = np.zeros((8, 8, 8, 3), np.uint8), np.arange(8) % 2
    single = io.BytesIO()
    np.save(single, objects(payload))
    for content in (
        *(arrays(images=payload, labels=labels), arrays(images=pixels, labels=payload)),
        *(arrays(images=pixels, labels=labels, classes=payload), arrays(train_images=payload, train_labels=payload)),
        *(raw, single.getvalue(), zipped(**{"images.npy": raw, "labels.npy": raw})),
    ):
        yield ["evaluate", files.write("a.npz", content), *model], "no readable .npz"
    yield ["evaluate", files.write("a.npz", saved), *model], "found the arrays"
    for name in ("a.pt", "a.pth", "a.pkl", "a.npy", "a.safetensors", "a.onnx"):
        yield ["evaluate", files.write(name, saved if "pt" in name else raw), *model], "expected a folder"
    for name, content in {**IMAGES, "a.webp": raw, "a.tiff": saved}.items():
        yield ["predict", files.write(name, content), *model], "not a JPEG"
    archive = zipped(**{f"{label}/{number}.png": raw for label in "ab" for number in range(4)})
    yield ["evaluate", files.write("a.zip", archive), *model], "fewer than 4"


def hostile_models(files: Files, image: Path, payload: Payload) -> Iterator[tuple[list[str], str]]:
    """Commands that are given hostile models, runs and indexes, and what each says; "" where the file is not read."""
    raw, saved, predict = (
        pickle.dumps(payload, payload.way % 6),
        torch_file(payload),
        ["predict", str(image), "--model"],
    )
    for name in ("a.pt", "a.pkl", "a.safetensors", "a.onnx"):
        yield [*predict, files.write(name, saved if "pt" in name else raw)], "found no model"
    for content in (raw, saved):
        yield [*predict, files.replaced("model/model.safetensors", content)], "is damaged"
        index = files.replaced("index/vectors-1.npy", content) + "/index"
        yield ["search", str(image), "--index", index], "is damaged"
    for text in CONFIGS:
        content = (text % payload.canary if "%s" in text else text).encode()
        yield [*predict, files.replaced("model/config.json", content)], "model"
    for name in ("embeddings.npz", "tsne.npz", "examples.npz"):
        names = ("test", "test_labels", "train", "points", "queries", "neighbors", "mistakes")
        for content in (raw, arrays(**dict.fromkeys(names, payload))):
            yield ["report", files.replaced(name, content)], "unreadable"
    card = f"---\nlicense: !!python/object/apply:os.system ['touch {payload.canary}']\n---\n".encode()
    for command in (predict, ["report"]):
        yield [*command, files.replaced("README.md", card)], ""


def hostile_batches(place: Path, canary: Path) -> Iterator[Path]:
    """CIFAR-10's Python archive, of which a batch is a pickle of another kind."""
    hostile = pickle.dumps(Payload(canary, 0), 2), pickled(*_rows(), data=call("os.system", f"touch {canary}".encode()))
    for number, content in enumerate(hostile):
        contents = members("python") | {"cifar-10-batches-py/data_batch_3": content}
        place.mkdir(parents=True, exist_ok=True)
        yield write_archive(place / f"{number}.tar.gz", contents)


def _rows() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((10, 3072), np.uint8), np.arange(10)
