"""The sum over all triplets against the sum over a list of them; `test_triplets` and `test_losses` have the loops."""

import itertools
import math

import pytest
import torch

from tercet.geometry.distances import squared_distances
from tercet.training import ranking
from tercet.training.hinges import all_triplets_hinge, differentiable, listed_triplets_hinge
from tercet.training.losses import active_share, triplet_loss
from tercet.training.triplets import Triplets, semi_hard_triplets


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def large_batch(size=700, classes=7):
    """Enough rows for several blocks, in float32, on a grid so coarse that distances tie and images coincide."""
    points = (2 * torch.randn(size, 3, generator=seeded())).round()
    labels = (classes * torch.rand(size, generator=seeded(1)) ** 2).long()  # of very unequal size
    return points, labels


@pytest.mark.parametrize("margin", [-1.0, 0.0, 1.0, 2.5, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_equals_the_list_of_all(batch, every_triplet, margin, dtype):
    points, labels = batch
    distances = squared_distances(points, points).to(dtype)
    listed = every_triplet(labels)
    triplets = Triplets(*torch.tensor(listed, dtype=torch.int64).reshape(-1, 3).T)
    found, wanted = all_triplets_hinge(distances, labels, margin), listed_triplets_hinge(distances, triplets, margin)
    torch.testing.assert_close(found.total, wanted.total)
    # In float32 a hinge within rounding of 0 may be active for the one and not for the other: the grid has exact ones.
    if dtype == torch.float64 or torch.equal(points, points.round()):
        assert torch.equal(found.active, wanted.active)
        assert torch.equal(found.slopes, wanted.slopes)


@pytest.mark.parametrize("margin", [0.0, 1.0, 7.0])
def test_large_unnormalised_batches_equal_the_sum_anchor_by_anchor(margin):
    points, labels = large_batch()
    distances = squared_distances(points, points)
    total, active, slopes = all_triplets_hinge(distances, labels, margin)
    wanted_total, wanted_slopes = 0.0, torch.zeros_like(slopes)
    for anchor, row in enumerate(distances):
        same = labels == labels[anchor]
        positives = torch.nonzero(same & (torch.arange(len(labels)) != anchor)).flatten()
        hinges = row[positives][:, None] - row[~same] + margin  # [positives, negatives]
        wanted_total += float(hinges.clamp_min(0).sum(dtype=torch.float64))
        wanted_slopes[anchor, positives] = (hinges > 0).sum(1).float()
        wanted_slopes[anchor, ~same] = -(hinges > 0).sum(0).float()
    assert torch.equal(slopes, wanted_slopes)
    assert int(active) == int(wanted_slopes.clamp_min(0).sum(dtype=torch.float64))
    assert float(total) == pytest.approx(wanted_total, rel=1e-6)


@pytest.mark.parametrize("mining", ["all", "semi-hard"])
def test_threads_and_blocks_change_no_bit(mining, monkeypatch):
    points, labels = large_batch()

    def loss_and_gradient():
        points.requires_grad_()
        loss = triplet_loss(points, labels, margin=1.0, mining=mining)
        return loss.detach(), *torch.autograd.grad(loss, points)

    wanted = loss_and_gradient()
    torch.set_num_threads(2)
    again = [all_triplets_hinge(squared_distances(points, points), labels, 1.0) for _ in range(2)]
    triplets = semi_hard_triplets(squared_distances(points.detach(), points.detach()), labels)
    torch.set_num_threads(1)
    assert all(torch.equal(*pair) for pair in zip(*again, strict=True))
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 10**9)
    assert all(torch.equal(*pair) for pair in zip(wanted, loss_and_gradient(), strict=True))
    one_block = semi_hard_triplets(squared_distances(points.detach(), points.detach()), labels)
    assert all(torch.equal(*pair) for pair in zip(triplets, one_block, strict=True))


def test_semi_hard_equals_the_loop_over_several_blocks():
    points, labels = large_batch(300)
    distances = squared_distances(points, points)
    found = set(zip(*(indices.tolist() for indices in semi_hard_triplets(distances, labels)), strict=True))
    pairs = {(anchor, positive) for anchor, positive, _ in found}
    assert len(pairs) == len(found)
    for anchor, positive in itertools.permutations(range(len(labels)), 2):
        if labels[anchor] != labels[positive]:
            continue
        farther = (labels != labels[anchor]) & (distances[anchor] > distances[anchor, positive])
        assert ((anchor, positive) in pairs) == bool(farther.any())
    for anchor, positive, negative in found:
        farther = (labels != labels[anchor]) & (distances[anchor] > distances[anchor, positive])
        assert farther[negative]
        assert distances[anchor, negative] == distances[anchor][farther].min()


def test_the_gradient_is_that_of_the_distances(batch):
    points, labels = batch
    points.requires_grad_()
    distances = squared_distances(points, points)
    hinges = all_triplets_hinge(distances, labels, 0.7)
    (wanted,) = torch.autograd.grad((hinges.slopes * distances).sum(), points)
    (found,) = torch.autograd.grad(differentiable(hinges, points), points)
    torch.testing.assert_close(found, wanted)


def test_nothing_needs_a_gradient_or_leaves_the_mode(batch):
    points, labels = batch
    share = active_share(points.requires_grad_(), labels, margin=0.7)
    with torch.inference_mode():
        assert active_share(points, labels, margin=0.7) == share
    assert not all_triplets_hinge(squared_distances(points, points), labels, 0.7).total.requires_grad


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_embedding_is_seen_in_the_loss(mining, value):
    # The guard of the training looks for a loss that is not finite.
    points = torch.randn(30, 4, generator=seeded())
    points[3, 2] = value
    assert not torch.isfinite(triplet_loss(points, torch.arange(30) % 3, margin=0.2, mining=mining))


@pytest.mark.parametrize("mining", ["all", "semi-hard", "hard", "random"])
def test_an_empty_batch_has_no_triplets(mining):
    points = torch.zeros(0, 3, requires_grad=True)
    loss = triplet_loss(points, torch.zeros(0, dtype=torch.int64), margin=1.0, mining=mining)
    loss.backward()
    assert float(loss.detach()) == 0
