import math

import pytest
import torch

from tercet.geometry.distances import squared_distances
from tercet.training.hinges import all_triplets_hinge
from tercet.training.triplets import (
    hard_triplets,
    random_triplets,
    semi_hard_triplets,
    triplet_count,
)

# Four points on a line at 0, 2, 3, 7 with the classes 0, 0, 1, 1. Squared distances:
#        0   2   3   7
#   0    0   4   9  49
#   2    4   0   1  25
#   3    9   1   0  16
#   7   49  25  16   0
FOUR_LABELS = torch.tensor([0, 0, 1, 1])
FOUR_DISTANCES = squared_distances(*[torch.tensor([[0.0], [2.0], [3.0], [7.0]])] * 2)


def listed(triplets):
    return list(zip(*(indices.tolist() for indices in triplets), strict=True))


def test_hard_of_four_points():
    # The only positive. The nearest negative: 3 from 0 (9 < 49) and 2 (1 < 25), 2 from 3 (1 < 9) and 7 (25 < 49).
    assert listed(hard_triplets(FOUR_DISTANCES, FOUR_LABELS)) == [(0, 1, 2), (1, 0, 2), (2, 3, 1), (3, 2, 1)]


def test_semi_hard_of_four_points():
    # Positive 4 from 0: negatives 9, 49, so 9. Positive 4 from 2: 1, 25, so 25. Positive 16 from 3: 1 and 9 are both
    # nearer, so none. Positive 16 from 7: 25, 49, so 25.
    assert listed(semi_hard_triplets(FOUR_DISTANCES, FOUR_LABELS)) == [(0, 1, 2), (1, 0, 3), (3, 2, 1)]


def test_all_of_four_points():
    # Margin 6, positive - negative + 6: from 0: 1, -39; from 2: 9, -15; from 3: 13, 21; from 7: -27, -3.
    total, active, _ = all_triplets_hinge(FOUR_DISTANCES, FOUR_LABELS, 6.0)
    assert (float(total), int(active), triplet_count(FOUR_LABELS)) == (1 + 9 + 13 + 21, 4, 8)


def test_random_of_four_points():
    # Classes 0, 0, 1, 2: only the first two have a positive, and the negative is one of the last two.
    drawn = listed(random_triplets(torch.tensor([0, 0, 1, 2]), torch.Generator().manual_seed(0)))
    assert [triplet[:2] for triplet in drawn] == [(0, 1), (1, 0)]
    assert {triplet[2] for triplet in drawn} <= {2, 3}


def test_hard_equals_the_loop(batch, every_triplet):
    points, labels = batch
    distances = squared_distances(points, points)
    found = listed(hard_triplets(distances, labels))
    candidates = every_triplet(labels)
    assert [triplet[0] for triplet in found] == sorted({anchor for anchor, _, _ in candidates})
    assert set(found) <= set(candidates)
    for anchor, positive, negative in found:
        positives, negatives = zip(*[(p, n) for a, p, n in candidates if a == anchor], strict=True)
        assert distances[anchor, positive] == max(distances[anchor, p] for p in positives)
        assert distances[anchor, negative] == min(distances[anchor, n] for n in negatives)


def test_semi_hard_equals_the_loop(batch, every_triplet):
    points, labels = batch
    distances = squared_distances(points, points)
    nearest_farther = {}
    for anchor, positive, negative in every_triplet(labels):
        if distances[anchor, negative] > distances[anchor, positive]:
            best = nearest_farther.get((anchor, positive), math.inf)
            nearest_farther[anchor, positive] = min(best, float(distances[anchor, negative]))
    found = listed(semi_hard_triplets(distances, labels))
    assert set(found) <= set(every_triplet(labels))
    assert {(a, p): float(distances[a, n]) for a, p, n in found} == nearest_farther
    assert len(found) == len(nearest_farther)


def test_random_draws_one_triplet_for_each_anchor_that_has_any(batch, every_triplet):
    _, labels = batch
    found = listed(random_triplets(labels, torch.Generator().manual_seed(1)))
    assert [anchor for anchor, _, _ in found] == sorted({anchor for anchor, _, _ in every_triplet(labels)})
    assert set(found) <= set(every_triplet(labels))


def test_random_draws_evenly():
    # Anchor 0 has the positives 1, 2 and the negatives 3, 4, 5: six triplets, 1,200 draws, 200 of each expected with
    # a standard deviation of 13.
    generator = torch.Generator().manual_seed(0)
    draws = [listed(random_triplets(torch.tensor([0, 0, 0, 1, 2, 3]), generator))[0] for _ in range(1200)]
    counts = [draws.count((0, positive, negative)) for positive in (1, 2) for negative in (3, 4, 5)]
    assert sum(counts) == 1200
    assert all(140 < count < 260 for count in counts)


def test_random_is_decided_by_the_generator():
    labels = torch.arange(40) % 4
    first, again, other = (listed(random_triplets(labels, torch.Generator().manual_seed(seed))) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("margin", [0.0, 1.0, 30.0])
def test_all_equals_the_loop(batch, every_triplet, margin):
    points, labels = batch
    distances = squared_distances(points, points)
    hinges = [max(float(distances[a, p] - distances[a, n]) + margin, 0.0) for a, p, n in every_triplet(labels)]
    total, active, _ = all_triplets_hinge(distances, labels, margin)
    assert float(total) == pytest.approx(sum(hinges))
    assert int(active) == sum(hinge > 0 for hinge in hinges)
    assert triplet_count(labels) == len(hinges)


def test_sums_that_nearly_cancel_are_exact_in_double_precision():
    # Thousands of hinges of about 1e-6: the margin times their number is a million times their sum.
    points = torch.tensor([[0.0]] * 20 + [[0.3]] * 20, dtype=torch.float64)
    labels = torch.arange(40) // 20
    total, active, _ = all_triplets_hinge(squared_distances(points, points), labels, 0.09 + 1e-6)
    assert int(active) == 40 * 19 * 20
    assert float(total) == pytest.approx(40 * 19 * 20 * 1e-6, rel=1e-8)


def test_labels_may_be_any_whole_numbers():
    assert triplet_count(torch.tensor([2_000_000_000_000, 2_000_000_000_000, -5])) == 2


def test_an_active_count_leaves_out_hinges_of_exactly_zero():
    # Points 0, 1 of one class and 2 of another; from 0: 1 - 4 + 3 = 0, from 1: 1 - 1 + 3 = 3.
    points = torch.tensor([[0.0], [1.0], [2.0]])
    total, active, _ = all_triplets_hinge(squared_distances(points, points), torch.tensor([0, 0, 1]), 3.0)
    assert (float(total), int(active)) == (3.0, 1)


def test_ties_of_the_semi_hard_count_as_not_farther():
    # The negative at -1 is as far from 0 as the positive at 1; the one at 3 is farther.
    points = torch.tensor([[0.0], [1.0], [-1.0], [3.0]])
    found = listed(semi_hard_triplets(squared_distances(points, points), torch.tensor([0, 0, 1, 2])))
    assert (0, 1, 3) in found
    assert (0, 1, 2) not in found
