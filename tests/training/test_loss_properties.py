"""What every loss must do whatever its formula: directions, symmetries, and agreement with pytorch-metric-learning."""

import math
from functools import partial

import pytest
import torch
from pytorch_metric_learning import distances as peer_distances
from pytorch_metric_learning import losses as peer_losses
from pytorch_metric_learning import miners as peer_miners
from pytorch_metric_learning import reducers as peer_reducers

from tercet.training.losses import (
    LOSSES,
    centroid_triplet_loss,
    proxy_triplet_loss,
    supervised_contrastive_loss,
    triplet_loss,
)

# Random mining is left out: a change of the points or of their order also changes what is drawn for whom, so it keeps
# these properties in distribution only.
TRIPLETS = {
    f"{mining}, {reduction}": partial(triplet_loss, margin=4.0, mining=mining, reduction=reduction)
    for mining in ("all", "semi-hard", "hard")
    for reduction in ("sum", "mean", "active")
}
CENTROIDS = {
    f"centroid, {margin}": partial(centroid_triplet_loss, temperature=0.5, margin=margin) for margin in (0.0, 1.0)
}
EVERY_LOSS = {**TRIPLETS, **CENTROIDS, "supcon": partial(supervised_contrastive_loss, temperature=0.5)}

SQUARED_EUCLIDEAN = peer_distances.LpDistance(normalize_embeddings=False, p=2, power=2)
REDUCERS = {"active": peer_reducers.AvgNonZeroReducer, "mean": peer_reducers.MeanReducer}


def on_the_circle(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def random_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(24, 4, generator=generator, dtype=torch.float64)
    return points, torch.randint(5, (24,), generator=generator)


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_a_positive_moved_nearer_lowers_the_loss(loss):
    # The anchor at 0 degrees, its positive from 40 to 20, a negative at 120; at margin 4 every triplet is active.
    labels = torch.tensor([0, 0, 1])
    assert loss(on_the_circle(0, 20, 120), labels) < loss(on_the_circle(0, 40, 120), labels)


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_a_negative_moved_nearer_raises_the_loss(loss):
    labels = torch.tensor([0, 0, 1])
    assert loss(on_the_circle(0, 40, 100), labels) > loss(on_the_circle(0, 40, 120), labels)


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_a_step_down_the_gradient_pulls_positives_and_pushes_negatives(loss):
    points = on_the_circle(0, 40, 120).requires_grad_()
    loss(points, torch.tensor([0, 0, 1])).backward()
    before, after = (torch.cdist(x, x) for x in (points.detach(), points.detach() - 1e-3 * points.grad))
    assert after[0, 1] < before[0, 1]
    assert after[0, 2] > before[0, 2]


def test_random_mining_has_the_directions_as_well():
    # One class of two images and one other image: nothing is left to chance.
    loss = partial(triplet_loss, margin=4.0, mining="random")
    labels = torch.tensor([0, 0, 1])
    start = loss(on_the_circle(0, 40, 120), labels)
    assert loss(on_the_circle(0, 20, 120), labels) < start < loss(on_the_circle(0, 40, 100), labels)


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_the_order_of_the_batch_does_not_matter(loss):
    points, labels = random_batch()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(points[order], labels[order]), loss(points, labels))


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_the_numbering_of_the_classes_does_not_matter(loss):
    points, labels = random_batch()
    torch.testing.assert_close(loss(points, 9 - 2 * labels), loss(points, labels))


@pytest.mark.parametrize("loss", EVERY_LOSS.values(), ids=EVERY_LOSS)
def test_a_rotation_of_the_space_does_not_matter(loss):
    points, labels = random_batch()
    square = torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rotation = torch.linalg.qr(square).Q
    torch.testing.assert_close(loss(points @ rotation, labels), loss(points, labels))


@pytest.mark.parametrize("loss", [*TRIPLETS.values(), *CENTROIDS.values()], ids=[*TRIPLETS, *CENTROIDS])
def test_a_translation_does_not_matter_to_triplets(loss):
    points, labels = random_batch()
    torch.testing.assert_close(loss(points + 3.0, labels), loss(points, labels))


def test_the_length_of_embeddings_does_not_matter_to_supcon():
    points, labels = random_batch()
    lengths = 1 + torch.rand(24, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    loss = EVERY_LOSS["supcon"]
    torch.testing.assert_close(loss(lengths * points, labels), loss(points, labels))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reduction", ["active", "mean"])
def test_all_equals_pytorch_metric_learning(seed, reduction):
    points, labels = random_batch(seed)
    peer = peer_losses.TripletMarginLoss(margin=0.7, distance=SQUARED_EUCLIDEAN, reducer=REDUCERS[reduction]())
    torch.testing.assert_close(triplet_loss(points, labels, margin=0.7, reduction=reduction), peer(points, labels))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reduction", ["active", "mean"])
def test_hard_equals_pytorch_metric_learning(seed, reduction):
    points, labels = random_batch(seed)
    peer = peer_losses.TripletMarginLoss(margin=0.7, distance=SQUARED_EUCLIDEAN, reducer=REDUCERS[reduction]())
    mined = peer_miners.BatchHardMiner(distance=SQUARED_EUCLIDEAN)(points, labels)
    found = triplet_loss(points, labels, margin=0.7, mining="hard", reduction=reduction)
    torch.testing.assert_close(found, peer(points, labels, mined))


@pytest.mark.parametrize("seed", range(5))
def test_semi_hard_equals_pytorch_metric_learning_where_each_anchor_has_one_positive(seed):
    # Its miners mean other things by the word: TripletMarginMiner keeps every negative between the positive and the
    # margin, BatchEasyHardMiner refuses to take the nearest farther negative of *every* positive. With classes of two
    # the latter's nearest positive is the only one, and the definitions meet.
    points, _ = random_batch(seed)
    labels = torch.arange(24) % 12
    peer = peer_losses.TripletMarginLoss(margin=0.7, distance=SQUARED_EUCLIDEAN, reducer=peer_reducers.MeanReducer())
    miner = peer_miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="semihard", distance=SQUARED_EUCLIDEAN)
    found = triplet_loss(points, labels, margin=0.7, mining="semi-hard", reduction="mean")
    torch.testing.assert_close(found, peer(points, labels, miner(points, labels)))


@pytest.mark.parametrize("seed", range(5))
def test_supcon_equals_pytorch_metric_learning(seed):
    points, labels = random_batch(seed)
    peer = peer_losses.SupConLoss(temperature=0.2)
    torch.testing.assert_close(supervised_contrastive_loss(points, labels, temperature=0.2), peer(points, labels))


@pytest.mark.parametrize("seed", range(5))
def test_proxies_on_the_sphere_equal_the_normalised_softmax_of_pytorch_metric_learning(seed):
    points, labels = random_batch(seed)
    peer = peer_losses.NormalizedSoftmaxLoss(5, 4, temperature=0.1).double()  # of the cosine: half a squared distance
    unit, proxies = (torch.nn.functional.normalize(one, dim=1) for one in (points, peer.W.T))
    torch.testing.assert_close(proxy_triplet_loss(unit, labels, proxies=proxies, temperature=0.2), peer(points, labels))


def test_every_named_loss_is_tested_here():
    assert {
        "proxy-triplet": proxy_triplet_loss,
        "centroid-triplet": centroid_triplet_loss,
        "triplet": triplet_loss,
        "supcon": supervised_contrastive_loss,
    } == LOSSES
