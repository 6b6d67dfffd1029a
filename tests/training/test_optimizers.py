import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tercet.model.encoder import BACKBONES
from tercet.model.fast import FastBackbone
from tercet.training.faults import MOST_DEGREES
from tercet.training.optimizers import SMALL_RATE_SHARE, Muon, build_optimizers, orthogonalize, take_step


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(16, 216), (216, 16), (64, 576), (128, 288)])
def test_orthogonalize_drives_singular_values_towards_one(shape):
    found = orthogonalize(torch.randn(shape, generator=seeded()))
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert 0.3 < float(values.min()) <= float(values.max()) < 1.6


def test_orthogonalize_keeps_the_singular_vectors():
    matrix = torch.randn(6, 9, generator=seeded(), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalize(matrix) @ right.T  # diagonal in the basis of the matrix itself
    torch.testing.assert_close(inside, inside.diagonal().diag())
    assert bool((inside.diagonal() > 0).all())


def test_orthogonalize_does_not_feel_the_scale():
    matrix = torch.randn(4, 8, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(orthogonalize(1e3 * matrix), orthogonalize(matrix))
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_muon_lowers_a_simple_loss():
    # Recover a filter bank of the norm that Muon keeps, sqrt(8), from its outputs.
    wanted = torch.randn(8, 3, 3, 3, generator=seeded(1))
    wanted *= 8**0.5 / wanted.norm()
    images = torch.randn(32, 3, 6, 6, generator=seeded(2))
    weight = nn.Parameter(torch.randn(8, 3, 3, 3, generator=seeded(3)))
    optimizer = Muon([weight], lr=0.02, momentum=0.6)
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(nn.functional.conv2d(images, weight), nn.functional.conv2d(images, wanted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_the_first_muon_step_by_hand():
    # Momentum starts at zero, so velocity and update have the direction of the gradient; the weight is brought to the
    # norm sqrt(2) before it moves.
    weight = nn.Parameter(torch.randn(2, 3, 1, 1, generator=seeded()))
    weight.grad = torch.randn(2, 3, 1, 1, generator=seeded(1))
    wanted = weight.detach() * 2**0.5 / weight.detach().norm()
    wanted = wanted - 0.1 * orthogonalize(weight.grad.reshape(2, 3)).reshape(2, 3, 1, 1)
    Muon([weight], lr=0.1, momentum=0.9).step()
    torch.testing.assert_close(weight.detach(), wanted)


def test_muon_passes_over_weights_without_gradient():
    weight = nn.Parameter(torch.ones(2, 3, 1, 1))
    Muon([weight], lr=0.1, momentum=0.9).step()
    assert torch.equal(weight.detach(), torch.ones(2, 3, 1, 1))


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
@pytest.mark.parametrize("encoder", sorted(BACKBONES))
def test_every_weight_that_learns_is_in_exactly_one_group(tiny_config, encoder, optimizer):
    network = nn.Sequential(BACKBONES[encoder](8, 16, (4, 8), True), nn.Linear(8, 2))
    optimizers = build_optimizers(network, replace(tiny_config, optimizer=optimizer))
    moved = [id(weight) for one in optimizers for group in one.param_groups for weight in group["params"]]
    assert sorted(moved) == sorted(id(weight) for weight in network.parameters() if weight.requires_grad)


def test_the_whitening_stem_stays_and_everything_else_moves(tiny_config):
    network = FastBackbone(8, (4, 8))
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    network(torch.randn(6, 3, 12, 12, generator=seeded())).square().sum().backward()
    for optimizer in build_optimizers(network, tiny_config):
        optimizer.step()
    still = [name for name, weight in network.named_parameters() if torch.equal(weight.detach(), before[name])]
    assert still == ["stem.weight", "stem.bias"]


def test_peak_rates(tiny_config):
    network = FastBackbone(8, (4, 8))
    muon, rest = build_optimizers(network, tiny_config)
    assert muon.param_groups[0]["peak_lr"] == tiny_config.learning_rate
    assert rest.param_groups[0]["peak_lr"] == SMALL_RATE_SHARE * tiny_config.learning_rate
    (adam,) = build_optimizers(network, replace(tiny_config, optimizer="adam", weight_decay=0.3))
    assert adam.param_groups[0]["peak_lr"] == tiny_config.learning_rate
    assert adam.param_groups[0]["weight_decay"] == 0.3


def test_a_network_without_filters_needs_no_muon(tiny_config):
    assert [type(one) for one in build_optimizers(nn.Linear(2, 2), tiny_config)] == [torch.optim.SGD]


def turning(before, gradient, rate):
    """The angle of one plain step of a matrix beside a vector that does not count."""
    matrix, vector = torch.tensor(before, requires_grad=True), torch.ones(2, requires_grad=True)
    matrix.grad, vector.grad = torch.tensor(gradient), torch.full((2,), 100.0)
    degrees = take_step([torch.optim.SGD([matrix, vector], rate)])
    assert matrix.grad is None
    assert vector[0].item() == pytest.approx(1 - 100 * rate)
    return degrees


def test_the_angle_of_a_step_by_hand():
    # From (1, 0) to (1, 1), and to (3, 4) x 1/3; the same for a matrix of another scale.
    assert turning([[1.0, 0.0]], [[0.0, -1.0]], 1.0) == pytest.approx(45)
    assert turning([[1e-3, 0.0]], [[0.0, -1e-3]], 1.0) == pytest.approx(45)
    assert turning([[1.0, 0.0]], [[0.0, -4 / 3]], 1.0) == pytest.approx(53.1301, abs=1e-3)
    assert turning([[1.0, 0.0]], [[-1.0, 0.0]], 1.0) == pytest.approx(0)
    assert turning([[1.0, 0.0]], [[2.0, 0.0]], 1.0) == pytest.approx(180)


def test_a_matrix_of_zeros_has_not_turned_and_one_of_nan_has_no_angle():
    assert turning([[0.0, 0.0]], [[1.0, 0.0]], 1.0) == 0
    assert math.isnan(turning([[1.0, 0.0]], [[math.nan, 0.0]], 1.0))


def test_the_angle_is_that_of_the_mean_cosine_of_all_optimizers():
    first, second = (torch.tensor([[1.0, 0.0]], requires_grad=True) for _ in range(2))
    first.grad, second.grad = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, -1.0]])  # by 0 and by 90 degrees
    assert take_step([torch.optim.SGD([weight], 1.0) for weight in (first, second)]) == pytest.approx(60)


def test_a_hundredfold_rate_turns_the_weights_and_the_default_does_not(tiny_config):
    angles = []
    for rate in (0.1, 10.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16, 4))
            network(torch.randn(8, 3, 3, 3)).square().mean().backward()
        angles.append(take_step(build_optimizers(network, replace(tiny_config, learning_rate=rate))))
    assert angles[0] < 10 < MOST_DEGREES < angles[1]
