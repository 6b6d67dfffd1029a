"""The sections of the report: each takes what the run's files say and gives HTML, or "" where there is nothing to say.

Knows no files. Every text that comes from data passes `escape` on its way into the page.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

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
JPEG = "compression costs detail, so compare with figures for the lossless images with care."
FEW_TEST_IMAGES = 30  # a recall of one half on 30 images has a 95 % interval (Wilson) of 33 to 67 %


def escape(value: object) -> str:
    """The value as text that means nothing to HTML."""
    return html.escape(str(value))


def summary(title: str, results: Mapping[str, Any]) -> str:
    """The heading, the verdict, the size of the data and a pointer to the warnings."""
    data, warning_count = results.get("data", {}), len(_warnings(results))
    parts = {"n_train": "training", "n_validation": "validation", "n_test": "test"}
    counts = [f"{data[key]:,} {name}" for key, name in parts.items() if data.get(key) is not None]
    facts = [f"{', '.join(counts)} images"] if counts else []
    facts += [f"{len(data['classes'])} classes"] if data.get("classes") else []
    facts += [f"{data['size']} × {data['size']} pixels"] if data.get("size") else []
    lines = [f"<h1>{escape(title)}</h1>"]
    if results.get("verdict"):
        lines.append(f'<p class="verdict">{escape(results["verdict"])}</p>')
    if facts:
        lines.append(f'<p class="soft">{escape("; ".join(facts))}.</p>')
    if warning_count:
        lines.append(f'<p><a href="#warnings">{warning_count} warning{"s" * (warning_count > 1)}</a></p>')
    return "\n".join(lines)


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
            f"<td>{_accuracy(figures)}</td><td>{_points(figures.get('balanced_accuracy'))}</td>"
            f"<td>{_points(figures.get('macro_f1'))}</td><td>{_seconds(figures.get('fit_seconds'))}</td></tr>"
        )
    seeds = next((figures["seeds"]["n"] for figures in methods.values() if "seeds" in figures), 0)
    caption = (
        f"On the test images, in %; means over {seeds} seeds, ± the standard deviation between them."
        if seeds
        else "On the test images, in %, with the 95 % interval that the choice of these images leaves, not the seed."
    )
    heads = ("Method", "Test accuracy", "Balanced accuracy", "Macro F1", "Seconds to fit")
    notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in _data_notes(results.get("data", {})))
    return _section("Results", _table(caption, heads, rows) + notes)


def seeds_section(folders: Sequence[str]) -> str:
    """Links to the pages of the single seeds."""
    items = "".join(f'<li><a href="{escape(folder)}/report.html">{escape(folder)}</a></li>' for folder in folders)
    return _section("Single seeds", f"<ul>{items}</ul>") if items else ""


def figure_section(heading: str, figures: Sequence[tuple[str, str, str]]) -> str:
    """Figures under one heading, each as (base64 PNG, alternative text, caption)."""
    return _section(
        heading,
        "".join(
            f'<figure><img alt="{escape(alternative)}" src="data:image/png;base64,{image}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for image, alternative, caption in figures
        ),
    )


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
            f"<td>{_percent(figures.get('recall'))}</td>{last if confusions else ''}</tr>"
        )
    caption = "Embedding and small network; the class that is recognised least often comes first."
    heads = ("Class", "Test images", "Recognised", *(["Most often taken for"] if confusions else []))
    return _section("Classes", _table(caption, heads, rows) if rows else "")


def measures_section(results: Mapping[str, Any]) -> str:
    """Retrieval and calibration, each with a sentence on what it says."""
    measures = {**(results.get("retrieval") or {}), "calibration": results.get("calibration_error")}
    items = "".join(
        f"<li>{title} {_percent(measures[name])}: {meaning}</li>"
        for name, (title, meaning) in MEASURES.items()
        if measures.get(name) is not None
    )
    return _section("Search and calibration", f"<ul>{items}</ul>" if items else "")


def warnings_section(results: Mapping[str, Any]) -> str:
    """What a reader should know before trusting the figures."""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in _warnings(results))
    return _section("Warnings", f'<ul class="warnings">{items}</ul>' if items else "", identifier="warnings")


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
        "memory": _gibibytes(machine.get("memory_bytes")),
        "system": machine.get("system"),
        "started": run.get("started"),
        "seconds": ", ".join(
            f"{key.removesuffix('_seconds').replace('_', ' ')} {_seconds(value)}" for key, value in timing.items()
        ),
        "peak memory": _gibibytes(results.get("peak_memory_bytes")),
        "data fingerprint": results.get("data", {}).get("fingerprint"),
    }
    command, config = run.get("command"), run.get("config")
    return _section(
        "How to repeat this",
        (f"<pre><code>{escape(command)}</code></pre>" if command else "")
        + _definitions({name: fact for name, fact in facts.items() if fact not in (None, "")})
        + (f"<details><summary>Configuration</summary>{_definitions(config)}</details>" if config else ""),
    )


def _warnings(results: Mapping[str, Any]) -> list[str]:
    methods, warnings = results.get("methods", {}), []
    if skipped := results.get("data", {}).get("skipped"):
        warnings.append(f"Files left out because they could not be read: {skipped:,}.")
    floor = methods.get("majority", {}).get("test_accuracy", 0.0)
    for name, figures in methods.items():
        if figures["test_accuracy"] < floor:
            title = METHODS.get(name, (name, ""))[0]
            warnings.append(
                f"{title} is right less often ({_percent(figures['test_accuracy'])}) than always answering the most "
                f"frequent class ({_percent(floor)})."
            )
    parts = [figures.get("per_class", {}) for figures in methods.values()]
    few = [name for name, figures in (parts or [{}])[0].items() if figures["n"] < FEW_TEST_IMAGES]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        warnings.append(
            f"Fewer than {FEW_TEST_IMAGES} test images of {', '.join(few[:5])}{more}: how often these classes are "
            "recognised is known only roughly."
        )
    return warnings


def _data_notes(data: Mapping[str, Any]) -> list[str]:
    name, note = str(data.get("name", "")), data.get("note") or ""
    notes = [f"Data: {note}{f'; {JPEG}' if 'JPEG' in note else '.'}"] if note else []
    return [*notes, ORIGINAL] if name == "cifar10" or note.startswith("CIFAR-10") else notes


def _section(heading: str, content: str, identifier: str = "") -> str:
    opening = f'<section id="{identifier}">' if identifier else "<section>"
    return f"{opening}<h2>{escape(heading)}</h2>{content}</section>" if content else ""


def _table(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="wide" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _definitions(facts: Mapping[str, Any]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return f"<dl>{items}</dl>" if items else ""


def _accuracy(figures: Mapping[str, Any]) -> str:
    if "seeds" in figures:
        return f"{_points(figures['seeds']['mean'])}<small>± {_points(figures['seeds']['sd'])}</small>"
    low, high = figures["ci95"]
    return f"{_points(figures['test_accuracy'])}<small>{_points(low)} – {_points(high)}</small>"


def _percent(share: float | None) -> str:
    return f"{_points(share)} %" if share is not None else "–"


def _points(share: float | None) -> str:
    return f"{100 * share:.1f}" if share is not None else "–"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}" if seconds < 10 else f"{seconds:,.0f}"


def _gibibytes(count: int | None) -> str:
    return f"{count / 2**30:.1f} GiB" if count else ""
