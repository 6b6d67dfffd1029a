"""Training that goes wrong is caught within 50 steps, the good weights are kept and the cause is named.

The digits, brought to 10 pixels, in the default configuration where nothing else is said.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest
import torch
from benchmarks.guard import SPOILED, spoiled

from reliability.tiers import counts
from tercet.config import Config, resolve
from tercet.data.sources import open_dataset
from tercet.errors import TrainingError
from tercet.training import encoder, loop
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import train_encoder
from tercet.training.faults import is_collapsing, relative_spread
from tercet.training.guard import Guard
from tercet.training.proxies import Proxies

WITHIN_STEPS = 50
PLANTED = 25  # the step whose loss or gradient is no number
NARROW = (8, 16, 32)
HELPED = 0.8  # of the validation images; a remedy lowers the rate for the rest of the training, which costs some


class Sight(NamedTuple):
    """What a step showed, and the fault that was found in it."""

    number: int
    degrees: float
    is_collapsing: bool
    found: str


class Watch:
    """Sees what the guard sees, and compares what it goes back to with the weights that were there."""

    def __init__(self, monkeypatch):
        self.sights, self.weights, self.returns = [], {}, []
        self.find, self.keep, self.intervene = Guard.find, Guard.keep, Guard.intervene
        for name, seen in (("find", self.see), ("keep", self.remember), ("intervene", self.compare)):
            monkeypatch.setattr(Guard, name, lambda guard, *given, seen=seen: seen(guard, *given))

    def see(self, guard, step, idle_loss, state):
        fault = self.find(guard, step, idle_loss, state)
        collapsing = is_collapsing(relative_spread(step.outputs), state.first_spread)
        self.sights.append(Sight(step.number, step.degrees, collapsing, fault.found if fault else ""))
        return fault

    def remember(self, guard, state):
        self.keep(guard, state)
        weights = {name: tensor.clone() for name, tensor in state.network.state_dict().items()}
        self.weights.setdefault(state.step, weights)  # as they were before any fault

    def compare(self, guard, fault, state):
        self.intervene(guard, fault, state)
        kept, now = self.weights[state.step], state.network.state_dict()
        self.returns.append(
            all(torch.isfinite(now[name]).all() and torch.equal(now[name], kept[name]) for name in kept)
        )

    def forget(self):
        """Before another training."""
        self.sights, self.weights = [], {}

    @property
    def first_found(self):
        return next(sight for sight in self.sights if sight.found)


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits", size=10).train.split(0)


def configured(digits, seed, **changes):
    config = Config(size=10, seed=seed, precision="fp32", device="cpu", **changes)
    return resolve(config, image_count=len(digits[0]), size=10, flip=False)


@counts(few=1, full=20)
def test_healthy_training_raises_no_alarm(count, watch, digits, record_property):
    accuracies = []
    for seed in range(count):
        _, history = train_encoder(configured(digits, seed), *digits)
        accuracies.append(history[-1]["validation_accuracy"])
    alarms = [sight for sight in watch.sights if sight.found]
    record_property("alarms", len(alarms))
    record_property("most_degrees", round(max(sight.degrees for sight in watch.sights), 1))
    record_property("lowest_accuracy", round(min(accuracies), 3))
    assert len(watch.sights) == count * 77
    assert not alarms
    assert min(accuracies) > 0.9


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("value", [math.nan, math.inf])
@counts(few=1, full=5)
def test_an_image_that_is_no_number(count, value, watch, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    for seed in range(count):
        config = configured(digits, seed, widths=NARROW)
        checkpoint, done = Checkpoint(tmp_path / str(seed), "key"), []
        watch.forget()
        with monkeypatch.context() as patch:
            patch.setattr(encoder, "image_inputs", partial(spoiled, value=value))
            with pytest.raises(TrainingError, match=f"index {SPOILED}; mend these images"):
                train_encoder(config, *digits, checkpoint=checkpoint)
        assert watch.first_found.number <= WITHIN_STEPS
        _, history = train_encoder(config, *digits, checkpoint=checkpoint, on_step=lambda step, _: done.append(step))  # noqa: B023
        assert done[0] == watch.first_found.number + 1  # it goes on from before the fault
        assert history[-1]["validation_accuracy"] > 0.9


def no_gradient(outputs):
    return (outputs * 0).sum().sqrt()  # 0, and the root's slope there is infinite


FAULTS = {"nan": lambda _: math.nan, "inf": lambda _: math.inf, "gradient": no_gradient}


def plant(patch, fault, steps):
    """Put a fault into the default loss in the steps taken as these are counted, those gone back over too."""
    sound, calls = Proxies.forward, []

    def forward(proxies, outputs, labels):
        calls.append(len(outputs))
        return sound(proxies, outputs, labels) + (fault(outputs) if len(calls) - 1 in steps else 0)

    patch.setattr(Proxies, "forward", forward)


@pytest.mark.parametrize("kind", FAULTS)
@counts(few=1, full=5)
def test_a_loss_or_gradient_that_is_no_number(count, kind, watch, digits, monkeypatch, record_property):
    worst = 1.0
    for seed in range(count):
        config = configured(digits, seed, widths=NARROW)
        watch.forget()
        with monkeypatch.context() as patch:
            plant(patch, FAULTS[kind], [PLANTED])
            _, history = train_encoder(config, *digits)
        assert watch.first_found.number == PLANTED
        assert "outputs or gradients that are not finite" in watch.first_found.found
        assert len([sight for sight in watch.sights if sight.found]) == 1
        worst = min(worst, history[-1]["validation_accuracy"])
    record_property("lowest_accuracy", round(worst, 3))
    assert watch.returns == [True] * count
    assert worst > HELPED


@counts(few=1, full=5)
def test_a_loss_that_stays_no_number_ends_training(count, watch, digits, monkeypatch):
    for seed in range(count):
        config = configured(digits, seed, widths=NARROW)
        watch.forget()
        with monkeypatch.context() as patch:
            plant(patch, FAULTS["nan"], range(PLANTED, 1000))
            with pytest.raises(TrainingError, match=r"a loss of nan .*, and going back did not help with 0\.1 of the"):
                train_encoder(config, *digits)
        assert len(watch.sights) <= WITHIN_STEPS
    assert watch.returns == [True] * 3 * count


@counts(few=1, full=5)
def test_a_rate_a_hundred_times_too_high(count, watch, digits, record_property):
    worst = 1.0
    for seed in range(count):
        config = configured(digits, seed, widths=NARROW)
        watch.forget()
        _, history = train_encoder(replace(config, learning_rate=100 * config.learning_rate), *digits)
        assert watch.first_found.number <= WITHIN_STEPS
        assert "turned the weights by" in watch.first_found.found
        worst = min(worst, history[-1]["validation_accuracy"])
    record_property("lowest_accuracy", round(worst, 3))
    assert all(watch.returns)
    assert worst > HELPED


@counts(few=1, full=5)
def test_a_collapse_under_batch_hard_mining(count, watch, digits, record_property):
    worst, latest = 1.0, 0
    for seed in range(count):
        # Three times the rate, so that every seed collapses within the hundred steps.
        hard = {"mining": "hard", "margin": 0.2, "learning_rate": 0.48, "fewest_steps": 100}
        config = configured(digits, seed, widths=NARROW, **hard)
        watch.forget()
        _, history = train_encoder(config, *digits)
        begun = next(sight.number for sight in watch.sights if sight.is_collapsing)
        latest = max(latest, watch.first_found.number - begun)
        assert "a collapse of the encoder" in watch.first_found.found
        worst = min(worst, history[-1]["validation_accuracy"])
    record_property("most_steps_to_the_alarm", latest)
    record_property("lowest_accuracy", round(worst, 3))
    assert latest <= WITHIN_STEPS
    assert all(watch.returns)
    assert worst > HELPED
