"""The whole job on a small folder: contract of the run folder, resume, refusals, seeds, same seed same bytes."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytorch_metric_learning.losses import ProxyAnchorLoss

import tercet
from pictures import CLASSES, write_folder
from tercet.config import Config
from tercet.errors import DataError, UsageError
from tercet.pipeline import evaluate, report
from tercet.run_folder import RunFolder

SMALL = Config(epochs=2, fewest_steps=16, batch_size=24, widths=(8, 16, 16), dimensions=16, precision="fp32")
METHODS = {
    *("triplet_mlp_head", "triplet_linear_head", "triplet_knn"),
    *("cnn_cross_entropy", "logistic_regression", "majority"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), 24)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    tercet.run(folder, out=out, config=SMALL)
    return out


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def without_times(results: Path) -> dict:
    kept = json.loads(results.read_text())
    kept.pop("timing"), kept.pop("peak_memory_bytes")
    for figures in kept["methods"].values():
        figures.pop("fit_seconds")
    return kept


def test_run_folder_keeps_its_contract(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    files = {
        "run.json",
        "history.jsonl",
        "results.json",
        "predictions.csv",
        "embeddings.npz",
        "tsne.npz",
        "thumbnails.webp",
        "examples.npz",
        "examples.webp",
        "train_images.csv",
        "train_thumbnails.webp",
        "report.html",
        "README.md",
    }
    assert names == files | {"model", "figures", ".lock"}
    model = {path.relative_to(finished / "model").as_posix() for path in (finished / "model").rglob("*.*")}
    assert model == {"config.json", "model.safetensors", "README.md", "figures/tsne.png"}
    assert {path.name for path in (finished / "figures").iterdir()} == {
        f"{name}.png" for name in ("tsne", "accuracy", "loss", "confusion", "distances")
    }
    results = json.loads((finished / "results.json").read_text())
    assert results["methods"].keys() == METHODS
    assert set(results["retrieval"]) == {"recall@1", "map@r"}
    low, high = results["methods"]["triplet_mlp_head"]["ci95"]
    assert low < results["methods"]["triplet_mlp_head"]["test_accuracy"] <= high
    assert results["data"]["n_train"] + results["data"]["n_validation"] + results["data"]["n_test"] == 72
    phases = {json.loads(line)["phase"] for line in (finished / "history.jsonl").read_text().splitlines()}
    assert phases == {"encoder", "head", "cnn"}


def test_encoder_learns_and_table_agrees_with_predictions(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    figures = results["methods"]["triplet_mlp_head"]
    with (finished / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    hits = sum(row["label"] == row["predicted"] for row in rows)
    assert figures["test_accuracy"] == pytest.approx(hits / len(rows))
    assert figures["test_accuracy"] > results["methods"]["majority"]["test_accuracy"] + 0.3
    assert all(row["path"].startswith(f"{row['label']}/") for row in rows)


def test_same_seed_same_bytes(folder: Path, finished: Path, tmp_path: Path) -> None:
    tercet.run(folder, out=tmp_path / "again", config=SMALL)
    assert weights(tmp_path / "again") == weights(finished)
    shown = ("thumbnails.webp", "examples.npz", "examples.webp", "train_images.csv", "train_thumbnails.webp")
    for name in ("predictions.csv", *shown):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    assert without_times(tmp_path / "again/results.json") == without_times(finished / "results.json")


@pytest.mark.parametrize(("station", "step"), [("encoder", 5), ("CNN baseline", 9), ("t-SNE", 0)])
def test_interrupted_run_goes_on_to_the_same_bytes(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, station: str, step: int
) -> None:
    monkeypatch.setattr("tercet.training.loop.CHECKPOINT_SECONDS", 0.0)

    def interrupt(at: str, done: int, total: int) -> None:
        if (at, done) == (station, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tercet.run(folder, out=tmp_path / "run", config=SMALL, on_progress=interrupt)
    assert not (tmp_path / "run/results.json").exists()
    first_steps: dict[str, int] = {}
    tercet.run(
        folder,
        out=tmp_path / "run",
        config=SMALL,
        on_progress=lambda at, done, total: first_steps.setdefault(at, done),
    )
    assert weights(tmp_path / "run") == weights(finished)
    assert without_times(tmp_path / "run/results.json") == without_times(finished / "results.json")
    if station == "encoder":
        assert first_steps["encoder"] == step  # steps before the last checkpoint are not repeated
    else:
        assert "encoder" not in first_steps


def test_finished_run_is_not_repeated(folder: Path, finished: Path) -> None:
    before = (finished / "results.json").stat().st_mtime_ns
    calls: list[str] = []
    results = tercet.run(
        folder, out=finished, config=SMALL, on_progress=lambda station, done, total: calls.append(station)
    )
    assert (finished / "results.json").stat().st_mtime_ns == before
    assert not set(calls) - {"read"}
    assert results.methods.keys() == METHODS


def test_other_settings_or_data_are_refused_by_name(folder: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"margin None .* 0\.3"):
        tercet.run(folder, out=finished, config=replace(SMALL, margin=0.3))
    other = write_folder(tmp_path / "other", 12, seed=1)
    with pytest.raises(UsageError, match="a run with data"):
        tercet.run(other, out=finished, config=SMALL)


def test_overwrite_replaces_a_run_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="other files"):
        tercet.train(folder, out=tmp_path / "photos", config=SMALL, overwrite=True)
    assert (tmp_path / "photos/holiday.jpg").read_bytes() == b"precious"
    tercet.train(folder, out=tmp_path / "run", config=SMALL)
    tercet.train(folder, out=tmp_path / "run", config=replace(SMALL, seed=1), overwrite=True)
    assert json.loads((tmp_path / "run/run.json").read_text())["seed"] == 1


def test_an_overwrite_that_is_cut_short_leaves_an_unfinished_run(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tercet.run(folder, out=out, config=SMALL, overwrite=True)
    assert (out / "run.json").exists()
    tercet.run(folder, out=out, config=SMALL)
    assert weights(out) == weights(finished)
    assert without_times(out / "results.json") == without_times(finished / "results.json")


def test_bundle_answers_as_the_run_did(folder: Path, finished: Path) -> None:
    bundle = tercet.load(finished)
    with (finished / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = bundle.predict_proba([folder / row["path"] for row in rows])
    assert bundle.classes == tuple(sorted(CLASSES))
    assert [bundle.classes[index] for index in probabilities.argmax(1)] == [row["predicted"] for row in rows]
    np.testing.assert_allclose(probabilities.max(1), [float(row["probability"]) for row in rows], atol=1e-5)


def test_evaluate_gives_the_figures_of_the_run(folder: Path, finished: Path, tmp_path: Path) -> None:
    run = json.loads((finished / "results.json").read_text())
    judged = evaluate(folder, tercet.load(finished))
    assert judged.methods["triplet_mlp_head"]["test_accuracy"] == run["methods"]["triplet_mlp_head"]["test_accuracy"]
    assert judged.retrieval == pytest.approx(run["retrieval"])
    with pytest.raises(DataError, match="has the classes 0, 1"):
        evaluate("digits", tercet.load(finished))


def test_seeds_report_mean_and_deviation(folder: Path, tmp_path: Path) -> None:
    results = tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=2)
    figures = results.methods["triplet_mlp_head"]
    singles = [
        json.loads((tmp_path / f"seeds/seed-{seed}/results.json").read_text())["methods"]["triplet_mlp_head"]
        for seed in (0, 1)
    ]
    assert figures["seeds"]["values"] == [single["test_accuracy"] for single in singles]
    assert figures["test_accuracy"] == pytest.approx(np.mean(figures["seeds"]["values"]))
    assert "paired over 2 seeds" in results.verdict
    assert (tmp_path / "seeds/report.html").is_file()
    with pytest.raises(UsageError, match="seeds"):
        tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=3)


@pytest.mark.slow
def test_interrupted_seeds_go_on(folder: Path, tmp_path: Path) -> None:
    def interrupt(station: str, done: int, total: int) -> None:
        if station == "seed 0: CNN baseline":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=2, on_progress=interrupt)
    assert tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=2).methods.keys() == METHODS


def test_run_without_its_page_gets_it(folder: Path, finished: Path) -> None:
    (finished / "report.html").unlink()
    tercet.run(folder, out=finished, config=SMALL)
    assert (finished / "report.html").is_file()


def test_report_is_drawn_again_from_what_the_run_saved(finished: Path) -> None:
    page = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    (finished / "figures/tsne.png").unlink()
    assert report(finished).read_bytes() == page
    assert (finished / "figures/tsne.png").is_file()


def test_any_loss_of_embeddings_and_labels_serves(folder: Path, tmp_path: Path) -> None:
    calls = []

    def loss(embeddings, labels):
        calls.append((embeddings.shape, labels.shape))
        return tercet.triplet_loss(embeddings, labels, margin=1.0)

    tercet.train(folder, out=tmp_path / "own", config=SMALL, loss=loss)
    assert len(calls) >= 16
    assert calls[0] == ((24, 16), (24,))
    assert json.loads((tmp_path / "own/run.json").read_text())["config"]["loss"] == "custom"


def test_losses_that_cannot_be_trained_here_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights of its own"):
        tercet.train(folder, out=tmp_path / "run", config=SMALL, loss=ProxyAnchorLoss(3, 16))
    with pytest.raises(UsageError, match="none was given"):
        tercet.train(folder, out=tmp_path / "run", config=replace(SMALL, loss="custom"))


def test_unwritable_output_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        tercet.train(folder, out=tmp_path / "file" / "run", config=SMALL)


def test_temporary_files_are_gone(finished: Path) -> None:
    assert [path.name for path in finished.rglob(".*")] == [".lock"]
    assert RunFolder(finished).results.is_file()
