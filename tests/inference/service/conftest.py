"""The service over a run folder, and its parts."""

import io
from pathlib import Path

import pytest
from PIL import Image

from served import patterns, services, write_run
from tercet.data.imageset import ImageSet
from tercet.inference.service.answers import Model
from tercet.inference.service.surroundings import read_surroundings
from tercet.model.bundle import load_bundle


@pytest.fixture(scope="session")
def trained_on() -> ImageSet:
    return patterns(30, seed=0, name="Bild ä {}.png")


@pytest.fixture(scope="session")
def run(trained_on: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("a run ü"), trained_on)


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
