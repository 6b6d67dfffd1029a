"""A training that was killed goes on to the same weights, interventions of the guard included."""

from dataclasses import replace

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


@pytest.mark.parametrize(("forgotten", "kill"), [("interventions", 30), ("good", 2)])
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
