import numpy as np
import pytest

from tercet.evaluation.doubts import doubts
from tercet.evaluation.separation import Separation


def results_of(n=100, data=(), **accuracies):
    per_class = {"cat": {"n": n, "recall": 0.5}, "dog": {"n": n, "recall": None}}
    methods = {name: {"test_accuracy": accuracy, "per_class": per_class} for name, accuracy in accuracies.items()}
    return {"data": dict(data), "methods": methods}


GOOD = results_of(triplet_mlp_head=0.9, triplet_knn=0.88, cnn_cross_entropy=0.92, majority=0.5)
APART = Separation(np.array([0.1, 0.2]), np.array([0.9, 1.0]), spread=0.9)
COUNTS = {"cat": 100, "dog": 120}


def test_a_healthy_run_gives_no_reason():
    assert doubts(GOOD, COUNTS, APART, [{"phase": "encoder", "epoch": 1}]) == []
    assert doubts({}, {}, None, []) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"skipped": 2}, "by name: 2."),
        ({"duplicates": {"exact": 3, "near": 0}}, "in the training part too: 3."),
        ({"duplicates": {"exact": 0, "near": 1}}, "almost like a training image: 1."),
    ],
)
def test_faults_of_the_data_are_told(data, words):
    (reason,) = doubts({**GOOD, "data": data}, COUNTS, APART, [])
    assert words in reason


def test_no_copies_are_no_reason():
    assert doubts({**GOOD, "data": {"duplicates": {"exact": 0, "near": 0}}}, COUNTS, APART, []) == []


def test_few_images_are_told_for_either_part():
    (few_test,) = doubts(results_of(n=3, majority=0.5), COUNTS, None, [])
    assert "Fewer than 30 test images of cat, dog:" in few_test
    (few_training,) = doubts(GOOD, {"cat": 19, "dog": 20}, APART, [])
    assert "Fewer than 20 training images of cat:" in few_training


def test_a_long_list_of_small_classes_is_cut():
    reasons = doubts(GOOD, {f"kind {index}": 1 for index in range(8)}, APART, [])
    assert "kind 4 and 3 more" in reasons[0]


def test_unequal_classes_point_to_the_figures_that_count_them_alike():
    (reason,) = doubts(GOOD, {"cat": 301, "dog": 100}, APART, [])
    assert "cat has 301 training images, dog 100" in reason
    assert "balanced accuracy and macro F1" in reason
    assert doubts(GOOD, {"cat": 300, "dog": 100}, APART, []) == []


def test_weak_encoders_are_told_by_how_weak_they_are():
    below = doubts(results_of(triplet_mlp_head=0.4, triplet_knn=0.6, majority=0.5), COUNTS, APART, [])
    assert len(below) == 1
    assert "triplet encoder + MLP head is right less often (40.0 %)" in below[0]
    (weak,) = doubts(results_of(triplet_mlp_head=0.52, triplet_knn=0.54, majority=0.5), COUNTS, APART, [])
    assert "hardly more than always answering the most frequent class (50.0 %)" in weak
    (behind,) = doubts(results_of(triplet_mlp_head=0.7, logistic_regression=0.85, majority=0.5), COUNTS, APART, [])
    assert "far behind logistic regression on pixels (70.0 % against 85.0 %)" in behind


def test_collapse_and_disorder_are_told():
    alike = Separation(np.array([0.1, 0.2]), np.array([0.1, 0.2]), spread=0.001)
    collapse, disorder = doubts(GOOD, COUNTS, alike, [])
    assert "collapsed" in collapse
    assert "0.1 %" in collapse
    assert "only 50.0 % of cases" in disorder


def test_training_that_was_helped_is_told():
    history = [
        {"phase": "encoder", "epoch": 2, "intervention": "the rate was halved"},
        {"phase": "encoder", "epoch": 3},
    ]
    assert "in 1 epoch and was helped:" in doubts(GOOD, COUNTS, APART, history)[0]
