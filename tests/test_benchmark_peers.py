"""Peers get the same minutes, whatever the machine that each is measured on, and one that fails harms no other."""

import math
from dataclasses import replace

import pytest
import torch
from benchmarks import peer_pace, peer_results, peer_settings, peers, rates, records
from benchmarks.peer_losses import OURS, PEERS
from benchmarks.recipes import Recipe

from tercet.config import PRESETS
from tercet.data.sources import Dataset
from tercet.errors import TrainingError
from tercet.training.proxies import Proxies


@pytest.fixture(autouse=True)
def nothing_recorded(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(rates, "MOST_OTHER_WORK", math.inf)  # other tests run beside these


def run_of(method, seed=0, *, table="a", **figures):
    judged = {"head_accuracy": 0.8, "recall@1": 0.7, "map@r": 0.6, "head_validation_accuracy": 0.8, "dimensions": 128}
    course = {"minutes": 12.0, "steps": 40, "step_seconds": 660.0, "points": [(10, 0.5), (40, 0.8)]}
    key = {"kind": "run", "table": table, "method": method, "seed": seed, "preset": "quick", "data": "tiny"}
    key |= {"precision": "fp32", "settings": {"loss_settings": {}}}
    return {**key, **course, **judged, **figures}


def record(*runs):
    for run in runs:
        records.append("peers", run)


def test_a_pace_counts_in_steps_of_ours_on_the_first_machine():
    machine, asked = {"seconds": 1.0}, []

    def ours(steps):
        asked.append(steps)
        return machine["seconds"] * steps

    def slow(steps):
        return 3 * machine["seconds"] * steps

    def steps_of(method, seconds_of):
        return peer_pace.paced_steps(method, {}, 2.0, seconds_of, ours=({}, ours))

    assert steps_of(OURS, ours) == 120
    machine["seconds"] = 0.5  # the next day's is twice as fast
    assert steps_of("slow", slow) == 40
    assert steps_of(OURS, ours) == 120
    assert [record["method"] for record in records.read("peers")] == [OURS, "slow"]
    assert set(asked) == {peer_pace.STEPS}


def test_a_pace_of_other_settings_is_measured_anew():
    for seconds, settings in ((1.0, {"widths": [8]}), (2.0, {"widths": [16]})):
        own = lambda steps, seconds=seconds: seconds * steps  # noqa: E731
        assert peer_pace.paced_steps("other", settings, 1.0, own, ours=(settings, own)) == round(60 / seconds)


def test_a_run_that_fails_lets_the_others_run(monkeypatch, capsys):
    ran = []

    def measured(method, seed, terms):
        ran.append((method, seed))
        if method == "supcon":
            raise RuntimeError("out of memory")
        if method in PEERS:
            record(run_of(method, seed, head_validation_accuracy=0.9 if method == "proxy anchor" else 0.8))

    monkeypatch.setattr(peers, "measure_peer", measured)
    monkeypatch.setattr(peers, "measure_recipe", measured)
    monkeypatch.setattr(peers, "library", lambda name: None)
    monkeypatch.setattr(peers, "terms_here", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["peers"])
    with pytest.raises(SystemExit, match="1 of 15 runs did not come to an end"):
        peers.main()
    assert "out of memory" in capsys.readouterr().err
    # Seeds of ours and of the nearest before the recipes, which nothing waits for.
    first = [(method, 0) for method in (OURS, *PEERS)]
    more = [(method, seed) for seed in (1, 2) for method in (OURS, "proxy anchor")]
    assert ran == [*first, *more, *((method, 0) for method in peers.RECIPES)]


def test_a_recipe_that_comes_to_nothing_is_recorded_as_such(monkeypatch, tiny_set):
    def broken(*_):
        raise TrainingError("found a loss of nan.")

    monkeypatch.setattr(peers, "resolved", lambda *_: PRESETS["quick"])
    monkeypatch.setattr(peers, "parts", lambda *_: (tiny_set, tiny_set))
    monkeypatch.setattr(peers, "choose_precision", lambda *_: "fp32")
    monkeypatch.setattr(peers, "paced", lambda *_: 5)
    monkeypatch.setitem(peers.RECIPES, "SupContrast's", lambda *_: Recipe(None, broken))
    terms = peers.Terms(Dataset("tiny", tiny_set, tiny_set, None, 12), "quick", 1.0, "fp32")
    peers.measure_recipe("SupContrast's", 0, terms)
    assert "| SupContrast's |  | 1 | training failed: found a loss of nan. |" in peer_results.table("quick")


def test_the_nearest_is_chosen_on_validation_by_the_first_seed():
    record(
        run_of("supcon", head_validation_accuracy=0.7, head_accuracy=0.9),
        run_of("proxy anchor", head_validation_accuracy=0.8),
        run_of("proxy anchor", 1, head_validation_accuracy=0.1),
        run_of("triplet, semi-hard", error="found a loss of nan."),
    )
    assert peer_results.nearest("quick") == "proxy anchor"


def test_a_peer_is_known_by_no_setting_of_our_loss_nor_by_the_epochs_of_a_preset(tiny_config):
    other = replace(tiny_config, margin=0.3, temperature=0.7, epochs=99)
    settings, others = (peer_settings.settings_of(config, {"alpha": 2}) for config in (tiny_config, other))
    assert settings == others
    assert settings["widths"] == list(tiny_config.widths)
    assert peer_settings.with_our_loss(settings, other)["loss_settings"] == {"margin": 0.3, "temperature": 0.7}


@pytest.mark.parametrize("method", ["proxy anchor", "normalised softmax"])
def test_proxies_of_the_library_begin_as_long_as_ours(method, tiny_config):
    pytest.importorskip("pytorch_metric_learning")
    config = replace(tiny_config, dimensions=128)
    (theirs,) = PEERS[method].make(PEERS[method].grid[0], config, 10).parameters()
    ours = Proxies(10, config, torch.Generator().manual_seed(0)).directions
    assert float(theirs.detach().norm()) == pytest.approx(float(ours.detach().norm()), rel=0.05)


def test_presets_and_precisions_have_tables_of_their_own():
    broader = {"preset": "standard", "minutes": 24.0}
    record(
        run_of("proxy anchor", precision="bf16", head_validation_accuracy=0.9),
        run_of("supcon", **broader, head_accuracy=0.9, precision="bf16"),
        run_of("proxy anchor", 1, **broader, precision="bf16"),
        run_of("supcon"),
    )
    assert [run["head_accuracy"] for run in peer_results.runs("quick", "a", "supcon")] == [0.8]
    assert [run["head_accuracy"] for run in peer_results.runs("standard", "a", "supcon")] == [0.9]
    assert peer_results.runs("quick", "a", "proxy anchor") == []
    assert peer_results.nearest("quick") == "supcon"
    assert len(peer_results.curves("standard")[0]) == 2


def test_a_short_trial_takes_no_place_of_a_run():
    record(run_of("supcon"), run_of("supcon", minutes=1.0, head_validation_accuracy=0.99))
    assert [run["minutes"] for run in peer_results.runs("quick", "a", "supcon")] == [12.0]


def test_the_table_says_how_many_failed_and_how_long_the_others_ran():
    record(run_of(OURS), run_of(OURS, 1, head_accuracy=0.82, step_seconds=780.0), run_of(OURS, 2, error="nan"))
    assert "| 2 of 3, training failed in the others | 81.00 ± 1.41 |" in peer_results.table("quick")
    assert "| 12 | 12.0 ± 1.4 | 40 |" in peer_results.table("quick")


def test_a_loss_that_the_guard_left_is_marked():
    record(run_of("triplet, batch-hard", interventions=["step 7 found a collapse"]), run_of("supcon", interventions=[]))
    marked = [line.split(" | ")[0] for line in peer_results.losses_table("quick", short=True).splitlines()[2:]]
    assert marked == ["| triplet, batch-hard (the guard stepped in)", "| supcon"]


def test_the_short_table_leaves_out_settings_and_time():
    record(run_of(OURS), run_of("supcon", head_accuracy=0.815))
    # No recipe was run, so there is no table of them.
    assert peer_results.table("quick") == peer_results.losses_table("quick")
    header, _, ours, supcon = peer_results.losses_table("quick", short=True).splitlines()
    assert header == "| loss and mining | n | accuracy on the frozen embedding | recall@1 | MAP@R |"
    assert ours.startswith(f"| {OURS} | 1 | 80.00 |")
    assert supcon.startswith("| supcon | 1 | 81.50 |")


def test_curves_end_with_the_minutes_and_ours_is_in_both_panels():
    record(run_of(OURS), run_of("supcon"), run_of("SupContrast's", table="b"))
    losses, found = peer_results.curves("quick")
    assert losses[OURS] == [(pytest.approx(3.0), 0.5), (pytest.approx(12.0), 0.8)]
    shown = [{line.get_label() for line in axes.lines} for axes in peer_results.figure(losses, found).axes]
    assert shown == [{OURS, "supcon"}, {OURS, "SupContrast's"}]
    without_ours = peer_results.figure({"supcon": losses["supcon"]}, found)
    assert [len(axes.lines) for axes in without_ours.axes] == [1, 1]
    assert [len(axes.lines) for axes in peer_results.figure(losses, {}).axes] == [2]
