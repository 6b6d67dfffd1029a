"""What a loss of `peers` is trained with: the settings that all share, and its own, the best of its grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import records
from benchmarks.peer_losses import PEERS, Settings, train_peer
from benchmarks.peer_results import NAME, append
from benchmarks.probes import embedded, fit_probe
from benchmarks.versus_cross_entropy import parts
from tercet.config import PRESETS, Config, resolve
from tercet.data.sources import Dataset
from tercet.errors import TrainingError
from tercet.preparation import choose_device, with_precision
from tercet.training.checkpoint import History

OF_OUR_LOSS = ("loss", "custom_loss", "mining", "margin", "temperature")


def resolved(preset: str, seed: int, dataset: Dataset) -> Config:
    """Our settings but for the precision, of one network; no image is left out as learnt: that decides what is best."""
    chosen = PRESETS[preset]
    config = replace(chosen, seed=seed, device=choose_device(chosen.device), skip_share=0.0, members=1)
    return resolve(config, image_count=len(parts(dataset, seed)[0]), size=dataset.size, flip=True)


def chosen_setting(method: str, dataset: Dataset) -> Settings:
    """The best of a peer's grid on validation; trains what was not tried yet."""
    grid = PEERS[method].grid if method in PEERS else ({},)
    if len(grid) == 1:
        return grid[0]
    config = resolved("quick", 0, dataset)
    train, validation = parts(dataset, 0)
    known_by = {"data": records.data_label(dataset.name), "settings": shared_settings(config)}
    scores = []
    for setting in grid:
        key = {"kind": "tuning", "method": method, "loss_settings": setting, **known_by}
        if not records.has(NAME, **key):
            tried = with_precision(config, train)
            try:
                encoder, history = train_peer(method, setting, tried, train, validation)
                pairs = embedded(encoder, train, validation, tried)
                _, accuracy = fit_probe(*pairs, train.class_counts(), tried)
                outcome = {"head_validation_accuracy": accuracy, "points": points_of(history)}
            except TrainingError as error:
                outcome = {"head_validation_accuracy": 0.0, "error": str(error)}
            append({**key, **outcome})
        scores.append(records.select(records.read(NAME), **key)[-1]["head_validation_accuracy"])
    return grid[scores.index(max(scores))]


def shared_settings(config: Config) -> Settings:
    """All but what our loss alone is set by: a peer need not run again where that changes."""
    return {name: value for name, value in records.settings(config).items() if name not in OF_OUR_LOSS}


def settings_of(config: Config, setting: Settings) -> Settings:
    """What a run or a pace is known by; not the epochs of a preset, since minutes say how long each trains.

    A recipe's are those of ours, which its minutes are counted by.
    """
    shared = {name: value for name, value in shared_settings(config).items() if name != "epochs"}
    return {**shared, "loss_settings": setting}


def with_our_loss(settings: Settings, config: Config) -> Settings:
    """What a run of ours is known by; its pace is that of any margin and temperature."""
    return {**settings, "loss_settings": {"margin": config.margin, "temperature": config.temperature}}


def points_of(history: History) -> list[tuple[int, float]]:
    """(step, validation accuracy) after each epoch."""
    return [(record["step"], record["validation_accuracy"]) for record in history]
