"""Runs that are interrupted go on to the same bytes, and runs of several seeds; each takes a while."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tercet
from small_run import METHODS, SMALL, weights, without_times
from tercet.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("station", "step"), [("encoder", 5), ("same network, cross-entropy", 9), ("t-SNE", 0)])
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


def test_interrupted_seeds_go_on(folder: Path, tmp_path: Path) -> None:
    def interrupt(station: str, done: int, total: int) -> None:
        if station == "seed 0: same network, cross-entropy":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=2, on_progress=interrupt)
    assert tercet.run(folder, out=tmp_path / "seeds", config=SMALL, seeds=2).methods.keys() == METHODS


def test_a_finished_run_of_before_there_were_members_is_the_same_run(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((out / "run.json").read_text())
    assert record["asked"].pop("members") == 1
    (out / "run.json").write_text(json.dumps(record))
    tercet.run(folder, out=out, config=SMALL)
    assert weights(out) == weights(finished)
    with pytest.raises(UsageError, match="holds a run with members 1 where this one has 2"):
        tercet.run(folder, out=out, config=replace(SMALL, members=2))


def test_a_run_of_two_members_goes_from_the_data_to_the_report(folder: Path, tmp_path: Path) -> None:
    results = tercet.run(folder, out=tmp_path / "run", config=replace(SMALL, members=2))
    assert {"triplet_mlp_head", "cnn_cross_entropy"} <= results.methods.keys()
    assert tercet.load(tmp_path / "run").settings["members"] == 2
    assert (tmp_path / "run" / "report.html").is_file()
