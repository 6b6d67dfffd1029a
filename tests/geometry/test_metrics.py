import math

import pytest
import torch
from scipy.stats import binomtest
from sklearn import metrics as reference

from tercet.geometry import metrics
from tercet.geometry.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
    retrieval,
    wilson_interval,
)


@pytest.fixture(params=["all classes", "class 2 never true", "class 2 never at all"])
def guesses(request):
    generator = torch.Generator().manual_seed(3)
    labels, predicted = torch.randint(4, (2, 60), generator=generator)
    if request.param != "all classes":
        labels[labels == 2] = 0
    if request.param == "class 2 never at all":
        predicted[predicted == 2] = 3
    return labels, predicted


def test_confusion_and_accuracy_equal_scikit_learn(guesses):
    labels, predicted = guesses
    confusion = confusion_matrix(labels, predicted, 4)
    assert confusion.tolist() == reference.confusion_matrix(labels, predicted, labels=range(4)).tolist()
    assert accuracy(confusion) == pytest.approx(reference.accuracy_score(labels, predicted))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_and_f1_equal_scikit_learn(guesses):
    labels, predicted = guesses
    confusion = confusion_matrix(labels, predicted, 4)
    assert balanced_accuracy(confusion) == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert macro_f1(confusion) == pytest.approx(reference.f1_score(labels, predicted, average="macro"))


def test_recall_of_a_class_without_images_is_no_number():
    # Class 0: 2 of 3 found; class 1: 1 of 1; class 2 has none.
    found = recalls(torch.tensor([[2, 0, 1], [0, 1, 0], [0, 0, 0]]))
    assert found[:2].tolist() == pytest.approx([2 / 3, 1])
    assert math.isnan(float(found[2]))


def test_accuracy_of_nothing_is_zero():
    assert accuracy(confusion_matrix(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64), 2)) == 0


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (7, 10), (10, 10), (9123, 10_000)])
def test_wilson_interval_equals_scipy(correct, total):
    wanted = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_wilson_interval_without_trials_is_everything():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_calibration_error_by_hand():
    # Two bins. Below 0.5: none. From 0.5: confidences 0.6, 0.8, 1.0, 0.9 with three of four right:
    # |3.3 - 3| / 4 = 0.075.
    probabilities = torch.tensor([[0.6, 0.4], [0.2, 0.8], [1.0, 0.0], [0.9, 0.1]])
    found = expected_calibration_error(probabilities, torch.tensor([0, 1, 0, 1]), bin_count=2)
    assert found == pytest.approx(0.075)
    # Five bins of width 0.2: (0.6, right) alone, |0.6 - 1| = 0.4; 0.8, 1.0 and 0.9 together, |2.7 - 2| = 0.7; over 4.
    found = expected_calibration_error(probabilities + 1e-4, torch.tensor([0, 1, 0, 1]), bin_count=5)
    assert found == pytest.approx(1.1 / 4, abs=1e-3)


def test_perfect_confidence_is_calibrated():
    assert expected_calibration_error(torch.eye(3), torch.arange(3)) == 0


def test_retrieval_by_hand():
    # On a line: 0 (a), 1 (a), 3 (b), 4 (a), 10 (c: no mate, searched but no query).
    # a at 0 has R = 2: nearest 1 (a), 3 (b): recall 1, MAP (1/1) / 2 = 1/2.
    # a at 1: nearest 0 (a), 3 (b): recall 1, MAP 1/2. a at 4: nearest 3 (b), 1 (a): recall 0, MAP (1/2) / 2 = 1/4.
    # b at 3 and c at 10 are left out.
    points = torch.tensor([[0.0], [1.0], [3.0], [4.0], [10.0]])
    recall_at_1, map_at_r = retrieval(points, torch.tensor([0, 0, 1, 0, 2]))
    assert recall_at_1 == pytest.approx(2 / 3)
    assert map_at_r == pytest.approx((1 / 2 + 1 / 2 + 1 / 4) / 3)


@pytest.mark.parametrize("chunk_elements", [10**6, 60, 1])
def test_retrieval_equals_the_loop_over_queries(chunk_elements, monkeypatch):
    monkeypatch.setattr(metrics, "CHUNK_ELEMENTS", chunk_elements)
    generator = torch.Generator().manual_seed(5)
    points = torch.randn(25, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0] * 12 + [1] * 7 + [2] * 5 + [3])[torch.randperm(25, generator=generator)]
    first, average = [], []
    for row in range(25):
        order = [other for other in torch.cdist(points[[row]], points)[0].argsort().tolist() if other != row]
        hits = [bool(labels[other] == labels[row]) for other in order]
        if depth := sum(hits):
            first.append(hits[0])
            average.append(sum(sum(hits[: i + 1]) / (i + 1) for i in range(depth) if hits[i]) / depth)
    assert retrieval(points, labels) == pytest.approx((sum(first) / len(first), sum(average) / len(average)))


def test_retrieval_without_mates_is_no_number():
    assert all(math.isnan(value) for value in retrieval(torch.eye(3), torch.arange(3)))
    assert all(math.isnan(value) for value in retrieval(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
