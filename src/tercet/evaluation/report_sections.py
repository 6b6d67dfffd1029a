"""The sections of the report: each takes what the run's files say and gives HTML, or "" where there is nothing to say.

Knows no files. Every text that comes from data passes `escape` on its way into the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tercet.evaluation.markup import (
    definitions,
    escape,
    folded,
    gibibytes,
    in_seconds,
    listing,
    percent,
    points,
    section,
    table,
)
from tercet.evaluation.verdict import LABELS

# name -> what it is called here, and what it is
METHODS = {
    "triplet_mlp_head": (
        LABELS["triplet_mlp_head"],
        "The encoder learns to put images of one class close together and is then frozen; a small network reads the "
        "class off the embedding.",
    ),
    "triplet_linear_head": (LABELS["triplet_linear_head"], "The same embedding, read by a single linear layer."),
    "triplet_knn": (LABELS["triplet_knn"], "The same embedding; the nearest training images vote."),
    "cnn_cross_entropy": (
        LABELS["cnn_cross_entropy"],
        "The encoder's own network trained in the usual way, straight on the classes, on as many images.",
    ),
    "logistic_regression": (LABELS["logistic_regression"], "A linear model on the raw pixels."),
    "majority": (LABELS["majority"], "Always answers the most frequent class: what knowing nothing scores."),
}
MEASURES = {
    "recall@1": ("Recall@1", "how often the nearest other test image in the embedding is of the same class."),
    "map@r": ("MAP@R", "how well an image's own class comes before the others by distance; 100 % is perfect."),
    "calibration": (
        "Calibration error",
        "the gap between stated probabilities and how often they are right; 0 % is best.",
    ),
}
ORIGINAL = (
    "The project that tercet grew from reported, on the lossless CIFAR-10 test set, 86 % for embedding and small "
    "network, 70 % for a CNN and 30 % for logistic regression."
)
MOST_FILES = 20  # named on the page
JPEG = "compression costs detail, so compare with figures for the lossless images with care."

WHAT = (
    "An encoder is a network that turns an image into a short list of numbers, its embedding. {training} How good that "
    "is shows in the table below: the rows that begin with “triplet” read the class off the embedding, the others are "
    "simpler or more usual ways to classify the same images."
)
TRAINING = {
    "proxy-triplet": "This one was trained by a triplet loss: it is shown an image, a point that stands for its class "
    "and one that stands for a different one, and learns to put the image nearer to the first than to the second.",
    "centroid-triplet": "This one was trained by a triplet loss: it is shown an image, the middle of its class and the "
    "middle of a different one, and learns to put the image nearer to the first than to the second.",
    "triplet": "This one was trained by the triplet loss: it is shown an image, another of the same class and one of a "
    "different class, and learns to put the first two closer together than the third.",
    "supcon": "This one was trained by the supervised contrastive loss: of the images it is shown at a time it learns "
    "to put those of one class closest together.",
    "custom": "This one was trained by a loss of the user's own.",
}
FROZEN = (
    "It stands on {network}, which stays as it is: only what reads its features was trained here, and the same holds "
    "for the network trained by cross-entropy that it is compared with."
)


def summary(title: str, results: Mapping[str, Any], doubts: Sequence[str]) -> str:
    """The heading, the result in a sentence, the verdict, the size of the data and a pointer to the warnings."""
    data, methods = results.get("data", {}), results.get("methods", {})
    parts = {"n_train": "training", "n_validation": "validation", "n_test": "test"}
    counts = [f"{data[key]:,} {name}" for key, name in parts.items() if data.get(key) is not None]
    facts = [f"{', '.join(counts)} images"] if counts else []
    facts += [f"{len(data['classes'])} classes"] if data.get("classes") else []
    facts += [f"seen at {data['size']} × {data['size']} pixels"] if data.get("size") else []
    lines = [f"<h1>{escape(title)}</h1>"]
    if "triplet_mlp_head" in methods:
        lines.append(f'<p class="lead">{escape(_in_a_sentence(methods))}</p>')
    if results.get("verdict"):
        lines.append(f'<p class="verdict">{escape(results["verdict"])}</p>')
    if facts:
        lines.append(f'<p class="soft">{escape("; ".join(facts))}.</p>')
    if doubts:
        lines.append(f'<p><a href="#warnings">{len(doubts)} warning{"s" * (len(doubts) > 1)}</a></p>')
    return "\n".join(lines)


def explanation(config: Mapping[str, Any]) -> str:
    """What an encoder is and how this one was trained, for one who was not there."""
    what = WHAT.format(training=TRAINING[config.get("loss", "triplet")])
    return section("What is this?", f"<p>{escape(' '.join([what, *frozen_network(config)]))}</p>")


def frozen_network(config: Mapping[str, Any]) -> list[str]:
    """That the encoder stands on a network which was not trained here, if it does."""
    if config.get("encoder") != "pretrained":
        return []
    network = "a network given from outside" if config.get("backbone") else "EfficientNet-Lite0, trained on ImageNet"
    return [FROZEN.format(network=network)]


def results_section(results: Mapping[str, Any]) -> str:
    """The table of methods, the best row marked, with what each is and what the figures compare with."""
    methods = results.get("methods", {})
    if not methods:
        return ""
    names = [*(name for name in METHODS if name in methods), *(name for name in methods if name not in METHODS)]
    best = max(figures["test_accuracy"] for figures in methods.values())
    rows = []
    for name in names:
        figures = methods[name]
        title, meaning = METHODS.get(name, (name, ""))
        is_best = figures["test_accuracy"] == best
        rows.append(
            f'<tr{" class=best" * is_best}><th scope="row">{escape(title)}{" (best)" * is_best}'
            f"<small>{escape(meaning)}</small></th>"
            f"<td>{_accuracy(figures)}</td><td>{points(figures.get('balanced_accuracy'))}</td>"
            f"<td>{points(figures.get('macro_f1'))}</td><td>{in_seconds(figures.get('fit_seconds'))}</td></tr>"
        )
    seeds = next((figures["seeds"]["n"] for figures in methods.values() if "seeds" in figures), 0)
    caption = (
        f"On the test images, in %; means over {seeds} seeds, ± the standard deviation between them."
        if seeds
        else "On the test images, in %, with the 95 % interval that the choice of these images leaves, not the seed."
    )
    heads = ("Method", "Test accuracy", "Balanced accuracy", "Macro F1", "Seconds to fit")
    notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in _data_notes(results.get("data", {})))
    return section("Results", table(caption, heads, rows, "methods") + notes)


def seeds_section(folders: Sequence[str]) -> str:
    """Links to the pages of the single seeds."""
    items = "".join(f'<li><a href="{escape(folder)}/report.html">{escape(folder)}</a></li>' for folder in folders)
    return section("Single seeds", f"<ul>{items}</ul>") if items else ""


def classes_section(results: Mapping[str, Any], confusions: Mapping[str, Mapping[str, int]]) -> str:
    """The table of classes for embedding and small network, the worst recall first.

    `confusions` counts for each class the wrong answers given to its images; the most frequent is named.
    """
    classes = results.get("methods", {}).get("triplet_mlp_head", {}).get("per_class", {})
    rows = []
    for name, figures in sorted(classes.items(), key=lambda item: (item[1]["recall"] is None, item[1]["recall"])):
        wrong = confusions.get(name, {})
        mistaken = max(wrong, key=lambda other: wrong[other], default="")
        last = f"<td>{escape(mistaken)}{f' ({wrong[mistaken]:,})' if mistaken else ''}</td>"
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{figures["n"]:,}</td>'
            f"<td>{percent(figures.get('recall'))}</td>{last if confusions else ''}</tr>"
        )
    caption = "Embedding and small network; the class that is recognised least often comes first."
    heads = ("Class", "Test images", "Recognised", *(["Most often taken for"] if confusions else []))
    return section("Classes", table(caption, heads, rows, "classes") if rows else "")


def measures_section(results: Mapping[str, Any]) -> str:
    """Retrieval and calibration, each with a sentence on what it says."""
    measures = {**(results.get("retrieval") or {}), "calibration": results.get("calibration_error")}
    items = "".join(
        f"<li>{title} {percent(measures[name])}: {meaning}</li>"
        for name, (title, meaning) in MEASURES.items()
        if measures.get(name) is not None
    )
    return section("Search and calibration", f"<ul>{items}</ul>" if items else "")


def warnings_section(doubts: Sequence[str], skipped_files: Sequence[str]) -> str:
    """What a reader should know before trusting the figures; the first of the files left out on demand."""
    named = listing(skipped_files[:MOST_FILES], "files")
    more = f"<p>and {len(skipped_files) - MOST_FILES:,} more</p>" if len(skipped_files) > MOST_FILES else ""
    files = folded("Files left out", named + more)
    return section("Warnings", listing(doubts, "warnings") + files if doubts else "", identifier="warnings")


def repetition_section(run: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What it takes to get these figures again: command, seed, versions, machine, data, configuration."""
    machine, timing = run.get("machine") or {}, results.get("timing") or {}
    facts = {
        "seed": run.get("seed"),
        "precision": run.get("precision"),
        "tercet": run.get("tercet"),
        "commit": run.get("commit"),
        "Python": machine.get("python"),
        "PyTorch": machine.get("torch"),
        "processor": machine.get("processor"),
        "cores, threads": ", ".join(str(machine[key]) for key in ("cores", "threads") if machine.get(key)),
        "memory": gibibytes(machine.get("memory_bytes")),
        "system": machine.get("system"),
        "started": run.get("started"),
        "seconds": ", ".join(
            f"{key.removesuffix('_seconds').replace('_', ' ')} {in_seconds(value)}" for key, value in timing.items()
        ),
        "peak memory": gibibytes(results.get("peak_memory_bytes")),
        "data fingerprint": results.get("data", {}).get("fingerprint"),
    }
    command, config = run.get("command"), run.get("config")
    return section(
        "How to repeat this",
        (f"<pre><code>{escape(command)}</code></pre>" if command else "")
        + definitions({name: fact for name, fact in facts.items() if fact not in (None, "")})
        + folded("Configuration", definitions(config or {})),
    )


def _in_a_sentence(methods: Mapping[str, Mapping[str, Any]]) -> str:
    names = {
        "cnn_cross_entropy": "the same network trained the usual way",
        "majority": "always guessing the most frequent class",
    }
    shares = {name: percent(figures["test_accuracy"]) for name, figures in methods.items()}
    others = [f"{title} for {shares[name]}" for name, title in names.items() if name in shares]
    return f"Embedding and small network name the right class for {shares['triplet_mlp_head']} of the test images" + (
        f" ({', '.join(others)})." if others else "."
    )


def _data_notes(data: Mapping[str, Any]) -> list[str]:
    name, note = str(data.get("name", "")), data.get("note") or ""
    notes = [f"Data: {note}{f'; {JPEG}' if 'JPEG' in note else '.'}"] if note else []
    return [*notes, ORIGINAL] if name == "cifar10" or note.startswith("CIFAR-10") else notes


def _accuracy(figures: Mapping[str, Any]) -> str:
    if "seeds" in figures:
        return f"{points(figures['seeds']['mean'])}<small>± {points(figures['seeds']['sd'])}</small>"
    low, high = figures["ci95"]
    return f"{points(figures['test_accuracy'])}<small>{points(low)} – {points(high)}</small>"
