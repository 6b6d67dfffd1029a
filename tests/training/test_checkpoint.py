import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from states import filled_state, fresh_state, same_tensors
from tercet.errors import ModelError
from tercet.files import read_sealed, write_sealed
from tercet.training import faults, loop
from tercet.training.checkpoint import Checkpoint, Intervention
from tercet.training.encoder import train_encoder


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newest.sealed", "previous.sealed"]
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:0],
        lambda data: bytes(len(data)),
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),  # a bit of a number
    ],
)
def test_a_damaged_newest_gives_way_to_the_previous_with_one_warning(tmp_path, caplog, damage):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    newest = tmp_path / "newest.sealed"
    newest.write_bytes(damage(newest.read_bytes()))
    state = fresh_state(0)
    with caplog.at_level(logging.WARNING):
        checkpoint.restore(state)
    assert state.step == 1
    assert same_tensors(state, filled_state(1))
    (record,) = caplog.records
    assert "newest.sealed is damaged" in record.getMessage()


def test_a_lost_newest_gives_way_to_the_previous(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    (tmp_path / "newest.sealed").unlink()  # a crash between renaming and writing
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 1


def test_without_a_good_generation_the_state_is_left_as_it_is(tmp_path):
    checkpoint = Checkpoint(tmp_path, "key")
    for step in (1, 2):
        checkpoint.save(filled_state(step))
    for path in tmp_path.iterdir():
        path.write_bytes(b"no tensors")
    checkpoint.restore(state := fresh_state(0))
    assert state.step == 0
    assert same_tensors(state, fresh_state(0))


def test_a_state_of_another_key_is_not_taken_up(tmp_path, caplog):
    Checkpoint(tmp_path, "one key").save(filled_state())
    Checkpoint(tmp_path, "another key").restore(state := fresh_state(0))
    assert state.step == 0
    assert same_tensors(state, fresh_state(0))
    assert "is of other settings or data; beginning again" in caplog.text


@pytest.mark.parametrize("sealed", [b"", b"no tensors", save({"batches": torch.zeros(1)}, {"key": "key"})])
def test_an_undamaged_file_of_something_else_is_left_alone(tmp_path, sealed):
    write_sealed(tmp_path / "newest.sealed", sealed)
    with pytest.raises(ModelError, match=r"newest\.sealed does not fit this training \(\w+\); remove it"):
        Checkpoint(tmp_path, "key").restore(fresh_state(0))
    assert read_sealed(tmp_path / "newest.sealed") == sealed


def test_tensors_that_the_training_does_not_have_do_not_fit(tmp_path):
    saved, tensors = filled_state(), filled_state().tensors()
    saved.tensors = lambda: {**tensors, "more": torch.zeros(1)}
    Checkpoint(tmp_path, "key").save(saved)
    with pytest.raises(ModelError, match="does not fit this training"):
        Checkpoint(tmp_path, "key").restore(fresh_state(0))


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path):
    (tmp_path / "newest.sealed").mkdir()
    with pytest.raises(ModelError, match=r"newest\.sealed cannot be read \(Is a directory\); mend or remove it\."):
        Checkpoint(tmp_path, "key").restore(fresh_state(0))
    assert (tmp_path / "newest.sealed").exists()


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(None, "key")
    checkpoint.save(filled_state())
    state = fresh_state(0)
    checkpoint.restore(state)
    assert state.step == 0
    assert list(tmp_path.iterdir()) == []


def test_goes_back_to_what_was_kept_as_often_as_asked():
    state = filled_state()
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    state.keep()
    for _ in range(2):
        state.step, state.idle_steps, state.seconds = 9, 3, 50.0
        state.losses.append(1.0)
        state.history.clear()
        for tensor in state.tensors().values():
            tensor += 1
        state.go_back()
        assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors().items())
        assert (state.step, state.idle_steps, state.losses, len(state.history)) == (7, 0, [1 / 3], 1)
        assert state.seconds == 50.0  # the time is spent


def test_going_back_to_the_first_weights_empties_the_optimizers():
    state = fresh_state(0)
    state.optimizers = [torch.optim.SGD(state.network.parameters(), 0.1, momentum=0.9)]
    state.keep()
    state.optimizers[0].step()
    assert state.optimizers[0].state
    state.go_back()
    assert not state.optimizers[0].state


def test_restores_interventions_and_the_good_state(tmp_path):
    saved, restored = filled_state(), fresh_state(0)
    saved.keep()
    saved.step = 9
    saved.interventions = [Intervention(7, 0.1, False, "less", "less of it")]
    Checkpoint(tmp_path, "key").save(saved)
    Checkpoint(tmp_path, "key").restore(restored)
    assert (restored.step, restored.interventions) == (9, saved.interventions)
    saved.go_back()
    restored.go_back()
    assert (restored.step, same_tensors(saved, restored)) == (7, True)


def test_an_intervention_is_told_in_the_epoch_that_it_began_again_from():
    state = filled_state()  # an epoch that ended with step 7
    state.step = 12
    state.interventions = [Intervention(step, 0.1, False, "", f"back to {step}") for step in (6, 7, 11, 12)]
    state.close_epoch(2, {})
    assert state.history[1]["intervention"] == "back to 7; back to 11"


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
