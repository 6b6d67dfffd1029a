"""A run folder without a run: an untrained model on three kinds of pattern, with all that the service reads."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import CLASSES, pattern
from tercet.data.imageset import ImageSet
from tercet.evaluation.examples import save_training_images
from tercet.files import write_arrays
from tercet.inference.service.answers import Model
from tercet.inference.service.surroundings import read_surroundings
from tercet.model.bundle import Bundle, load_bundle
from tercet.model.embed import embed
from tercet.model.encoder import new_encoder
from tercet.model.head import Head

PLAN = {"size": 32, "dimensions": 16, "widths": (8, 16, 16), "normalize": True}


def patterns(count: int, seed: int, names: bool) -> ImageSet:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = np.stack([pattern(CLASSES[label], generator) for label in labels])
    found = ImageSet.from_arrays(images, labels, CLASSES)
    paths = tuple(f"{CLASSES[label]}/Bild ä {index}.png" for index, label in enumerate(labels)) if names else ()
    return ImageSet(found.images, found.labels, found.classes, paths)


def untrained(images: ImageSet) -> Bundle:
    encoder = new_encoder(
        "fast", images.images, images.channel_statistics(), generator=torch.Generator().manual_seed(0), **PLAN
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Head(16, 3, 8)
    settings = {**PLAN, "encoder": "fast", "widths": list(PLAN["widths"]), "hidden": 8, "backbone": None}
    return Bundle(encoder.eval(), head.eval(), CLASSES, settings)


@pytest.fixture(scope="session")
def trained_on() -> ImageSet:
    return patterns(30, seed=0, names=True)


@pytest.fixture(scope="session")
def run(trained_on: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, test, bundle = tmp_path_factory.mktemp("a run ü"), patterns(24, 1, names=False), untrained(trained_on)
    bundle.save(folder / "model")
    write_arrays(
        folder / "embeddings.npz",
        train=embed(bundle.encoder, trained_on.images).numpy(),
        train_labels=trained_on.labels.numpy(),
        test=embed(bundle.encoder, test.images).numpy(),
        test_labels=test.labels.numpy(),
        classes=np.array(CLASSES),
    )
    points = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    write_arrays(folder / "tsne.npz", points=points, labels=test.labels[4:].numpy(), indices=np.arange(4, 24))
    save_training_images(folder, trained_on, seed=0)
    (folder / "run.json").write_text(json.dumps({"data": {"name": "patterns"}}))
    return folder


@pytest.fixture(scope="session")
def model(run: Path) -> Model:
    bundle = load_bundle(run)
    return Model(bundle, read_surroundings(run, bundle))


@pytest.fixture(scope="session")
def image(trained_on: ImageSet) -> bytes:
    """The eighth training image as a PNG."""
    return as_file(Image.fromarray(trained_on.images[7].permute(1, 2, 0).contiguous().numpy()))


def as_file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


@pytest.fixture(scope="session")
def as_image_file():
    return as_file


@pytest.fixture
def start(tmp_path: Path):
    """A function that starts the service in a process of its own, and gives it with its address."""
    with services(tmp_path / "log.txt") as begin:
        yield begin


@pytest.fixture(scope="module")
def address(run: Path, tmp_path_factory: pytest.TempPathFactory):
    """The address of one service over `run`, for all tests of a module."""
    with services(tmp_path_factory.mktemp("service") / "log.txt") as begin:
        yield begin("--model", str(run), "--port", "0")[1]


@contextmanager
def services(log: Path):
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, before: str = "") -> tuple[subprocess.Popen[str], str]:
        line = f"{before}; from tercet.cli import entry; entry()".removeprefix("; ")
        process = subprocess.Popen(
            [sys.executable, "-c", line, "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            # A shell that starts the tests in the background has them ignore SIGINT, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
