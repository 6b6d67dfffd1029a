"""Ours beside other losses and miners in our own training, and beside recipes as their projects publish them.

    python -m benchmarks.peers                    all, hours; needs $TERCET_CIFAR10 and pytorch-metric-learning
    python -m benchmarks.peers --minutes 12 --only supcon "triplet, semi-hard"
    python -m benchmarks.peers --preset standard  where the processor has bfloat16; else two hours a run
    python -m benchmarks.peers --table
    python -m benchmarks.peers --figure           docs/figures/peers-quick.png

(a) Only loss and mining differ: network, batches, augmentation, optimizer, schedule and seconds are those of our
training in the settings of a preset, learning rate included, which was chosen for ours, but that it is one network, of
the preset's breadth, and that no image is left out as learnt: `quick`, which takes some 12 minutes where the processor
has no bfloat16, or `standard` where it has. A peer's setting is the best of its grid (benchmarks/peer_losses.py) on the
validation part, with network and epochs of `quick` and seed 0, for both presets.
(b) Recipes as published (benchmarks/recipes.py), in the same seconds: not their setting. SupContrast's is made for
hundreds of passes over the images, the library's example for a network that knows ImageNet.

The seconds are those of training steps, and turned into a number of steps, so that every schedule comes to its end:
ours by its seconds a step, measured once, and each other's by how many times as long as ours its steps take, measured
in turns on short trainings. So runs may be spread over days on which the machine is faster and slower; what they really
took is noted beside. On the way the 10 nearest neighbours' accuracy on the validation part is noted, after each epoch
in (a), at some marks in (b). Each is judged by the small network on its frozen embedding, and searched by the cosine;
the test set is read once. One seed, three for ours and for the nearest of (a) on validation. What fails is recorded
where training went wrong, else reported, and the rest goes on.
results/peers.jsonl has one line a method and seed, besides those of tuning and pace; what is there is not run again,
and a training of (a) that was killed goes on. Runs and paces of one precision do not stand for those of another.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import records
from benchmarks.peer_losses import OURS, PEERS, Directions, Settings, library, train_peer
from benchmarks.peer_pace import SecondsOf, paced_steps
from benchmarks.peer_results import NAME, TABLED, append, curves, figure, losses_table, nearest, table
from benchmarks.peer_settings import chosen_setting, points_of, resolved, settings_of, with_our_loss
from benchmarks.probes import read_off
from benchmarks.rates import with_steps
from benchmarks.recipes import RECIPES, train_recipe
from benchmarks.versus_cross_entropy import parts
from tercet.config import Config
from tercet.data.sources import Dataset, open_dataset
from tercet.errors import TrainingError
from tercet.evaluation.look import save
from tercet.model.precision import choose_precision
from tercet.preparation import PRECISION_IMAGES, with_precision
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import GALLERY_IMAGES, knn_accuracy
from tercet.training.randomness import derived_generator

MINUTES = 12.0
MARKS = (1 / 12, 2 / 12, 4 / 12, 8 / 12)  # of the steps of a recipe, where it is looked at besides the end
SEEDS = 3  # of ours and of the nearest
FIGURES = Path("docs/figures")


@dataclass(frozen=True)
class Terms:
    """What all runs of one command share."""

    dataset: Dataset
    preset: str
    minutes: float
    precision: str  # that our network takes on this machine, tried once: a trial is timed and may end differently

    def config(self, seed: int) -> Config:
        """Our settings, which a peer shares."""
        return replace(resolved(self.preset, seed, self.dataset), precision=self.precision)


def terms_here(preset: str, minutes: float) -> Terms:
    """The terms on this machine."""
    dataset = open_dataset("cifar10")
    config = with_precision(resolved(preset, 0, dataset), parts(dataset, 0)[0])
    return Terms(dataset, preset, minutes, config.precision)


def paced(method: str, settings: Settings, seconds_of: SecondsOf, terms: Terms) -> int:
    """The steps of so many minutes."""
    config = terms.config(0)
    shared = {"preset": terms.preset, "precision": terms.precision}
    ours = {**shared, "settings": settings_of(config, {})}, partial(seconds_of_peer, OURS, {}, config, terms.dataset)
    return paced_steps(method, {**shared, "settings": settings}, terms.minutes, seconds_of, ours=ours)


def seconds_of_peer(method: str, setting: Settings, config: Config, dataset: Dataset, steps: int) -> float:
    """Seconds of so many steps of one loss."""
    train, validation = parts(dataset, config.seed)
    few = with_steps(config, train.labels, steps)
    return float(train_peer(method, setting, few, train, validation)[1][-1]["seconds"])


def measure_peer(method: str, seed: int, terms: Terms) -> None:
    """One loss with one seed, for table (a)."""
    dataset = terms.dataset
    setting = chosen_setting(method, dataset)
    config = terms.config(seed)
    settings = settings_of(config, setting)
    key = run_key("a", method, seed, with_our_loss(settings, config) if method == OURS else settings, terms)
    if there(key):
        return
    train, validation = parts(dataset, seed)
    checkpoint = None
    try:
        seconds_of = partial(seconds_of_peer, method, setting, config, dataset)
        config = with_steps(config, train.labels, paced(method, settings, seconds_of, terms))
        checkpoint = records.checkpoint(NAME, key, config)
        encoder, history = train_peer(method, setting, config, train, validation, checkpoint)
    except TrainingError as error:
        append({**key, "error": str(error)}, checkpoint)
        return
    last = history[-1]
    course = {
        "steps": last["step"],
        "step_seconds": last["seconds"],
        "points": points_of(history),
        "interventions": records.interventions(history),
    }
    finish({**key, **course}, encoder, config, dataset, checkpoint)


def measure_recipe(method: str, seed: int, terms: Terms) -> None:
    """One recipe with one seed, for table (b)."""
    dataset = terms.dataset
    config = terms.config(seed)
    settings = settings_of(config, {})
    key = run_key("b", method, seed, settings, terms)
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
        steps = paced(method, settings, seconds_of, terms)
        points, seconds = train_recipe(
            recipe,
            steps,
            lambda network: knn_accuracy(Directions(network), gallery, validation, config.precision),
            [max(1, round(mark * steps)) for mark in MARKS],
        )
    except TrainingError as error:
        append({**key, "error": str(error)})
        return
    course = {"own_precision": config.precision, "steps": steps, "step_seconds": round(seconds, 3), "points": points}
    finish({**key, **course}, recipe.network, config, dataset)


def measure(method: str, seed: int, terms: Terms) -> bool:
    """Whether a run came to an end; one that does not must not keep the others from theirs."""
    try:
        (measure_recipe if method in RECIPES else measure_peer)(method, seed, terms)
    except Exception:
        traceback.print_exc()
        return False
    return True


def finish(
    key: Settings, network: torch.nn.Module, config: Config, dataset: Dataset, trained: Checkpoint | None = None
) -> None:
    """Judge the frozen embedding and append the record."""
    figures, (embeddings, labels) = read_off(network, *parts(dataset, key["seed"]), dataset.test, config)
    about = {"n_test": len(labels), "dimensions": embeddings.shape[1]}
    append({**key, **about, **figures}, trained)
    print(f"{key['method']}, seed {key['seed']}: {100 * figures['head_accuracy']:.2f} %")


def run_key(which: str, method: str, seed: int, settings: Settings, terms: Terms) -> Settings:
    """What a run of a table is known by; its precision is that of our network, which in (a) the others have too."""
    known_by = {"kind": "run", "table": which, "method": method, "seed": seed}
    shared = {"preset": terms.preset, "precision": terms.precision, "minutes": terms.minutes}
    return {**known_by, **shared, "data": records.data_label(terms.dataset.name), "settings": settings}


def there(key: Settings) -> bool:
    """Whether it was measured; says so."""
    found = records.has(NAME, **key)
    if found:
        print(f"{key['method']}, seed {key['seed']}: is there already")
    return found


def main() -> None:
    """Measure what is not there yet, or print the tables, or draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=TABLED, default=TABLED[0], help="whose network and training all share")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--only", nargs="+", choices=[OURS, *PEERS, *RECIPES], help="one seed of these")
    parser.add_argument("--table", nargs="?", choices=("whole", "short"), const="whole", help="short: only (a)")
    parser.add_argument("--figure", action="store_true")
    options = parser.parse_args()
    if options.table:
        short = options.table == "short"
        print(losses_table(options.preset, short=True) if short else table(options.preset))
    if options.figure:
        save(figure(*curves(options.preset)), FIGURES / f"peers-{options.preset}.png")
    if options.table or options.figure:
        return
    if not options.only:
        library("losses")  # says at once if it is missing, not after the first runs
    run = partial(measure, terms=terms_here(options.preset, options.minutes))
    if options.only:
        ended = [run(method, 0) for method in options.only]
    else:
        ended = [run(method, 0) for method in (OURS, *PEERS)]
        ended += [run(method, seed) for seed in range(1, SEEDS) for method in (OURS, nearest(options.preset)) if method]
        ended += [run(method, 0) for method in RECIPES]
    if not all(ended):
        sys.exit(f"{ended.count(False)} of {len(ended)} runs did not come to an end, see above; the rest is recorded.")


if __name__ == "__main__":
    main()
