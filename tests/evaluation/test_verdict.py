import pytest
import torch
from scipy import stats

from tercet.evaluation.verdict import mcnemar, verdict_of_one, verdict_of_seeds


def outcomes(both=0, only_first=0, only_second=0, neither=0):
    """Right or wrong of two methods on the same images."""
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return torch.tensor(first), torch.tensor(second)


def test_mcnemar_by_hand():
    # Five images differ, all five in favour of the first: 2 / 2^5. One against four: 2 (1 + 5) / 2^5.
    assert mcnemar(*outcomes(both=7, only_first=5, neither=2)) == pytest.approx(2 / 32)
    assert mcnemar(*outcomes(both=7, only_first=4, only_second=1)) == pytest.approx(12 / 32)


def test_mcnemar_does_not_depend_on_the_order_of_the_methods():
    ours, theirs = outcomes(both=10, only_first=9, only_second=3)
    assert mcnemar(ours, theirs) == mcnemar(theirs, ours)
    assert mcnemar(ours, ours) == 1.0


def test_mcnemar_nears_the_chi_square_of_the_paper():
    # (|60 - 100| - 1)^2 / 160 with continuity correction: 9.506, one degree of freedom.
    found = mcnemar(*outcomes(both=1000, only_first=100, only_second=60))
    assert found == pytest.approx(stats.chi2.sf(39**2 / 160, 1), rel=0.05)


def of_one(only_first, only_second, baseline="cnn_cross_entropy"):
    ours, theirs = outcomes(both=80, only_first=only_first, only_second=only_second, neither=20)
    return verdict_of_one({"triplet_mlp_head": ours, "triplet_knn": ~ours, baseline: theirs})


def test_ahead():
    # 20 in favour, none against, of 120 images: 16.7 points; p = 2^-19.
    assert "is ahead of the same network trained by cross-entropy by 16.7 points (McNemar p < 0.001)" in of_one(20, 0)


def test_behind():
    # 1 against 9 of 110: -7.3 points; p = 2 (1 + 10) / 2^10 = 0.0215.
    assert "is behind the same network trained by cross-entropy by 7.3 points (McNemar p = 0.021)" in of_one(1, 9)


def test_level():
    # 6 against 4 of 110: +1.8 points; p = 2 (1 + 10 + 45 + 120 + 210) / 2^10 = 0.754.
    assert "is level with the same network trained by cross-entropy (+1.8 points, McNemar p = 0.754)" in of_one(6, 4)


def test_one_run_says_so_and_compares_with_baselines_only():
    verdict = of_one(20, 0)
    assert "on the same 120 test images." in verdict
    assert "leave out the variance between seeds" in verdict
    assert "neighbours" not in verdict
    assert verdict.startswith("The triplet encoder with a small network is")


def test_several_baselines_are_joined():
    ours, theirs = outcomes(both=50, only_first=30, only_second=0)
    verdict = verdict_of_one({"triplet_mlp_head": ours, "logistic_regression": theirs, "majority": ~ours})
    assert "logistic regression on pixels by 37.5 points" in verdict
    assert " and ahead of the majority class by 100.0 points" in verdict


@pytest.mark.parametrize(
    ("theirs", "word"),
    [
        ([0.80, 0.81, 0.79], "ahead of"),
        ([0.95, 0.97, 0.96], "behind"),
        ([0.85, 0.95, 0.90], "level with"),
        ([0.90, 0.91, 0.89], "level with"),  # equal, without spread
    ],
)
def test_seeds_by_the_paired_t_test(theirs, word):
    ours = [0.90, 0.91, 0.89]
    verdict = verdict_of_seeds({"triplet_mlp_head": ours, "majority": theirs})
    assert f"is {word} the majority class" in verdict
    assert "paired over 3 seeds" in verdict
    if ours != theirs and word == "level with":
        assert stats.ttest_rel(ours, theirs).pvalue > 0.05


def test_the_interval_over_seeds_equals_scipy():
    ours, theirs = [0.90, 0.92, 0.91, 0.95], [0.88, 0.91, 0.86, 0.91]
    interval = stats.ttest_rel([100 * value for value in ours], [100 * value for value in theirs]).confidence_interval()
    verdict = verdict_of_seeds({"triplet_mlp_head": ours, "cnn_cross_entropy": theirs})
    assert f"95 % interval {interval.low:+.1f} to {interval.high:+.1f}" in verdict
    assert "ahead of the same network trained by cross-entropy by 3.0 points" in verdict  # 2, 1, 5 and 4
