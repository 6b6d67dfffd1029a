import pytest

from tercet.evaluation.results import Results
from tercet.evaluation.seeds import combine_seeds


def one_run(accuracy, baseline, **changes):
    def figures(value):
        return {
            "test_accuracy": value,
            "balanced_accuracy": value - 0.1,
            "macro_f1": value - 0.2,
            "fit_seconds": 10 * value,
            "ci95": [value - 0.05, value + 0.05],
            "per_class": {"a": {"n": 5, "recall": value}, "empty": {"n": 0, "recall": None}},
        }

    return Results(
        **{
            "data": {"name": "toy"},
            "methods": {"triplet_mlp_head": figures(accuracy), "majority": figures(baseline)},
            "retrieval": {"recall@1": accuracy, "map@r": accuracy / 2},
            "calibration_error": 1 - accuracy,
            "verdict": "one run",
            "timing": {"train_seconds": 100 * accuracy},
            "peak_memory_bytes": int(1000 * accuracy),
        }
        | changes
    )


@pytest.fixture
def combined():
    return combine_seeds([one_run(0.8, 0.1), one_run(0.9, 0.1), one_run(0.7, 0.1)])


def test_means_and_standard_deviations_by_hand(combined):
    figures = combined.methods["triplet_mlp_head"]
    assert figures["test_accuracy"] == pytest.approx(0.8)
    assert figures["balanced_accuracy"] == pytest.approx(0.7)
    assert figures["macro_f1"] == pytest.approx(0.6)
    assert figures["fit_seconds"] == pytest.approx(8.0)
    assert figures["ci95"] == pytest.approx([0.75, 0.85])
    assert figures["seeds"] == {
        "n": 3,
        "mean": pytest.approx(0.8),
        "sd": pytest.approx(0.1),  # deviations 0, 0.1, -0.1: sqrt(0.02 / 2)
        "values": [0.8, 0.9, 0.7],
    }
    assert combined.methods["majority"]["seeds"]["sd"] == 0


def test_the_rest_of_the_results(combined):
    assert combined.data == {"name": "toy"}
    assert combined.retrieval == {"recall@1": pytest.approx(0.8), "map@r": pytest.approx(0.4)}
    assert combined.calibration_error == pytest.approx(0.2)
    assert combined.timing == {"train_seconds": pytest.approx(80.0)}
    assert combined.peak_memory_bytes == 900
    assert "paired over 3 seeds" in combined.verdict


def test_a_class_without_images_stays_without_recall(combined):
    per_class = combined.methods["triplet_mlp_head"]["per_class"]
    assert per_class["a"] == {"n": 5, "recall": pytest.approx(0.8)}
    assert per_class["empty"] == {"n": 0, "recall": None}


def test_numbers_that_no_run_has_stay_missing():
    # As read back from a file: no class of the test part had a second image, no system told its memory.
    nothing = {"recall@1": None, "map@r": None}
    combined = combine_seeds([one_run(0.8, 0.1, retrieval=nothing, peak_memory_bytes=None)] * 2)
    assert combined.retrieval == nothing
    assert combined.peak_memory_bytes is None
