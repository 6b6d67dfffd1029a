"""Resume at every step boundary of a three-epoch run: no difference; and what must make one if it were forgotten."""

import signal
from dataclasses import replace

import pytest
import torch

from reliability.tiers import counts
from tercet.training import loop
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import train_encoder

EPOCHS, STEPS = 3, 3  # of each


@pytest.fixture
def train(tiny_set, make_set, tiny_config, monkeypatch):
    """Training of the tiny encoder; nothing is saved but at a signal and before the last step of each epoch."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    monkeypatch.setattr(loop, "LOST_SECONDS", -1.0)
    # A shell that starts the tests in the background has them ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    validation = make_set(12, seed=1)

    def of(seed, folder, stop=None):
        def on_step(done, _):
            if done == stop:
                signal.raise_signal(signal.SIGINT)

        config = replace(tiny_config, epochs=EPOCHS, seed=seed)
        encoder, history = train_encoder(
            config, tiny_set, validation, checkpoint=Checkpoint(folder, "key"), on_step=on_step
        )
        return encoder.state_dict(), [record | {"seconds": 0} for record in history]

    yield of
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def resumed(train, monkeypatch):
    """A function that interrupts at a step and goes on; `forget(state)` spoils what was restored."""
    restore = Checkpoint.restore

    def of(seed, folder, stop, forget=lambda _: None):
        with pytest.raises(KeyboardInterrupt):
            train(seed, folder, stop)

        def spoiled(self, state):
            restore(self, state)
            assert state.step == (stop if stop % STEPS else stop - 1)  # a step that ends an epoch is done again
            forget(state)

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "restore", spoiled)
            return train(seed, folder)

    return of


def differ(some, others):
    return any(not torch.equal(tensor, others[0][name]) for name, tensor in some[0].items()) or some[1] != others[1]


@counts(1, 20)
def test_every_step_boundary(count, train, resumed, tmp_path, record_property):
    boundaries = 0
    for seed in range(count):
        whole = train(seed, None)
        steps = whole[1][-1]["step"]
        assert len(whole[1]) == EPOCHS
        assert steps == EPOCHS * STEPS
        for stop in range(1, steps):
            assert not differ(resumed(seed, tmp_path / f"{seed} {stop}", stop), whole)
            boundaries += 1
    record_property("boundaries", boundaries)


def forget_the_optimizers(state):
    for optimizer in state.optimizers:
        optimizer.state.clear()


def forget_the_place(state):
    state.batches = state.batches.roll(1, 0)


def forget_the_pass(state):
    state.passes += 1


def forget_the_average(state):
    state.average.load_state_dict(state.network.state_dict())


def forget_the_gaps(state):
    state.gaps.zero_()


FORGOTTEN = [forget_the_optimizers, forget_the_place, forget_the_pass, forget_the_average, forget_the_gaps]


@pytest.mark.slow
@pytest.mark.parametrize("forget", FORGOTTEN, ids=lambda forget: forget.__name__)
def test_what_is_forgotten_makes_a_difference(forget, train, resumed, tmp_path):
    assert differ(resumed(0, tmp_path, 4, forget), train(0, None))
