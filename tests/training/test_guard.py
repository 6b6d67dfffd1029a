import logging
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from tercet.errors import TrainingError
from tercet.evaluation.baselines import fit_cnn
from tercet.training import encoder, faults, loop
from tercet.training.checkpoint import Checkpoint, TrainingState
from tercet.training.encoder import train_encoder
from tercet.training.faults import Fault
from tercet.training.guard import KEEP_STEPS, MOST_INTERVENTIONS, WARMUP_STEPS, Guard, Objective
from tercet.training.loop import train_network

NOWHERE = Checkpoint(None, "")
RATE, EASIER = Fault("too much", "do less"), Fault("too hard", "take it easy", easier=True)
LADDER = [Objective("milder", lambda *_: torch.ones(()), 0.3), Objective("mildest", lambda *_: torch.ones(()), None)]


def same_weights(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def texts(history):
    return "; ".join(record["intervention"] for record in history if "intervention" in record)


@pytest.fixture
def state():
    """A state that was kept as good at step 20 and has gone on to 25."""
    network, average = nn.Linear(2, 2), nn.Linear(2, 2)
    state = TrainingState(network, average, [torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)], step=20)
    state.keep()
    state.step = 25
    return state


@pytest.fixture
def train(tiny_set, make_set):
    """Training of the tiny encoder for ten epochs of three steps."""

    def run(config, **changes):
        return train_encoder(replace(config, epochs=10), tiny_set, make_set(60, seed=1), **changes)

    return run


def test_a_lower_rate_with_a_warm_up(state):
    watching = Guard()
    assert watching.rate_share(state) == 1.0
    watching.intervene(RATE, state)
    assert state.step == 20
    shares = []
    for state.step in range(20, 20 + WARMUP_STEPS + 3):
        shares.append(watching.rate_share(state))
    assert shares[0] == pytest.approx(0.1 / WARMUP_STEPS)
    assert shares == sorted(shares)
    assert shares[WARMUP_STEPS - 1 :] == [pytest.approx(0.1)] * 4
    watching.intervene(RATE, state)
    state.step = 100
    assert watching.rate_share(state) == pytest.approx(0.01)


def test_easier_objectives_in_turn_and_then_the_rate(state):
    watching = Guard(0.5, easier=LADDER)
    loss = lambda *_: torch.zeros(())  # noqa: E731
    assert watching.objective(loss, state) == Objective("", loss, 0.5)
    for rung in LADDER:
        watching.intervene(EASIER, state)
        assert watching.objective(loss, state) is rung
        assert math.prod(item.rate for item in state.interventions) == 1
    watching.intervene(EASIER, state)
    assert watching.objective(loss, state) is LADDER[-1]
    assert [item.remedy for item in state.interventions] == ["milder", "mildest", "0.1 of the learning rate"]


def test_a_fault_of_the_rate_leaves_the_objective_alone(state):
    watching = Guard(easier=LADDER)
    watching.intervene(RATE, state)
    assert [(item.rate, item.easier) for item in state.interventions] == [(0.1, False)]


def test_the_last_strike_says_what_was_tried(state):
    watching = Guard(easier=LADDER)
    for _ in range(MOST_INTERVENTIONS):
        watching.intervene(EASIER, state)
    with pytest.raises(
        TrainingError, match=r"found too hard, .* milder, then mildest, then 0.1 of .*; take it easy\.$"
    ):
        watching.intervene(EASIER, state)


def test_without_a_remedy_there_is_an_error_at_once(state):
    with pytest.raises(TrainingError, match=r"^found too much; do less\.$"):
        Guard(easier=LADDER).intervene(RATE._replace(mendable=False), state)
    assert not state.interventions


def test_keeps_a_state_now_and_then_but_no_doubtful_one(state):
    watching = Guard()
    for state.step, state.doubtful, kept in ((2 * KEEP_STEPS, True, 20), (41, False, 20), (60, False, 60)):
        watching.keep(state)
        assert state.good.place["step"] == kept


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seed": 1},
        {"mining": "semi-hard", "seed": 2},
        {"loss": "supcon", "mining": None, "seed": 3},
        {"loss": "centroid-triplet", "mining": None, "temperature": 0.2, "margin": 0.0, "seed": 4},
        {"loss": "proxy-triplet", "mining": None, "temperature": 0.4, "margin": 0.2, "seed": 5},
    ],
)
def test_healthy_training_is_the_same_with_and_without(train, tiny_config, monkeypatch, change):
    config = replace(tiny_config, **change)
    guarded, history = train(config)
    assert not texts(history)
    monkeypatch.setattr(Guard, "find", lambda *_: None)
    monkeypatch.setattr(Guard, "keep", lambda *_: None)
    assert same_weights(guarded, train(config)[0])


@pytest.mark.parametrize("change", [{}, {"loss": "supcon", "mining": None}], ids=["triplet", "supcon"])
def test_a_rate_two_thousand_times_too_high_is_lowered_until_it_trains(train, tiny_config, monkeypatch, caplog, change):
    config = replace(tiny_config, learning_rate=200.0, skip_share=0.0, seed=3, **change)  # some seeds learn even so
    with caplog.at_level(logging.WARNING):
        _, history = train(config)
    assert "turned the weights by" in texts(history)
    assert "on with 0.1 of the learning rate" in texts(history)
    assert caplog.messages
    assert all(message in texts(history) for message in caplog.messages)
    assert history[-1]["step"] == 30
    assert history[-1]["validation_accuracy"] > 0.9
    monkeypatch.setattr(Guard, "find", lambda *_: None)
    assert train(config)[1][-1]["validation_accuracy"] < 0.9


def test_so_is_that_of_the_classifier(tiny_set, tiny_config):
    config = replace(tiny_config, learning_rate=10.0)
    _, history = fit_cnn(config, tiny_set, tiny_set, checkpoint=NOWHERE)
    assert "of the learning rate" in texts(history)
    assert "intervention" not in fit_cnn(tiny_config, tiny_set, tiny_set, checkpoint=NOWHERE)[1][0]


def collapse_quickly(monkeypatch):
    """Have hard and semi-hard mining look like a collapse."""
    monkeypatch.setattr(faults, "COLLAPSED_SHARE", 100.0)
    monkeypatch.setattr(faults, "COLLAPSED_STEPS", 5)


def test_a_collapse_goes_from_hard_to_easier_mining(train, tiny_config, monkeypatch):
    collapse_quickly(monkeypatch)
    used, losses = [], encoder.LOSSES["triplet"]
    spy = lambda *arrays, mining, **rest: used.append(mining) or losses(*arrays, mining=mining, **rest)  # noqa: E731
    monkeypatch.setitem(encoder.LOSSES, "triplet", spy)
    with pytest.raises(TrainingError, match=r"--mining semi-hard, then --mining all, then 0\.1 of"):
        train(replace(tiny_config, mining="hard"))
    assert list(dict.fromkeys(used)) == ["hard", "semi-hard", "all"]


@pytest.mark.parametrize("how", ["own", "supcon", "all"])
def test_where_no_mining_is_easier_the_rate_is_lowered(train, tiny_config, monkeypatch, how):
    collapse_quickly(monkeypatch)
    changes = {"own": {"mining": "hard"}, "supcon": {"loss": "supcon", "mining": None}, "all": {}}
    config = replace(tiny_config, **changes[how])
    own = (lambda embeddings, _: embeddings.square().mean()) if how == "own" else None
    with pytest.raises(TrainingError, match=r"0.1 of the learning rate, then 0.01 .* then 0.001 of the learning rate"):
        train(config, loss=own)


def test_a_loss_stuck_where_nothing_is_learnt(train, tiny_config, monkeypatch):
    monkeypatch.setattr(faults, "STUCK_TOLERANCE", 100.0)  # every loss counts as idle where one is known
    monkeypatch.setattr(faults, "STUCK_STEPS", 10)
    _, history = train(replace(tiny_config, mining="semi-hard"))  # "all" knows no idle loss
    assert "stayed at" in texts(history)
    assert texts(history).endswith("went back to step 0 and on with --mining all")
    assert not texts(train(tiny_config)[1])


def train_on_features(config, features, labels, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Linear(features.shape[1], 4)
    arguments = {
        "loss": partial(encoder.LOSSES["triplet"], margin=0.5),
        "inputs": lambda indices, *_: features[indices],
        "generator": torch.Generator(),
        "checkpoint": NOWHERE,
        "guard": Guard(spreads=True),
        "describe": lambda *_: {},
    }
    return train_network(network, labels=labels, config=config, **(arguments | changes))


@pytest.fixture
def features():
    return torch.randn(48, 6, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 2


def test_an_image_that_is_no_number_is_named(tiny_config, features):
    images, labels = features
    images[17, 3] = torch.nan
    with pytest.raises(TrainingError, match="index 17; mend") as caught:
        train_on_features(tiny_config, images, labels)
    assert "rate" not in str(caught.value)


def test_batches_of_one_class_are_named(tiny_config, features, monkeypatch):
    images, labels = features
    monkeypatch.setattr(loop, "plan_pass", lambda labels, *_: torch.nonzero(labels == 1).flatten().reshape(3, 8))
    with pytest.raises(TrainingError, match="8 images of one class"):
        train_on_features(tiny_config, images, labels)


def test_a_gradient_that_is_no_number_in_the_last_step_is_noticed(tiny_config, features):
    calls = []

    def spoiled(outputs, labels):
        calls.append(len(outputs))
        loss = outputs.square().mean()
        return loss + (outputs * 0).sum().sqrt() if len(calls) == 6 else loss  # the root's slope at 0 is infinite

    _, history = train_on_features(tiny_config, *features, checkpoint=NOWHERE, guard=Guard(), loss=spoiled)
    assert "step 6 found" in texts(history)


def test_a_fault_without_remedy_leaves_the_checkpoint_before_it(tiny_config, features, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    images, labels = features
    whole, _ = train_on_features(tiny_config, images, labels)
    calls, done = [], []

    def spoiled(indices, *_):
        calls.append(len(indices))
        return images[indices] * (torch.nan if len(calls) == 4 else 1.0)

    with pytest.raises(TrainingError, match="inputs that are not finite"):
        train_on_features(tiny_config, images, labels, checkpoint=Checkpoint(tmp_path, "key"), inputs=spoiled)
    resumed, _ = train_on_features(
        tiny_config, images, labels, checkpoint=Checkpoint(tmp_path, "key"), on_step=lambda step, _: done.append(step)
    )
    assert done == [4, 5, 6]
    assert same_weights(resumed, whole)
