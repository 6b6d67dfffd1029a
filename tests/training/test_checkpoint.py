import logging

import pytest
import torch
from torch import nn

from tercet.training.checkpoint import Checkpoint, TrainingState


def fresh_state(seed):
    """A state of a network with weights, statistics and a counter, whose optimizers have made one step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, average = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
        optimizers = [
            torch.optim.SGD(network[0].parameters(), 0.1, momentum=0.9),
            torch.optim.AdamW(network[1].parameters(), 0.1),
        ]
        network(torch.randn(5, 3)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    return TrainingState(network, average, optimizers)


def filled_state(step=7):
    state = fresh_state(step)
    state.step = step
    state.count(0.25, images=10, seconds=1.5)
    state.close_epoch(1, {"validation_accuracy": 0.5})
    state.count(1 / 3, images=6, seconds=0.1)
    return state


def same_tensors(state, other):
    ours, theirs = state.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_epoch_is_recorded():
    (record,) = filled_state().history
    assert record == {
        "epoch": 1,
        "step": 7,
        "seconds": 1.5,
        "images": 10,
        "loss": 0.25,
        "learning_rate": 0.1,
        "validation_accuracy": 0.5,
    }


def test_every_part_of_the_state_is_named():
    names = set(fresh_state(0).tensors())
    assert {"network.0.weight", "average.1.running_var", "network.1.num_batches_tracked"} <= names
    assert {"optimizer0.1.momentum_buffer", "optimizer1.0.exp_avg_sq", "optimizer1.1.step"} <= names


def test_restores_exactly_what_was_saved(tmp_path):
    saved, restored = filled_state(), fresh_state(0)
    Checkpoint(tmp_path / "new folder", "key").save(saved)
    assert not same_tensors(saved, restored)
    Checkpoint(tmp_path / "new folder", "key").restore(restored)
    assert same_tensors(saved, restored)
    for name in ("step", "seconds", "images", "losses", "history"):
        assert getattr(restored, name) == getattr(saved, name)


def test_a_restored_optimizer_steps_as_the_saved_one(tmp_path):
    saved, restored = filled_state(), fresh_state(0)
    Checkpoint(tmp_path, "key").save(saved)
    Checkpoint(tmp_path, "key").restore(restored)
    images = torch.ones(2, 3)
    for state in (saved, restored):
        state.network.zero_grad()
        state.network(images).sum().backward()
        for optimizer in state.optimizers:
            optimizer.step()
    assert same_tensors(saved, restored)


def test_keeps_two_generations(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2, 3):
        checkpoint.save(filled_state(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newest.safetensors", "previous.safetensors"]
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 3


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:0], lambda data: bytes(len(data))]
)
def test_a_damaged_newest_gives_way_to_the_previous_with_one_warning(tmp_path, caplog, damage):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    newest = tmp_path / "newest.safetensors"
    newest.write_bytes(damage(newest.read_bytes()))
    state = fresh_state(0)
    with caplog.at_level(logging.WARNING):
        checkpoint.restore(state)
    assert state.step == 1
    assert same_tensors(state, filled_state(1))
    (record,) = caplog.records
    assert "newest.safetensors is damaged" in record.getMessage()


def test_a_lost_newest_gives_way_to_the_previous(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    (tmp_path / "newest.safetensors").unlink()  # a crash between renaming and writing
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 1


def test_without_a_good_generation_the_state_is_left_as_it_is(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    for path in tmp_path.iterdir():
        path.write_bytes(b"no tensors")
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 0
    assert same_tensors(state, fresh_state(0))


def test_a_state_of_another_key_is_not_taken_up(tmp_path):
    Checkpoint(tmp_path, "one key").save(filled_state())
    state = fresh_state(0)
    Checkpoint(tmp_path, "another key").restore(state)
    assert state.step == 0
    assert same_tensors(state, fresh_state(0))


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(None, "key")
    checkpoint.save(filled_state())
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 0
    assert list(tmp_path.iterdir()) == []
