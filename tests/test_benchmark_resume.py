"""The long trainings of the benchmarks go on where they were killed."""

from functools import partial
from itertools import count

import pytest
from benchmarks import peers, records, versus_cross_entropy
from benchmarks.peer_losses import OURS

from small_run import SMALL
from tercet.config import PRESETS
from tercet.data.sources import Dataset
from tercet.training import loop
from tercet.training.checkpoint import TrainingState

STEPS, KILLED_IN = 6, 4


@pytest.fixture
def measure(request, make_set, tmp_path, monkeypatch):
    """One run, with the records and what is unfinished in a temporary folder."""
    monkeypatch.setitem(PRESETS, "quick", SMALL)
    monkeypatch.setattr(records, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(records, "UNFINISHED", tmp_path / "unfinished")
    monkeypatch.setattr(peers, "paced", lambda *_: STEPS)
    dataset = Dataset("tiny", make_set(128), make_set(40, seed=2), None, 12)
    paced = {"budget": "quick", "precision": "fp32", "steps": dict.fromkeys(("triplet", "cross-entropy"), STEPS)}
    return {
        "ours": partial(versus_cross_entropy.measure, "triplet", 0, dataset, paced),
        "cross-entropy": partial(versus_cross_entropy.measure, "cross-entropy", 0, dataset, paced),
        "peer": partial(peers.measure_peer, OURS, 0, peers.Terms(dataset, "quick", 1.0, "fp32")),
    }[request.param]


@pytest.mark.parametrize("measure", ["ours", "cross-entropy", "peer"], indirect=True)
def test_a_training_that_was_killed_goes_on(measure, monkeypatch, caplog):
    def figures():
        [path] = records.FOLDER.iterdir()
        [record] = records.read(path.stem)
        path.unlink()
        return {name: value for name, value in record.items() if not name.endswith("seconds")}

    def break_off():
        numbers = count(1)

        def booked(state, *values):
            if next(numbers) == KILLED_IN:
                raise KeyboardInterrupt
            book(state, *values)

        book = TrainingState.count
        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "count", booked)
            with pytest.raises(KeyboardInterrupt):
                measure()

    caplog.set_level("INFO")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    measure()
    whole = figures()
    break_off()
    measure()
    assert f"resumed at step {KILLED_IN - 1}" in caplog.text
    assert figures() == whole
    assert not list(records.UNFINISHED.rglob("*.sealed"))

    caplog.clear()
    break_off()
    monkeypatch.setattr(records, "CODE", "of another day")
    measure()
    assert "beginning again" in caplog.text
    assert "resumed" not in caplog.text
