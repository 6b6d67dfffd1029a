"""The benchmark of what stands around the training: the share of the losses in a step, on a few images."""

import json
import sys

import pytest
from benchmarks import around, losses, records


@pytest.mark.slow
def test_a_step_and_the_share_of_every_loss_are_measured_and_kept_once(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(around, "STEP_IMAGES", 40)
    monkeypatch.setattr(sys, "argv", ["around", "step"])
    around.main()
    around.main()
    (record,) = records.read("around")
    assert record["part"] == "step"
    assert record["step_seconds"] > 0
    assert set(record["percent_of_it"]) == {"proxy-triplet", *losses.METHODS}
    assert all(0 < share < 100 for share in record["percent_of_it"].values())
    monkeypatch.setattr(sys, "argv", ["around", "step", "--trial"])
    around.main()
    assert json.loads(capsys.readouterr().out)["part"] == "step"
    assert len(records.read("around")) == 1
