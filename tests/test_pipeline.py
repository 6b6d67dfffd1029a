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
from small_run import METHODS, SMALL, weights, without_times
from tercet.errors import DataError, UsageError
from tercet.pipeline import evaluate, report
from tercet.run_folder import OWN_NAMES, RunFolder


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
    assert names - {".lock"} == OWN_NAMES - {"checkpoints"}  # so that --overwrite knows them
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


def test_the_gallery_joins_what_the_head_learnt_from_and_the_rest(folder: Path, finished: Path, tmp_path: Path) -> None:
    results = tercet.run(folder, out=tmp_path / "run", config=replace(SMALL, head_images=3))
    with np.load(finished / "embeddings.npz") as of_all, np.load(tmp_path / "run/embeddings.npz") as joined:
        assert min(np.bincount(joined["train_labels"])) > 3  # so there is a rest
        np.testing.assert_allclose(joined["train"], of_all["train"], atol=1e-5)  # the same encoder
    seconds, timing = results.methods["triplet_mlp_head"]["fit_seconds"], results.timing
    assert seconds == pytest.approx(timing["encoder_seconds"] + timing["head_seconds"], abs=0.002)


def test_same_seed_same_bytes(folder: Path, finished: Path, tmp_path: Path) -> None:
    tercet.run(folder, out=tmp_path / "again", config=SMALL)
    assert weights(tmp_path / "again") == weights(finished)
    shown = ("thumbnails.webp", "examples.npz", "examples.webp", "train_images.csv", "train_thumbnails.webp")
    for name in ("predictions.csv", *shown):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    assert without_times(tmp_path / "again/results.json") == without_times(finished / "results.json")


def test_finished_run_is_not_repeated(folder: Path, finished: Path) -> None:
    before = (finished / "results.json").stat().st_mtime_ns
    calls: list[str] = []
    results = tercet.run(
        folder, out=finished, config=SMALL, on_progress=lambda station, done, total: calls.append(station)
    )
    assert (finished / "results.json").stat().st_mtime_ns == before
    assert not set(calls) - {"read"}
    assert results.methods.keys() == METHODS


def test_what_is_finished_is_read_where_there_is_no_memory_to_train(
    folder: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tercet.footprint.require_memory", require_no_less_than_everything)
    assert tercet.run(folder, out=finished, config=SMALL).methods.keys() == METHODS
    with pytest.raises(DataError, match="too much"):
        tercet.run(folder, out=finished, config=SMALL, overwrite=True)
    assert (finished / "results.json").exists()


def require_no_less_than_everything(*_: object) -> None:
    raise DataError("too much")


def test_other_settings_or_data_are_refused_by_name(folder: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"margin None .* 0\.3"):
        tercet.run(folder, out=finished, config=replace(SMALL, margin=0.3))
    with pytest.raises(UsageError, match="a run with seed 0 where this one has 1"):  # and the data split in another way
        tercet.run(folder, out=finished, config=replace(SMALL, seed=1))
    other = write_folder(tmp_path / "other", 12, seed=1)
    with pytest.raises(UsageError, match=f"a run on other images, those of {folder.name!r} as they were when it began"):
        tercet.run(other, out=finished, config=SMALL)


def test_overwrite_replaces_a_run_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="other files"):
        tercet.train(folder, out=tmp_path / "photos", config=SMALL, overwrite=True)
    assert (tmp_path / "photos/holiday.jpg").read_bytes() == b"precious"
    with pytest.raises(UsageError, match=r"holiday\.jpg is no folder"):
        tercet.train(folder, out=tmp_path / "photos/holiday.jpg", config=SMALL)
    tercet.train(folder, out=tmp_path / "run", config=SMALL)
    (tmp_path / "run/.DS_Store").write_bytes(b"looked at")
    shutil.move(tmp_path / "photos", tmp_path / "run/photos")
    with pytest.raises(UsageError, match="holds 'photos', which no run writes and --overwrite would remove"):
        tercet.train("no such data", out=tmp_path / "run", config=SMALL, overwrite=True)
    shutil.move(tmp_path / "run/photos", tmp_path / "photos")
    tercet.train(folder, out=tmp_path / "run", config=replace(SMALL, seed=1), overwrite=True)
    assert json.loads((tmp_path / "run/run.json").read_text())["seed"] == 1


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
    with pytest.raises(DataError, match=r"has the classes '0', '1', .* and 5 more where the model has"):
        evaluate("digits", tercet.load(finished))


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
