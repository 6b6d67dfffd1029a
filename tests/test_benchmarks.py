"""The core of each training benchmark on a tiny set, with its records in a temporary folder."""

import math
import sys
from dataclasses import replace
from statistics import fmean

import pytest
import torch
from benchmarks import peer_pace, peers, rates, recipes, records, reference, time_to_accuracy, versus_cross_entropy
from benchmarks.peer_losses import OURS, PEERS, Mined, train_peer
from benchmarks.peer_results import curves, figure, nearest, runs, table
from benchmarks.tables import interval, mean_interval, spread
from scipy.stats import ttest_rel
from torch import nn

from tercet.config import PRESETS, Config
from tercet.data.sources import Dataset
from tercet.training import head
from tercet.training.passes import step_count, steps_per_epoch

SMALL = Config(
    epochs=1,
    fewest_steps=4,
    batch_size=16,
    widths=(4, 8),
    dimensions=8,
    size=12,
    precision="fp32",
    device="cpu",
)


@pytest.fixture
def dataset(make_set, tmp_path, monkeypatch):
    for preset in PRESETS:
        monkeypatch.setitem(PRESETS, preset, SMALL)
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(rates, "SIDE", 64)
    monkeypatch.setattr(rates, "MOST_OTHER_WORK", math.inf)  # other tests run beside this one
    monkeypatch.setattr(head, "EPOCHS", 1)
    monkeypatch.setattr(head, "FEWEST_STEPS", 10)
    monkeypatch.setattr(peer_pace, "STEPS", 3)
    found = Dataset("tiny", make_set(128), make_set(40, seed=2), None, 12)
    for module in (time_to_accuracy, versus_cross_entropy, peers):
        monkeypatch.setattr(module, "open_dataset", lambda name: found)
    return found


def run(module, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    module.main()


def test_time_to_accuracy_measures_what_is_not_there(dataset, monkeypatch, capsys):
    fitted = []
    fit = lambda *pairs, **settings: fitted.append(settings) or head.fit_head(*pairs, **settings)  # noqa: E731
    monkeypatch.setattr("benchmarks.probes.fit_head", fit)
    run(time_to_accuracy, monkeypatch, "quick")
    run(time_to_accuracy, monkeypatch, "quick", "--seeds", "2", "--table")
    first, second = records.read("time_to_accuracy")
    assert (first["seed"], second["seed"]) == (0, 1)
    assert first["n_train"] == 128
    assert 0 < first["test_accuracy"] <= 1
    assert first["precision"] == "fp32"
    assert [settings["weight_decays"] for settings in fitted] == [(first["settings"]["head_weight_decay"],)] * 2
    halves = [first[name] for name in ("precision_seconds", "encoder_seconds", "embedding_seconds", "head_seconds")]
    assert sum(halves) == pytest.approx(first["seconds"], abs=0.05)
    printed = capsys.readouterr().out
    assert "quick, seed 0: is there already" in printed
    accuracies = (
        spread([first[name], second[name]], scale=100) for name in ("test_accuracy", time_to_accuracy.SHIFTED)
    )
    assert "| quick | tiny | fp32 | 0.4 | 2 | {} | {} |".format(*accuracies) in printed


def test_each_precision_is_measured_and_has_its_row(dataset, monkeypatch):
    for precision in ("fp32", "bf16"):
        monkeypatch.setitem(PRESETS, "quick", replace(SMALL, precision=precision))
        run(time_to_accuracy, monkeypatch, "quick")
    assert [record["precision"] for record in records.read("time_to_accuracy")] == ["fp32", "bf16"]
    table = time_to_accuracy.table()
    assert "| quick | tiny | fp32 | 0.4 | 1 |" in table
    assert "| quick | tiny | bf16 | 0.4 | 1 |" in table


def test_what_was_measured_with_other_settings_or_data_is_kept_apart(dataset, monkeypatch):
    time_to_accuracy.measure("quick", 0, dataset)
    monkeypatch.setitem(PRESETS, "quick", replace(SMALL, momentum=0.5))
    assert time_to_accuracy.table().count("| quick | tiny | fp32 | 0.4 | 1 |") == 1
    time_to_accuracy.measure("quick", 0, dataset)
    time_to_accuracy.measure("quick", 0, dataset._replace(name="cifar10"))
    rows = "| quick | tiny | fp32 | 0.4 | 1 |", "| quick | CIFAR-10, lossless | fp32 | 0.4 | 1 |"
    for words in (*rows, "Left out: 1 older"):
        assert words in time_to_accuracy.table()


@pytest.mark.slow
def test_reference_runs_are_known_by_their_settings(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(reference, "RUNS", tmp_path / "runs")
    assert reference.known_by("digits")["settings"]["flip"] is False
    for words, margin in (([], 0.2), ([], 0.2), (["--table"], 0.3)):
        monkeypatch.setitem(reference.JOBS, "digits", (str(folder), replace(SMALL, margin=margin), 1))
        run(reference, monkeypatch, "digits", *words)
    assert [record["settings"]["margin"] for record in records.read("reference")] == [0.2, 0.3]
    assert "Left out: 1 older records" in capsys.readouterr().out


@pytest.mark.slow
def test_both_sides_get_the_same_seconds(dataset, monkeypatch, capsys):
    monkeypatch.setattr(versus_cross_entropy, "CROSS_ENTROPY", {"batch_size": 8})
    run(versus_cross_entropy, monkeypatch, "quick", "--seeds", "2", "--table")
    pace, *found = records.read("versus_cross_entropy")
    seconds, steps = pace["step_seconds"], pace["steps"]
    ours, twin = (seconds[name] * steps[name] for name in ("triplet", "cross-entropy"))
    assert abs(ours + pace["embedding_and_head_seconds"] - twin) <= seconds["cross-entropy"]
    assert [(record["method"], record["seed"]) for record in found] == [
        (method, seed) for seed in (0, 1) for method in ("triplet", "cross-entropy")
    ]
    assert all(record["steps"] == steps[record["method"]] for record in found)
    assert found[0]["accuracy"] == found[0]["head_accuracy"]
    assert "quick, tiny, fp32, n = 2" in capsys.readouterr().out
    run(versus_cross_entropy, monkeypatch, "quick", "--seeds", "2")
    assert len(records.read("versus_cross_entropy")) == 5
    monkeypatch.setitem(PRESETS, "quick", replace(SMALL, precision="bf16"))  # as on another machine
    run(versus_cross_entropy, monkeypatch, "quick", "--seeds", "1", "--table")
    assert len(records.read("versus_cross_entropy")) == 5 + 3
    printed = capsys.readouterr().out
    assert "quick, tiny, fp32, n = 2" in printed
    assert "quick, tiny, bf16, n = 1" in printed


@pytest.mark.slow
@pytest.mark.parametrize("method", PEERS)
def test_every_peer_learns_and_its_own_weights_move(dataset, monkeypatch, method):
    pytest.importorskip("pytorch_metric_learning")
    own = []

    def make(settings, config, classes, make=PEERS[method].make):
        loss = make(settings, config, classes)
        own.extend((weight, weight.detach().clone()) for weight in loss.parameters())
        return loss

    monkeypatch.setitem(PEERS, method, PEERS[method]._replace(make=make))
    train, validation = dataset.train.split(0)
    config = rates.with_steps(peers.resolved("quick", 0, dataset), train.labels, 64)
    encoder, history = train_peer(method, PEERS[method].grid[-1], config, train, validation)
    assert history[-1]["step"] == 64
    # Batch-hard from the start collapses on a set as small as this.
    assert history[-1]["validation_accuracy"] > (0.4 if method == "triplet, batch-hard" else 0.8)
    assert encoder(validation.images[:2]).shape == (2, 8)
    assert bool(own) == (method in ("proxy anchor", "normalised softmax", "cross-entropy"))
    assert not any(torch.equal(weight, first) for weight, first in own)


@pytest.mark.slow
def test_peers_are_tuned_paced_run_and_shown(dataset, monkeypatch, capsys):
    pytest.importorskip("pytorch_metric_learning")
    monkeypatch.setattr(peer_pace, "ROUNDS", 1)
    monkeypatch.setattr(peers, "choose_precision", lambda *_: "fp32")
    monkeypatch.setattr(recipes, "TRIPLETS", 16)
    monkeypatch.setattr(recipes, "VIEWED", 16)
    names = [OURS, "supcon", "cross-entropy", *recipes.RECIPES]
    run(peers, monkeypatch, "--minutes", "0.001", "--only", *names)
    found = records.read("peers")
    kinds = [record["kind"] for record in found]
    assert [kinds.count(kind) for kind in ("tuning", "pace", "run")] == [3, 6, 6]
    assert [record["method"] for record in records.select(found, kind="run")] == names
    best = max(records.select(found, kind="tuning"), key=lambda record: record["head_validation_accuracy"])
    assert runs("quick", "a", "supcon")[0]["settings"]["loss_settings"] == best["loss_settings"]
    assert nearest("quick") in ("supcon", "cross-entropy")
    run(peers, monkeypatch, "--minutes", "0.001", "--only", *names)
    assert len(records.read("peers")) == len(found)
    assert "SupContrast's, seed 0: is there already" in capsys.readouterr().out
    assert [line.split(" | ")[0].strip("| ") for line in table("quick").splitlines()][2:5] == names[:3]
    drawn = figure(*curves("quick"))
    assert [len(axes.lines) for axes in drawn.axes] == [3, 4]


def test_a_peer_that_cannot_be_trained_is_recorded_as_such(dataset, monkeypatch):
    class Broken(nn.Module):
        def forward(self, embeddings, *_):
            return embeddings.sum() * math.nan

    monkeypatch.setitem(PRESETS, "standard", replace(SMALL, widths=(4, 4, 8), members=2))
    monkeypatch.setitem(PEERS, "supcon", PEERS["supcon"]._replace(make=lambda *_: Mined(Broken()), grid=({},)))
    for preset in ("quick", "standard"):
        peers.measure_peer("supcon", 0, peers.Terms(dataset, preset, 0.001, "fp32"))
        assert "training failed: found a loss of nan" in table(preset)
        known_by = {"preset": preset, "precision": "fp32"}
        for kind in ("pace", "run"):
            (record,) = records.select(records.read("peers"), kind=kind, **known_by)
            assert record["settings"]["widths"] == list(PRESETS[preset].widths)
            assert "members" not in record["settings"]  # one network


@pytest.mark.parametrize(
    ("method", "width"), [("supcon", 8), ("proxy anchor", 3), ("normalised softmax", 3), ("cross-entropy", 3)]
)
def test_peers_with_weights_for_classes_leave_images_out_by_them(method, width):
    pytest.importorskip("pytorch_metric_learning")
    loss = PEERS[method].make(PEERS[method].grid[0], replace(SMALL, dimensions=8), 3)
    scores = loss.scores(torch.randn(5, 8))
    assert scores.shape == (5, width)
    assert not scores.requires_grad


def test_a_missing_library_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    with pytest.raises(SystemExit, match=r"pip install pytorch-metric-learning`\.$"):
        PEERS["supcon"].make({}, SMALL, 2)


def test_operations_are_those_of_the_layers_forward_and_backward():
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Conv2d(4, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 49, 6))
    network[0].requires_grad_(False)
    images = torch.rand(2, 3, 8, 8)
    with rates.counted_operations() as operations:
        network(images)
        with torch.no_grad():
            network(images)
        network.eval()(images)
    stem, middle, last = 49 * 4 * 3 * 4, 49 * 5 * 4 * 9, 5 * 49 * 6
    # Nothing learns before the second layer, so its input needs no gradient.
    assert operations.count == 2 * 2 * (stem + 2 * middle + 3 * last)
    network(images)
    assert operations.count == 2 * 2 * (stem + 2 * middle + 3 * last)


def test_a_training_is_paced_by_the_median_after_a_warm_up():
    given = iter([9.0, 1.0, 5.0, 2.0])
    assert rates.seconds_per_step({"a": (lambda steps: next(given) * steps, 4)}, rounds=3) == {"a": 2.0}


@pytest.mark.parametrize("steps", [1, 5, 8, 9, 23])
def test_a_number_of_steps_is_met(tiny_set, tiny_config, steps):
    config = rates.with_steps(tiny_config, tiny_set.labels, steps)
    assert step_count(steps_per_epoch(tiny_set.labels, config), config.epochs) == steps


def test_the_paired_interval_is_that_of_the_t_test():
    ours, theirs = [0.85, 0.86, 0.84, 0.88], [0.84, 0.86, 0.85, 0.86]
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    expected = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert mean_interval(differences) == pytest.approx((fmean(differences), expected.low, expected.high))
    assert interval([0.01], scale=100) == "+1.00"
