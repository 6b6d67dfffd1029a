"""Peers get the same minutes, whatever the machine that each is measured on."""

import pytest
from benchmarks import peer_results, peers, records
from benchmarks.peer_losses import OURS

from tercet.config import Config


def test_a_pace_counts_in_steps_of_ours_on_the_first_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(peers, "resolved", lambda *_: Config())
    monkeypatch.setattr(peers, "with_precision", lambda config, _: config)
    machine = {"seconds": 1.0}
    monkeypatch.setattr(peers, "seconds_of_peer", lambda *words: machine["seconds"] * words[-1])
    own = {**records.settings(Config()), "loss_settings": {}}
    assert peers.paced_steps(OURS, own, 2.0, lambda steps: machine["seconds"] * steps, None) == 120
    machine["seconds"] = 0.5  # the next day's is twice as fast
    slow = lambda steps: 3 * machine["seconds"] * steps  # noqa: E731
    assert peers.paced_steps("slow", {}, 2.0, slow, None) == 40
    assert peers.paced_steps(OURS, own, 2.0, slow, None) == 120
    assert [record["method"] for record in records.read("peers")] == [OURS, "slow"]


def test_curves_end_with_the_minutes(monkeypatch):
    record = {"minutes": 12.0, "steps": 40, "points": [(10, 0.5), (40, 0.8)]}
    monkeypatch.setattr(peer_results, "runs", lambda table, method: [record] if method == OURS else [])
    losses, _ = peer_results.curves()
    assert losses[OURS] == [(pytest.approx(3.0), 0.5), (pytest.approx(12.0), 0.8)]
