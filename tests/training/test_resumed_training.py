"""A training that was killed goes on to the same weights, interventions of the guard included."""

import signal
from dataclasses import replace
from functools import partial

import pytest
import torch

from tercet.training import faults, loop
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import train_encoder


def killed_and_resumed(train, config, folder, kill):
    calls = iter(range(1, kill))

    def on_step(*_):
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, checkpoint=Checkpoint(folder, "key"), on_step=on_step)
    return train(config, checkpoint=Checkpoint(folder, "key"))


@pytest.fixture
def train(tiny_set, make_set, monkeypatch):
    """Training of the tiny encoder for ten epochs of three steps, a checkpoint after every one."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    return lambda config, **rest: train_encoder(replace(config, epochs=10), tiny_set, make_set(12, seed=1), **rest)


@pytest.mark.slow
@pytest.mark.parametrize("remedied", ["rate", "mining"])
def test_a_resumed_run_equals_the_uninterrupted_one_around_interventions(
    train, tiny_config, tmp_path, monkeypatch, remedied
):
    config = replace(tiny_config, learning_rate=10.0)
    if remedied == "mining":
        monkeypatch.setattr(faults, "COLLAPSED_SHARE", 0.8)
        monkeypatch.setattr(faults, "COLLAPSED_STEPS", 3)
        config = replace(tiny_config, mining="hard")
    whole, history = train(config)
    assert "intervention" in history[0]
    for kill in (2, 5, 25):
        encoder, records = killed_and_resumed(train, config, tmp_path / str(kill), kill)
        assert all(map(torch.equal, encoder.state_dict().values(), whole.state_dict().values()))
        assert [record | {"seconds": 0} for record in records] == [record | {"seconds": 0} for record in history]


def test_proxies_are_resumed_too(train, tiny_config, tmp_path):
    config = replace(tiny_config, loss="proxy-triplet", mining=None, margin=0.0, temperature=0.5)
    wanted, found = train(config)[0], killed_and_resumed(train, config, tmp_path, 12)[0]
    assert all(map(torch.equal, wanted.state_dict().values(), found.state_dict().values()))


@pytest.mark.slow
@pytest.mark.parametrize(("forgotten", "kill"), [("interventions", 34), ("good", 2)])
def test_a_run_that_forgets_what_was_done_does_not(train, tiny_config, tmp_path, monkeypatch, forgotten, kill):
    config, restore = replace(tiny_config, learning_rate=10.0), Checkpoint.restore
    wanted = train(config)[0].backbone.project.weight

    def forgetful(self, state):
        restore(self, state)
        if forgotten == "interventions":
            state.interventions = []
        elif state.good:
            state.good.tensors["network.backbone.project.weight"] += 0.1

    monkeypatch.setattr(Checkpoint, "restore", forgetful)
    assert not torch.equal(killed_and_resumed(train, config, tmp_path, kill)[0].backbone.project.weight, wanted)


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interruption_while_an_epoch_is_validated_costs_its_last_step(
    tiny_set, tiny_config, make_set, tmp_path, monkeypatch, epoch
):
    """Validation may take longer than somebody waits, so it is broken off at once."""
    train = partial(train_encoder, tiny_config, tiny_set, make_set(12, seed=1), checkpoint=Checkpoint(tmp_path, "key"))
    whole, history = train_encoder(tiny_config, tiny_set, make_set(12, seed=1))
    validations, reached, steps = [], [], []

    def validate(*_):
        validations.append(None)
        if len(validations) == epoch:
            signal.raise_signal(signal.SIGINT)
            reached.append("what comes after the signal")
        return 0.0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LOST_SECONDS", -1.0)
        patch.setattr("tercet.training.encoder.knn_accuracy", validate)
        with pytest.raises(KeyboardInterrupt):
            train()
    signal.signal(signal.SIGINT, before)
    resumed, records = train(on_step=lambda done, _: steps.append(done))
    assert reached == []
    assert steps == list(range(3 * epoch, 7))
    assert all(map(torch.equal, resumed.state_dict().values(), whole.state_dict().values()))
    assert records[-1] | {"seconds": 0} == history[-1] | {"seconds": 0}
