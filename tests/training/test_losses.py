"""Losses by hand, against naive loops and against autograd; `test_loss_properties` has directions and peers."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loops import naive_centroid, naive_proxy, naive_supcon, naive_triplet_loss
from tercet.geometry.distances import squared_distances
from tercet.training.losses import (
    active_share,
    centroid_triplet_loss,
    proxy_triplet_loss,
    supervised_contrastive_loss,
    triplet_loss,
)
from tercet.training.triplets import hard_triplets, random_triplets, semi_hard_triplets

MININGS = ("all", "semi-hard", "hard", "random")
FOUR_POINTS = torch.tensor([[0.0], [2.0], [3.0], [7.0]])
FOUR_LABELS = torch.tensor([0, 0, 1, 1])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mined(points, labels, mining, every_triplet):
    if mining == "all":
        return every_triplet(labels)
    distances = squared_distances(points, points).detach()
    chosen = {
        "random": lambda: random_triplets(labels, seeded()),
        "hard": lambda: hard_triplets(distances, labels),
        "semi-hard": lambda: semi_hard_triplets(distances, labels),
    }[mining]()
    return list(zip(*(indices.tolist() for indices in chosen), strict=True))


@pytest.mark.parametrize(
    ("mining", "total", "mean", "active"),
    [
        # Squared distances and triplets are worked out in test_triplets. Hinges at margin 6:
        ("all", 44.0, 44 / 8, 44 / 4),  # 1, 0, 9, 0, 13, 21, 0, 0
        ("hard", 31.0, 31 / 4, 31 / 3),  # 4 - 9 + 6 = 1, 4 - 1 + 6 = 9, 16 - 1 + 6 = 21, 16 - 25 + 6 < 0
        ("semi-hard", 1.0, 1 / 3, 1.0),  # 4 - 9 + 6 = 1, 4 - 25 + 6 < 0, 16 - 25 + 6 < 0
    ],
)
def test_four_points_by_hand(mining, total, mean, active):
    for reduction, wanted in (("sum", total), ("mean", mean), ("active", active)):
        found = triplet_loss(FOUR_POINTS, FOUR_LABELS, margin=6.0, mining=mining, reduction=reduction)
        assert float(found) == pytest.approx(wanted)


def test_random_of_four_points_by_hand():
    # Both negatives lie at 3, so whichever is drawn: 4 - 9 + 6 = 1 from 0 and 4 - 1 + 6 = 9 from 2.
    points = torch.tensor([[0.0], [2.0], [3.0], [3.0]])
    found = triplet_loss(points, torch.tensor([0, 0, 1, 2]), margin=6.0, mining="random", reduction="mean")
    assert float(found) == pytest.approx(5.0)


def test_supcon_of_four_points_by_hand():
    # Two pairs at a right angle. At temperature 1 each anchor has cosines 1, 0, 0: -log(e / (e + 1 + 1)).
    points = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 0.5]])
    found = supervised_contrastive_loss(points, FOUR_LABELS, temperature=1.0)
    assert float(found) == pytest.approx(math.log(math.e + 2) - 1)


def test_proxies_of_four_points_by_hand():
    # Proxies at 1 and 5. Gaps 1 - 25, 1 - 9, 4 - 4, 4 - 36; smoothed by half, a quarter of each weight goes across.
    settings = {"proxies": torch.tensor([[1.0], [5.0]]), "temperature": 10.0}
    terms = [math.log1p(math.exp((gap + 1) / 10)) for gap in (-24, -8, 0, -32)]
    assert float(proxy_triplet_loss(FOUR_POINTS, FOUR_LABELS, **settings, margin=1.0)) == pytest.approx(sum(terms) / 4)
    sides = [(math.log1p(math.exp(gap / 10)), math.log1p(math.exp(-gap / 10))) for gap in (-24, -8, 0, -32)]
    wanted = sum(0.75 * own + 0.25 * other for own, other in sides) / 4
    assert float(proxy_triplet_loss(FOUR_POINTS, FOUR_LABELS, **settings, smoothing=0.5)) == pytest.approx(wanted)


def test_centroids_of_four_points_by_hand():
    # Own class without the anchor at 2, 0, 7, 3; the other at 5, 5, 1, 1. Gaps 4 - 25, 4 - 9, 16 - 4, 16 - 36.
    found = centroid_triplet_loss(FOUR_POINTS, FOUR_LABELS, temperature=10.0, margin=1.0)
    terms = [math.log1p(math.exp((gap + 1) / 10)) for gap in (-21, -5, 12, -20)]
    assert float(found) == pytest.approx(sum(terms) / 4)


def test_centroids_approach_the_hinge_of_the_nearest_other_class():
    points = torch.cat([FOUR_POINTS, torch.tensor([[9.0], [9.0]])])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    # With a third class at 9 the nearest other one of 7 is it, 4 away: 16 - 4; of 9 it is 16 away, the own class 0.
    hinges = [0, 0, 16 - 4 + 1, 16 - 4 + 1, 0, 0]
    found = 1e-3 * centroid_triplet_loss(points, labels, temperature=1e-3, margin=1.0)
    assert float(found) == pytest.approx(sum(hinges) / 6, abs=1e-4)


@pytest.mark.parametrize("reduction", ["sum", "mean", "active"])
@pytest.mark.parametrize("mining", MININGS)
def test_value_and_gradient_equal_the_naive_formula(batch, every_triplet, mining, reduction):
    points, labels = batch
    points.requires_grad_()
    found = triplet_loss(points, labels, margin=0.7, mining=mining, reduction=reduction, generator=seeded())
    wanted = naive_triplet_loss(points, mined(points, labels, mining, every_triplet), 0.7, reduction)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, points)[0] for loss in (found, wanted)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_proxies_equal_the_naive_formula(batch, smoothing):
    points, labels = batch
    proxies = torch.randn(int(labels.max()) + 2, points.shape[1], generator=seeded(1), dtype=points.dtype)
    given = [points.requires_grad_(), proxies.requires_grad_()]
    settings = {"temperature": 0.8, "margin": 0.4, "smoothing": smoothing}
    found = proxy_triplet_loss(points, labels, proxies=proxies, **settings)
    wanted = naive_proxy(points, labels, proxies, **settings)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given), strict=True):
        torch.testing.assert_close(one, other)


def test_centroids_equal_the_naive_formula(batch):
    points, labels = batch
    points.requires_grad_()
    found, wanted = (
        loss(points, labels, temperature=0.8, margin=0.4) for loss in (centroid_triplet_loss, naive_centroid)
    )
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, points)[0] for loss in (found, wanted)))


def test_supcon_equals_the_naive_formula(batch):
    points, labels = batch
    points = (points + 0.1).requires_grad_()  # the origin has no direction
    found, wanted = (loss(points, labels, temperature=0.3) for loss in (supervised_contrastive_loss, naive_supcon))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, points)[0] for loss in (found, wanted)))


@pytest.mark.parametrize("reduction", ["sum", "mean", "active"])
@pytest.mark.parametrize("mining", MININGS)
def test_gradcheck_of_triplets(labels, mining, reduction):
    points = torch.randn(len(labels), 3, generator=seeded(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given: triplet_loss(given, labels, margin=1.0, mining=mining, reduction=reduction, generator=seeded()),
        points,
    )


@pytest.mark.parametrize("loss", [centroid_triplet_loss, supervised_contrastive_loss])
def test_gradcheck_of_losses_with_a_temperature(labels, loss):
    points = torch.randn(len(labels), 3, generator=seeded(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: loss(given, labels, temperature=0.5), points)


@pytest.mark.parametrize("labels", [[3, 3, 3], [0, 1, 2], [5]], ids=["one class", "all distinct", "one image"])
@pytest.mark.parametrize("mining", MININGS)
def test_without_triplets_the_loss_and_its_gradient_are_zero(labels, mining):
    points = torch.randn(len(labels), 2, generator=seeded(), requires_grad=True)
    loss = triplet_loss(points, torch.tensor(labels), margin=1.0, mining=mining)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(points.grad, torch.zeros_like(points))


@pytest.mark.parametrize(
    ("labels", "of"),
    [
        ([0, 1, 2], supervised_contrastive_loss),
        ([5], supervised_contrastive_loss),
        ([0, 1, 2], centroid_triplet_loss),
        ([5], centroid_triplet_loss),
        ([3, 3, 3], centroid_triplet_loss),
    ],
)
def test_without_positives_or_negatives_the_others_are_zero_too(labels, of):
    points = torch.randn(len(labels), 2, generator=seeded(), requires_grad=True)
    loss = of(points, torch.tensor(labels), temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_solved_triplets_leave_a_zero_gradient():
    points = torch.tensor([[0.0], [0.1], [9.0]], requires_grad=True)
    triplet_loss(points, torch.tensor([0, 0, 1]), margin=1.0).backward()
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_active_share(batch, every_triplet):
    points, labels = batch
    hinges = [
        float((points[a] - points[p]).square().sum() - (points[a] - points[n]).square().sum()) + 0.7
        for a, p, n in every_triplet(labels)
    ]
    wanted = sum(hinge > 0 for hinge in hinges) / max(1, len(hinges))
    assert active_share(points, labels, margin=0.7) == pytest.approx(wanted)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation gives."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = operation(*args, **(kwargs or {}))
        for tensor in given if isinstance(given, tuple | list) else (given,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return given


@pytest.mark.parametrize("mining", MININGS)
def test_memory_grows_with_the_square_of_the_batch(mining):
    points = torch.randn(512, 8, generator=seeded(), requires_grad=True)
    with LargestTensor() as largest:
        triplet_loss(points, torch.arange(512) % 10, margin=1.0, mining=mining, generator=seeded()).backward()
    # 134 million elements would be B^3. Random mining draws two numbers a pair, all positive pairs have two indices.
    assert 512**2 <= largest.elements <= 2 * 512**2
