"""Ours beside other losses and miners in our own training, and beside recipes as their projects publish them.

    python -m benchmarks.peers                    all, hours; needs $TERCET_CIFAR10 and pytorch-metric-learning
    python -m benchmarks.peers --minutes 12 --only supcon "triplet, semi-hard"
    python -m benchmarks.peers --table
    python -m benchmarks.peers --figure           docs/figures/peers.png

(a) Only loss and mining differ: network, batches, augmentation, optimizer, schedule and seconds are those of our
training in the settings of `standard`, learning rate included, which was chosen for ours. A peer's setting is the best
of its grid (benchmarks/peer_losses.py) on the validation part, with network and epochs of `quick` and seed 0.
(b) Recipes as published (benchmarks/recipes.py), in the same seconds: not their setting, they are made for far longer
training on a GPU.

The seconds are those of training steps, and turned into a number of steps, so that every schedule comes to its end:
ours by its seconds a step, measured once, and each other's by how many times as long as ours its steps take, measured
in turns on short trainings. So runs may be spread over days on which the machine is faster and slower; what they really
took is noted beside. On the way the 10 nearest neighbours' accuracy on the validation part is noted, after each epoch
in (a), at some marks in (b). Each is judged by the small network on its frozen embedding, and searched by the cosine;
the test set is read once. One seed, three for ours and for the nearest of (a) on validation. What fails is recorded
where training went wrong, else reported, and the rest goes on.
results/peers.jsonl has one line a method and seed, besides those of tuning and pace; what is there is not run again,
and a training of (a) that was killed goes on.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import records
from benchmarks.peer_losses import OURS, PEERS, Directions, Settings, library, train_peer
from benchmarks.peer_pace import SecondsOf, paced_steps
from benchmarks.peer_results import NAME, append, curves, figure, losses_table, nearest, table
from benchmarks.probes import embedded, fit_probe, read_off
from benchmarks.rates import with_steps
from benchmarks.recipes import RECIPES, train_recipe
from benchmarks.versus_cross_entropy import parts
from tercet.config import PRESETS, Config, resolve
from tercet.data.sources import Dataset, open_dataset
from tercet.errors import TrainingError
from tercet.evaluation.look import save
from tercet.model.precision import choose_precision
from tercet.preparation import PRECISION_IMAGES, choose_device, with_precision
from tercet.training.checkpoint import Checkpoint, History
from tercet.training.encoder import GALLERY_IMAGES, knn_accuracy
from tercet.training.randomness import derived_generator

MINUTES = 12.0
MARKS = (1 / 12, 2 / 12, 4 / 12, 8 / 12)  # of the steps of a recipe, where it is looked at besides the end
SEEDS = 3  # of ours and of the nearest
OF_OUR_LOSS = ("loss", "custom_loss", "mining", "margin", "temperature")
FIGURE = Path("docs/figures/peers.png")


def resolved(preset: str, seed: int, dataset: Dataset) -> Config:
    """Our settings, which a peer shares, complete but for the precision; `quick` for tuning."""
    chosen, skip_share = PRESETS[preset], PRESETS["standard"].skip_share  # what is left out decides what is best
    config = replace(chosen, seed=seed, device=choose_device(chosen.device), skip_share=skip_share)
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
    """What a run or a pace is known by. A recipe's are those of ours, which its minutes are counted by."""
    return {**shared_settings(config), "loss_settings": setting}


def with_our_loss(settings: Settings, config: Config) -> Settings:
    """What a run of ours is known by; its pace is that of any margin and temperature."""
    return {**settings, "loss_settings": {"margin": config.margin, "temperature": config.temperature}}


def paced(method: str, settings: Settings, minutes: float, seconds_of: SecondsOf, dataset: Dataset) -> int:
    """The steps of so many minutes."""
    config = with_precision(resolved("standard", 0, dataset), parts(dataset, 0)[0])
    ours = partial(seconds_of_peer, OURS, {}, config, dataset)
    return paced_steps(method, settings, minutes, seconds_of, ours=(settings_of(config, {}), ours))


def seconds_of_peer(method: str, setting: Settings, config: Config, dataset: Dataset, steps: int) -> float:
    """Seconds of so many steps of one loss."""
    train, validation = parts(dataset, config.seed)
    few = with_steps(config, train.labels, steps)
    return float(train_peer(method, setting, few, train, validation)[1][-1]["seconds"])


def measure_peer(method: str, seed: int, minutes: float, dataset: Dataset) -> None:
    """One loss with one seed, for table (a)."""
    setting = chosen_setting(method, dataset)
    config = resolved("standard", seed, dataset)
    settings = settings_of(config, setting)
    key = run_key("a", method, seed, minutes, with_our_loss(settings, config) if method == OURS else settings, dataset)
    if there(key):
        return
    train, validation = parts(dataset, seed)
    config = with_precision(config, train)  # that of our network, which the others have too
    checkpoint = None
    try:
        seconds_of = partial(seconds_of_peer, method, setting, config, dataset)
        config = with_steps(config, train.labels, paced(method, settings, minutes, seconds_of, dataset))
        checkpoint = records.checkpoint(NAME, key, config)
        encoder, history = train_peer(method, setting, config, train, validation, checkpoint)
    except TrainingError as error:
        append({**key, "error": str(error)}, checkpoint)
        return
    last = history[-1]
    course = {"steps": last["step"], "step_seconds": last["seconds"], "points": points_of(history)}
    finish({**key, **course}, encoder, config, dataset, checkpoint)


def measure_recipe(method: str, seed: int, minutes: float, dataset: Dataset) -> None:
    """One recipe with one seed, for table (b)."""
    config = resolved("standard", seed, dataset)
    settings = settings_of(config, {})
    key = run_key("b", method, seed, minutes, settings, dataset)
    if there(key):
        return
    train, validation = parts(dataset, seed)
    trial = RECIPES[method](train, config)
    config = replace(config, precision=choose_precision(trial.network, train.images[:PRECISION_IMAGES]))

    def seconds_of(steps: int) -> float:
        return train_recipe(RECIPES[method](train, config), steps, lambda _: 0.0, ())[1]

    chosen = torch.randperm(len(train), generator=derived_generator(seed, "gallery"))[:GALLERY_IMAGES]
    gallery = train.select(chosen)
    recipe = RECIPES[method](train, config)
    try:
        steps = paced(method, settings, minutes, seconds_of, dataset)
        points, seconds = train_recipe(
            recipe,
            steps,
            lambda network: knn_accuracy(Directions(network), gallery, validation, config.precision),
            [max(1, round(mark * steps)) for mark in MARKS],
        )
    except TrainingError as error:
        append({**key, "error": str(error)})
        return
    course = {"steps": steps, "step_seconds": round(seconds, 3), "points": points}
    finish({**key, **course}, recipe.network, config, dataset)


def measure(method: str, seed: int, *, minutes: float, dataset: Dataset) -> bool:
    """Whether a run came to an end; one that does not must not keep the others from theirs."""
    try:
        (measure_recipe if method in RECIPES else measure_peer)(method, seed, minutes, dataset)
    except Exception:
        traceback.print_exc()
        return False
    return True


def finish(
    key: Settings, network: torch.nn.Module, config: Config, dataset: Dataset, trained: Checkpoint | None = None
) -> None:
    """Judge the frozen embedding and append the record."""
    figures, (embeddings, labels) = read_off(network, *parts(dataset, key["seed"]), dataset.test, config)
    about = {"n_test": len(labels), "dimensions": embeddings.shape[1], "precision": config.precision}
    append({**key, **about, **figures}, trained)
    print(f"{key['method']}, seed {key['seed']}: {100 * figures['head_accuracy']:.2f} %")


def points_of(history: History) -> list[tuple[int, float]]:
    """(step, validation accuracy) after each epoch."""
    return [(record["step"], record["validation_accuracy"]) for record in history]


def run_key(which: str, method: str, seed: int, minutes: float, settings: Settings, dataset: Dataset) -> Settings:
    """What a run of a table is known by."""
    known_by = {"kind": "run", "table": which, "method": method, "seed": seed, "minutes": minutes}
    return {**known_by, "data": records.data_label(dataset.name), "settings": settings}


def there(key: Settings) -> bool:
    """Whether it was measured; says so."""
    found = records.has(NAME, **key)
    if found:
        print(f"{key['method']}, seed {key['seed']}: is there already")
    return found


def main() -> None:
    """Measure what is not there yet, or print the tables, or draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--only", nargs="+", choices=[OURS, *PEERS, *RECIPES], help="one seed of these")
    parser.add_argument("--table", nargs="?", choices=("whole", "short"), const="whole", help="short: only (a)")
    parser.add_argument("--figure", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(losses_table(short=True) if options.table == "short" else table())
    if options.figure:
        save(figure(*curves()), FIGURE)
    if options.table or options.figure:
        return
    if not options.only:
        library("losses")  # says at once if it is missing, not after the first runs
    dataset = open_dataset("cifar10")
    run = partial(measure, minutes=options.minutes, dataset=dataset)
    if options.only:
        ended = [run(method, 0) for method in options.only]
    else:
        ended = [run(method, 0) for method in (OURS, *PEERS)]
        ended += [run(method, seed) for seed in range(1, SEEDS) for method in (OURS, nearest()) if method]
        ended += [run(method, 0) for method in RECIPES]
    if not all(ended):
        sys.exit(f"{ended.count(False)} of {len(ended)} runs did not come to an end, see above; the rest is recorded.")


if __name__ == "__main__":
    main()
