"""Reasons to doubt a result, in sentences for someone who was not there.

Knows the figures of a run and nothing of its files or of the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tercet.evaluation.markup import percent
from tercet.evaluation.separation import Separation
from tercet.evaluation.verdict import LABELS, NAMES

FEW_TEST_IMAGES = 30  # a recall of one half on 30 images has a 95 % interval (Wilson) of 33 to 67 %
FEW_TRAINING_IMAGES = 20  # of a class; a guess
UNEQUAL = 3  # times as many images as the smallest class; a guess
WEAK = 0.05  # above the majority class; a guess
FAR_BEHIND = 0.1  # a baseline; a guess
SMALL_SPREAD = 0.01  # variance over squared length, of which 1 is the most; a guess
UNORDERED = 0.6  # 0.5 is chance; a guess


def doubts(
    results: Mapping[str, Any],
    train_counts: Mapping[str, int],
    pairs: Separation | None,
    history: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Every reason that the run gives; `train_counts` are the training images of each class, empty if not known."""
    return [
        *_of_data(results, train_counts),
        *_of_methods(results.get("methods") or {}),
        *_of_embedding(pairs),
        *_of_training(history),
    ]


def _of_data(results: Mapping[str, Any], train_counts: Mapping[str, int]) -> Iterator[str]:
    data = results.get("data") or {}
    if skipped := data.get("skipped"):
        yield f"Files or folders left out, each for a reason given by name: {skipped:,}."
    copies = data.get("duplicates") or {}
    if exact := copies.get("exact", 0):
        yield (
            f"Test images that are in the training part too: {exact:,}. They are no test, and every accuracy here is "
            "too high by what was merely remembered."
        )
    if near := copies.get("near", 0):
        yield f"Test images that look almost like a training image: {near:,}. Copies among them flatter the figures."
    methods = results.get("methods") or {}
    per_class: Mapping[str, Any] = next((figures.get("per_class", {}) for figures in methods.values()), {})
    test_counts = {name: figures["n"] for name, figures in per_class.items()}
    if few := [name for name, count in train_counts.items() if count < FEW_TRAINING_IMAGES]:
        yield f"Fewer than {FEW_TRAINING_IMAGES} training images of {_listed(few)}: more would help these classes most."
    if few := [name for name, count in test_counts.items() if count < FEW_TEST_IMAGES]:
        yield (
            f"Fewer than {FEW_TEST_IMAGES} test images of {_listed(few)}: how often these classes are recognised is "
            "known only roughly."
        )
    counts = train_counts or test_counts
    if counts and max(counts.values()) > UNEQUAL * min(counts.values()):
        least, most = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
        yield (
            f"The classes are of unequal size ({most} has {counts[most]:,} {'training' if train_counts else 'test'} "
            f"images, {least} {counts[least]:,}): go by balanced accuracy and macro F1, which count every class alike, "
            "rather than by accuracy."
        )


def _of_methods(methods: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    accuracies = {name: figures["test_accuracy"] for name, figures in methods.items()}
    ours = {name: accuracy for name, accuracy in accuracies.items() if name.startswith("triplet_")}
    majority = accuracies.get("majority")
    if majority is not None:
        for name, accuracy in ours.items():
            if accuracy < majority:
                yield (
                    f"{LABELS.get(name, name)} is right less often ({percent(accuracy)}) than always answering the "
                    f"most frequent class ({percent(majority)}): the encoder has learnt nothing that helps."
                )
        if ours and majority <= max(ours.values()) < majority + WEAK:
            yield (
                f"The encoder is weak: the best reading of its embedding is right {percent(max(ours.values()))} of the "
                f"time, hardly more than always answering the most frequent class ({percent(majority)})."
            )
    head = ours.get("triplet_mlp_head")
    others = {name: accuracy for name, accuracy in accuracies.items() if name not in (*ours, "majority")}
    best = max(others, key=lambda name: others[name], default="")
    if head is not None and best and others[best] - head > FAR_BEHIND:
        yield (
            f"The encoder is far behind {NAMES.get(best, best)} ({percent(head)} against {percent(others[best])}): to "
            "classify these images prefer that, or train the encoder longer."
        )


def _of_embedding(pairs: Separation | None) -> Iterator[str]:
    if pairs is None:
        return
    if pairs.spread < SMALL_SPREAD:
        yield (
            f"The encoder has collapsed or nearly so: all test images lie close to one point (their spread is "
            f"{100 * pairs.spread:.2g} % of its possible size), so distances and neighbours mean little."
        )
    if pairs.order < UNORDERED:
        yield (
            f"Distances hardly tell the classes apart: a pair of one class is nearer than a pair of two in only "
            f"{percent(pairs.order)} of cases, where chance gives 50 %."
        )


def _of_training(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if count := sum(bool(record.get("intervention")) for record in history):
        yield f"Training went wrong in {count:,} epoch{'s' * (count > 1)} and was helped: see under Training."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
