import numpy as np
import pytest

from tercet.evaluation.separation import Separation, separation


def clouds(gap, count=40, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    rows = generator.normal(size=(count, 4)).astype(np.float32)
    rows[:, 0] += gap * labels
    return rows, labels


def test_four_points_by_hand():
    rows = np.array([[0, 0], [1, 0], [0, 5], [2, 5]], dtype=np.float32)
    pairs = separation(rows, np.array([0, 0, 1, 1]), seed=0)
    assert set(np.unique(pairs.same)) == {1, 2}
    assert np.allclose(np.unique(pairs.different), np.sqrt([25, 26, 29]))
    assert abs((pairs.same == 1).mean() - 0.5) < 0.02  # either class has as many pairs
    assert pairs.order == 1.0
    assert pairs.overlap == 0.0


def test_no_image_is_paired_with_itself_nor_a_stranger_with_its_class():
    labels = np.array([3, 0, 0, 1, 1, 1, 0, 3])
    rows = (np.arange(8)[:, None] + 100 * labels[:, None]).astype(np.float32)
    pairs = separation(rows, labels, seed=1)
    assert pairs.same.min() >= 1
    assert pairs.same.max() <= 7
    assert pairs.different.min() > 90


def test_classes_further_apart_overlap_less():
    near, far = (separation(*clouds(gap, 400), seed=0) for gap in (0.5, 6.0))
    assert far.overlap < near.overlap
    assert far.order > near.order
    mixed = separation(*clouds(0.0, 400), seed=0)
    assert abs(mixed.order - 0.5) < 0.03
    assert mixed.overlap > 0.9


def test_ties_count_half_and_equal_embeddings_show_no_spread():
    pairs = separation(np.ones((6, 2), dtype=np.float32), np.array([0, 0, 0, 1, 1, 1]), seed=0)
    assert pairs.order == 0.5
    assert pairs.overlap == 1.0
    assert pairs.spread == pytest.approx(0.0)


def test_the_same_seed_draws_the_same_pairs():
    one, two, other = (separation(*clouds(1.0), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.same, two.same)
    assert not np.array_equal(one.same, other.same)


def test_without_pairs_of_both_kinds_there_is_nothing_to_say():
    rows = np.ones((3, 2), dtype=np.float32)
    assert separation(rows, np.array([0, 1, 2]), seed=0) is None
    assert separation(rows, np.array([1, 1, 1]), seed=0) is None
    assert isinstance(separation(rows, np.array([0, 1, 1]), seed=0), Separation)
