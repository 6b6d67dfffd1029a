"""The model that comes with tercet: it answers at once, is small, and reaches what its card says."""

import json
import os
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

import tercet
import tercet.pipeline
from bundles import new_bundle
from tercet.cli import main
from tercet.config import DEFAULT_MODEL
from tercet.data.sources import open_dataset
from tercet.errors import ModelError
from tercet.geometry.metrics import wilson_interval
from tercet.inference.export import export_onnx
from tercet.inference.index import Index
from tercet.model.bundle import SHIPPED

ROOT = Path(__file__).parents[1]
FOLDER = SHIPPED[DEFAULT_MODEL]
LINES = [*map(json.loads, (ROOT / "benchmarks/results/shipped.jsonl").read_text().splitlines())]
(*_, RECORD) = (record for record in LINES if record.get("is_shipped", "elsewhere" not in record))
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOME = 500  # test images


@pytest.fixture(scope="module")
def bundle():
    return tercet.load("cifar10")


@pytest.fixture(scope="module")
def images_of_cifar10():
    """The copy at hand, which takes most of a minute to read."""
    if not os.environ.get("TERCET_CIFAR10"):
        pytest.skip("$TERCET_CIFAR10 names no copy of CIFAR-10")
    return open_dataset("cifar10")


def test_it_is_small_and_knows_ten_classes(bundle):
    assert {file.name for file in FOLDER.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 6_000_000
    assert bundle.classes == CLASSES
    assert bundle.embed(np.zeros((2, 40, 50, 3), np.uint8)).shape == (2, 128)


def test_it_sees_a_ship_in_a_drawing_without_being_named(tmp_path, capsys):
    ship = runpy.run_path(str(ROOT / "examples/drawing.py"))["ship"]()
    ship.save(tmp_path / "ship.png")
    assert main(["predict", str(tmp_path / "ship.png")]) == 0
    path, first, *_ = capsys.readouterr().out.split("\t")
    assert (path, first.split()[0]) == (str(tmp_path / "ship.png"), "ship")


def test_a_new_index_takes_it_and_finds_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ship = runpy.run_path(str(ROOT / "examples/drawing.py"))["ship"]()
    ship.save("ship.png")
    ship.rotate(180).save("turned.png")
    assert main(["-q", "index", "ship.png", "turned.png", "--out", "drawings"]) == 0
    capsys.readouterr()
    assert main(["search", "turned.png", "--index", "drawings", "-k", "1"]) == 0
    assert capsys.readouterr().out == "0.0000\tturned.png\n"


def test_a_folder_of_its_name_is_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cifar10").mkdir()
    assert tercet.load("cifar10").classes == CLASSES
    for folder in ("./cifar10", Path("cifar10")):
        with pytest.raises(ModelError, match="found no model in cifar10"):
            tercet.load(folder)


def test_the_card_is_that_of_the_record():
    card = ModelCard.load(FOLDER / "README.md")
    (found,) = card.data.eval_results
    assert found.metric_value == pytest.approx(RECORD["test_accuracy"], abs=5e-5)
    assert card.data.license == "mit"
    assert f"{100 * RECORD['test_accuracy']:.1f}" in card.text
    assert f"The model in the box recognises {100 * RECORD['test_accuracy']:.1f} %" in (ROOT / "README.md").read_text()
    assert RECORD["data"] in card.text
    assert RECORD["trained_by"] in card.text
    assert all(f"| {name} | 1,000 |" in card.text for name in CLASSES)
    assert RECORD["bytes"] == (FOLDER / "model.safetensors").stat().st_size


@pytest.mark.parametrize("model", [Path("cifar10"), "cifar10"], ids=["a folder", "what comes with tercet"])
def test_an_index_finds_its_model_again_beside_one_of_the_same_name(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_bundle("fast", 12).save("cifar10")  # another model, which the index of the other would refuse
    Image.new("RGB", (12, 12), "red").save("red.png")
    with Index.create("red.index", model) as index:
        index.add(["red.png"])
        index.save()
    with Index.open("red.index") as index:
        assert index.query(["red.png"], k=1)[0][0].path == "red.png"


@pytest.mark.slow
def test_the_copy_of_cifar10_is_whole(images_of_cifar10):
    train, test = images_of_cifar10.train, images_of_cifar10.test
    assert train.images.shape == (50_000, 3, 32, 32)
    assert train.class_counts() == [5000] * 10
    assert test.class_counts() == [1000] * 10
    assert images_of_cifar10.skipped == ()
    if images_of_cifar10.name == "cifar10-jpeg":
        assert train.paths[0] == "train/airplane/0000.jpg"
    np.testing.assert_allclose(train.channel_statistics()[0], [125.3, 123.0, 113.9], atol=0.5)


@pytest.mark.slow
def test_it_reaches_what_its_card_says_and_as_onnx_the_same(bundle, images_of_cifar10, tmp_path):
    """On the first images; of all of them its record speaks, and `tercet export --check cifar10`."""
    name, test = images_of_cifar10.name, images_of_cifar10.test.select(torch.arange(SOME))
    images = np.ascontiguousarray(test.images.permute(0, 2, 3, 1).numpy())
    shares = bundle.predict_proba(images)
    of_this_copy = [record for record in LINES if record.get("elsewhere") == name]
    record = RECORD if name == RECORD["data"] else of_this_copy[-1]
    low, high = wilson_interval(int(record["test_accuracy"] * SOME), SOME)
    assert low < (shares.argmax(1) == test.labels.numpy()).mean() < high
    export_onnx(bundle, tmp_path / "cifar10.onnx", test)
    session = onnxruntime.InferenceSession(tmp_path / "cifar10.onnx")
    (exported,) = session.run(["probabilities"], {"images": images})
    np.testing.assert_allclose(exported, shares, atol=1e-4)
    assert (exported.argmax(1) == shares.argmax(1)).all()
