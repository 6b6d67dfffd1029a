import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tercet.model import precision
from tercet.model.precision import autocast, choose_precision

CPU = torch.device("cpu")
IMAGES = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)


@pytest.fixture
def clock(monkeypatch):
    """What the module takes for the time; it stands still."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@pytest.fixture
def make_network(clock, monkeypatch):
    """A function that makes a network which takes given seconds in each precision and errs in bfloat16."""
    monkeypatch.setattr(precision, "is_emulated", lambda _: False)

    def make(bf16_seconds, bf16_error, first_pass=0.0):
        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(4, 8))
                self.passes = []

            def forward(self, _):
                rounded = torch.is_autocast_enabled("cpu")
                clock.now += bf16_seconds if rounded else 1.0
                clock.now += 0.0 if rounded in self.passes else first_pass
                self.passes.append(rounded)
                return self.weight * (1 + bf16_error if rounded else 1.0)

        return Network()

    return make


@pytest.mark.parametrize(
    ("bf16_seconds", "bf16_error", "chosen"),
    [
        (0.5, 0.01, "bf16"),  # twice as fast, and right
        (0.5, 0.20, "fp32"),  # fast but wrong
        (0.5, float("nan"), "fp32"),
        (0.5, float("inf"), "fp32"),
        (0.95, 0.01, "fp32"),  # right, but hardly faster
        (30.0, 0.01, "fp32"),  # convolutions emulated where a matrix product is not
    ],
)
def test_bfloat16_must_be_faster_and_right(make_network, bf16_seconds, bf16_error, chosen):
    assert choose_precision(make_network(bf16_seconds, bf16_error), IMAGES) == chosen


@pytest.mark.parametrize(("bf16_seconds", "emulated"), [(0.5, False), (3.0, False), (60.0, True)])
def test_a_small_matrix_product_shows_what_is_emulated(clock, monkeypatch, bf16_seconds, emulated):
    def product(matrix, _):
        clock.now += bf16_seconds if matrix.dtype == torch.bfloat16 else 1.0
        return matrix

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert precision.is_emulated(CPU) == emulated


def test_where_it_is_emulated_nothing_more_is_tried(make_network, monkeypatch):
    network = make_network(0.5, 0.01)
    monkeypatch.setattr(precision, "is_emulated", lambda _: True)
    monkeypatch.setattr(precision, "_passes", None)
    assert choose_precision(network, IMAGES) == "fp32"


def test_the_first_pass_does_not_count(make_network):
    assert choose_precision(make_network(0.5, 0.01, first_pass=100.0), IMAGES) == "bf16"


def test_the_network_is_left_as_it_was(make_network):
    network = make_network(0.5, 0.01).eval()
    choose_precision(network, IMAGES)
    assert network.passes == []
    assert network.weight.grad is None
    assert not network.training


def test_a_real_network_gets_one_of_the_two(tiny_set):
    network = nn.Sequential(nn.Flatten(), nn.LayerNorm(3 * 12 * 12), nn.Linear(3 * 12 * 12, 4))

    class OfBytes(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images.float())

    assert choose_precision(OfBytes(), tiny_set.images) in ("fp32", "bf16")


def test_autocast_rounds_in_bf16_only():
    layer, ones = nn.Linear(2, 2), torch.ones(1, 2)
    with autocast("bf16", CPU):
        assert layer(ones).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(ones).dtype == torch.float32


@pytest.mark.parametrize(("offset", "chosen"), [(0.0, "bf16"), (1000.0, "fp32")])
def test_a_network_that_rounding_breaks_stays_in_float32(monkeypatch, offset, chosen):
    """Real arithmetic: a small difference of large numbers is lost in the 8 bits of bfloat16, however fast it is."""

    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 12, bias=False)
            nn.init.eye_(self.layer.weight)

        def forward(self, images):
            return self.layer(images.flatten(1) / 255 + offset) - offset

    ticks = itertools.accumulate([0, 1.0, 0, 1.0, 0, 0.1, 0, 0.1])  # two passes in float32, two in a tenth of the time
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(precision, "is_emulated", lambda _: False)
    images = torch.randint(256, (4, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert choose_precision(Difference(), images) == chosen
