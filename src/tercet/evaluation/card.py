"""The model card of a run: `README.md` in its folder, in words and tables, with a header that model hubs read.

The folder of the model has one too, so that it can be handed on by itself; what a card links lies in its own folder.
Takes what `results.json` and `run.json` say; knows no tensors. Its parts follow Mitchell et al., Model cards for model
reporting, FAT* 2019: details, intended use, data, figures by group, limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tercet.errors import ModelError
from tercet.evaluation.card_header import header
from tercet.evaluation.doubts import doubts
from tercet.evaluation.markup import points
from tercet.evaluation.report_sections import frozen_network
from tercet.evaluation.saved import (
    figures_folder,
    read_history,
    read_pairs,
    read_record,
    read_train_counts,
    seed_folders,
)
from tercet.evaluation.verdict import LABELS
from tercet.files import make_folder, write_atomically

CARD = """{header}
# {name}

An image encoder (image to {dimensions} numbers, {length}) and a small network that reads {class_count} classes off it,
trained by tercet {tercet}.{frozen}

**{verdict}**
{picture}
## Use

```python
import tercet

bundle = {load}
bundle.predict(["a.jpg"])  # class names
bundle.embed(["a.jpg"])  # float32 [1, {dimensions}]; squared Euclidean distance, smaller is more alike
```

Meant for images like the ones it was trained on: {classes}.
It answers with one of these classes whatever it is shown. Its probabilities take {prior}.

## Data

{data}

## Figures

On {n_test:,} test images that no choice was made on{seeds}.

{methods}

| class | test images | recognised, % |
|---|--:|--:|
{per_class}

## Limits

{limits}

## Repeat it

{command}

| | |
|---|---|
{facts}

Configuration: `{config}`
"""

PICTURE = "figures/tsne.png"
GENERAL_LIMIT = "Judged on this data set only; other cameras, crops or kinds of image may give other figures."
PRIORS = {
    "balanced": "every class to be equally frequent, however many training images it had",
    "none": "classes to be as frequent as they were in training",
}


def write_card(run: Path) -> Path:
    """Write `README.md` into a finished run folder and the folder of its model, and return the former's path."""
    results, record = read_record(run / "results.json"), read_record(run / "run.json") or {}
    if results is None:
        raise ModelError(f"found no results.json in {run}; expected a finished run, so let `tercet run` end first.")
    source = figures_folder(run)
    content = _content(run, source, results, record)
    network = _backbone_argument(source)
    inside = source.relative_to(run)
    load = f'tercet.load("{(inside / "model").as_posix()}"{network})  # in this folder'
    _write(run, content, load, (inside / PICTURE).as_posix())
    if (run / "model" / "config.json").is_file():
        if (run / PICTURE).is_file():
            make_folder((run / "model" / PICTURE).parent)
            write_atomically(run / "model" / PICTURE, (run / PICTURE).read_bytes())
        load = f'tercet.load("."{network})  # this folder, or what huggingface_hub.snapshot_download gives'
        _write(run / "model", content, load, PICTURE)
    return run / "README.md"


def _write(folder: Path, content: Mapping[str, Any], load: str, picture: str) -> None:
    shown = f"\n![Map of the test images by t-SNE]({picture})\n" if (folder / picture).is_file() else ""
    text = CARD.format(**content, load=load, picture=shown)
    # A class name may hold bytes that are no text.
    write_atomically(folder / "README.md", text.encode(errors="replace"))


def _content(run: Path, source: Path, results: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says wherever it lies. `source` is the folder of the run, or of its first seed."""
    data, config = results["data"], record.get("config", {})
    counts, pairs = read_train_counts(source, data["classes"]), read_pairs(source)
    reasons = doubts(
        results, counts, pairs, [line for folder in seed_folders(run) or [run] for line in read_history(folder)]
    )
    figures = results["methods"]["triplet_mlp_head"]
    command = record.get("command")
    return {
        "header": header(results),
        "name": _plain(data["name"]),
        "dimensions": config.get("dimensions", 128),
        "length": "of unit length" if config.get("normalize", True) else "raw",
        "class_count": len(data["classes"]),
        "verdict": results["verdict"],
        "classes": ", ".join(map(_plain, data["classes"])),
        "data": _data(data),
        "tercet": record.get("tercet", ""),
        "frozen": "".join(f" {sentence}" for sentence in frozen_network(config)),
        "prior": PRIORS[config.get("class_weight", "balanced")],
        "n_test": data["n_test"],
        "seeds": f"; means over {figures['seeds']['n']} seeds, ± standard deviation" if "seeds" in figures else "",
        "methods": _methods(results["methods"]),
        "per_class": "\n".join(
            f"| {_plain(name)} | {of_class['n']:,} | {points(of_class['recall'])} |"
            for name, of_class in figures["per_class"].items()
        ),
        "limits": "\n".join(f"- {_plain(limit)}" for limit in [GENERAL_LIMIT, *reasons]),
        "command": f"```bash\n{command}\n```" if command else "It was asked for from Python.",
        "facts": "\n".join(f"| {name} | {_plain(fact)} |" for name, fact in _facts(record, results).items() if fact),
        "config": json.dumps(config, ensure_ascii=False).replace("`", "'"),
    }


def _backbone_argument(source: Path) -> str:
    settings = read_record(source / "model" / "config.json") or {}
    return f", backbone={settings['backbone']}(...)" if settings.get("backbone") else ""


def _data(data: Mapping[str, Any]) -> str:
    note = f" ({data['note']})" if data.get("note") else ""
    skipped = f" Files or folders left out: {data['skipped']:,}." if data.get("skipped") else ""
    return (
        f"{_plain(data['name'])}{note}: {data['n_train']:,} training, {data['n_validation']:,} validation and "
        f"{data['n_test']:,} test images, seen at {data['size']} × {data['size']} pixels.{skipped} "
        f"Fingerprint `{data['fingerprint']}`."
    )


def _methods(methods: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| method | test accuracy, % | balanced accuracy, % | macro F1, % |", "|---|--:|--:|--:|"]
    for name, figures in methods.items():
        low, high = figures["ci95"]
        spread = f"± {points(figures['seeds']['sd'])}" if "seeds" in figures else f"({points(low)} to {points(high)})"
        accuracy = f"{points(figures['test_accuracy'])} {spread}"
        others = " | ".join(points(figures[key]) for key in ("balanced_accuracy", "macro_f1"))
        lines.append(f"| {LABELS[name]} | {accuracy} | {others} |")
    return "\n".join(lines)


def _facts(record: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    machine = record.get("machine") or {}
    seconds = results["methods"]["triplet_mlp_head"]["fit_seconds"]
    return {
        "tercet": record.get("tercet"),
        "commit": record.get("commit"),
        "seed": str(record.get("seed", "")),
        "precision": record.get("precision"),
        "PyTorch": machine.get("torch"),
        "processor": machine.get("gpu") or machine.get("processor"),
        "encoder and head, seconds": f"{seconds:,.0f}" if seconds else None,
    }


def _plain(value: object) -> str:
    """The value on one line, as text that means nothing to Markdown's tables and HTML."""
    text = " ".join(str(value).split())
    for sign in "\\|<>*_`[]":
        text = text.replace(sign, f"\\{sign}" if sign not in "<>" else {"<": "&lt;", ">": "&gt;"}[sign])
    return text
