import json
import math

import pytest
import torch

from tercet.data.imageset import ImageSet
from tercet.evaluation.results import Results, correctness, load_results, method_figures, write_predictions

# Four images, classes a, a, b, b; the third is taken for an a. No image of class c.
PROBABILITIES = torch.tensor([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.25, 0.75, 0.0]])
LABELS = torch.tensor([0, 0, 1, 1])


def test_figures_by_hand():
    figures = method_figures(PROBABILITIES, LABELS, ("a", "b", "c"), fit_seconds=1.23456)
    assert figures["test_accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)  # a: 2 * 2 / (4 + 1); b: 2 * 1 / (2 + 1)
    assert figures["ci95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson of 3 in 4
    assert figures["fit_seconds"] == 1.235
    assert figures["per_class"]["a"] == {"n": 2, "recall": 1.0}
    assert figures["per_class"]["b"] == {"n": 2, "recall": 0.5}
    assert figures["per_class"]["c"]["n"] == 0
    assert math.isnan(figures["per_class"]["c"]["recall"])


def test_correctness():
    assert correctness(PROBABILITIES, LABELS).tolist() == [True, True, False, True]


def results(**changes):
    figures = method_figures(PROBABILITIES, LABELS, ("a", "b", "c"), 1.0)
    return Results(
        **{
            "data": {"name": "four"},
            "methods": {"triplet_mlp_head": figures},
            "retrieval": {"recall@1": 0.5, "map@r": 0.25},
            "calibration_error": 0.1,
            "verdict": "level",
            "timing": {"train_seconds": 2.5},
            "peak_memory_bytes": 10**9,
        }
        | changes
    )


def test_save_and_load_agree_and_missing_numbers_become_null(tmp_path):
    results(retrieval={"recall@1": math.nan, "map@r": 0.25}).save(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["methods"]["triplet_mlp_head"]["per_class"]["c"] == {"n": 0, "recall": None}
    loaded = load_results(tmp_path / "results.json")
    assert loaded.retrieval == {"recall@1": None, "map@r": 0.25}
    assert loaded.timing == {"train_seconds": 2.5}
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_saving_leaves_no_other_file(tmp_path):
    results().save(tmp_path / "results.json")
    assert list(tmp_path.iterdir()) == [tmp_path / "results.json"]


@pytest.mark.parametrize("paths", [(), ("one.png", "two, three.png")], ids=["arrays", "files"])
def test_predictions_in_words(tmp_path, paths):
    test = ImageSet(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "hot dog"), paths)
    write_predictions(tmp_path / "predictions.csv", test, torch.tensor([[0.25, 0.75], [1 / 3, 2 / 3]]))
    first, second = ("one.png", '"two, three.png"') if paths else ("", "")
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "index,path,label,predicted,probability",
        f"0,{first},cat,hot dog,0.750000",
        f"1,{second},hot dog,hot dog,0.666667",
    ]
