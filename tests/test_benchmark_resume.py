"""The long trainings of the benchmarks go on where they were killed."""

from functools import partial

import pytest
from benchmarks import peers, records, versus_cross_entropy
from benchmarks.peer_losses import OURS

from tercet.config import PRESETS, Config
from tercet.data.sources import Dataset

STEPS = 6
SMALL = Config(
    epochs=1, fewest_steps=1, batch_size=16, widths=(4, 8), dimensions=8, size=12, precision="fp32", device="cpu"
)


@pytest.fixture
def measure(request, make_set, tmp_path, monkeypatch):
    """One run, with the records and what is unfinished in a temporary folder."""
    for preset in ("quick", "standard"):
        monkeypatch.setitem(PRESETS, preset, SMALL)
    monkeypatch.setattr(records, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(records, "UNFINISHED", tmp_path / "unfinished")
    monkeypatch.setattr(peers, "paced", lambda *_: STEPS)
    dataset = Dataset("tiny", make_set(128), make_set(40, seed=2), None, 12)
    paced = {"budget": "quick", "precision": "fp32", "steps": dict.fromkeys(("triplet", "cross-entropy"), STEPS)}
    return {
        "ours": partial(versus_cross_entropy.measure, "triplet", 0, dataset, paced),
        "cross-entropy": partial(versus_cross_entropy.measure, "cross-entropy", 0, dataset, paced),
        "peer": partial(peers.measure_peer, OURS, 0, 1.0, dataset),
    }[request.param]


@pytest.mark.parametrize("measure", ["ours", "cross-entropy", "peer"], indirect=True)
def test_a_training_that_was_killed_goes_on(measure, monkeypatch, caplog):
    def killed(*_):
        raise KeyboardInterrupt

    def figures():
        [path] = records.FOLDER.iterdir()
        [record] = records.read(path.stem)
        path.unlink()
        return {name: value for name, value in record.items() if not name.endswith("seconds")}

    def break_off():
        with monkeypatch.context() as patch:
            for module in (versus_cross_entropy, peers):
                patch.setattr(module, "read_off", killed)
            with pytest.raises(KeyboardInterrupt):
                measure()

    caplog.set_level("INFO")
    measure()
    whole = figures()
    break_off()
    measure()
    assert f"resumed at step {STEPS}" in caplog.text
    assert figures() == whole
    assert not list(records.UNFINISHED.rglob("*.sealed"))

    caplog.clear()
    break_off()
    monkeypatch.setattr(records, "code_checksum", lambda: "of other code")
    measure()
    assert "resumed" not in caplog.text
