"""The header of a model card: YAML between lines of three hyphens, with the keys that model hubs define.

Written without a YAML library: a text in double quotes, as JSON writes it, means the same in YAML where all of its
characters can be printed. Knows nothing of the card's text.

Reference: Hugging Face, hub-docs, modelcard.md; `model-index` is the Papers with Code format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HEADER = """---
license: unknown
library_name: tercet
pipeline_tag: image-classification
tags: [image-classification, image-feature-extraction, image-embeddings, metric-learning, triplet-loss]
datasets: [{dataset}]
metrics: [accuracy]
model-index:
- name: {name}
  results:
  - task: {{type: image-classification, name: Image classification}}
    dataset: {{type: {dataset}, name: {title}, split: test}}
    metrics:
    - {{type: accuracy, value: {accuracy:.4f}, name: {metric}}}
---
"""
HUB_NAMES = {"cifar10": "uoft-cs/cifar10", "cifar10-jpeg": "uoft-cs/cifar10"}
LONGEST_NAME = 96  # of a data set on a hub


def header(results: Mapping[str, Any]) -> str:
    """The header of a model whose `results.json` is this.

    The license stays open: it depends on the images, which only who has them knows.
    """
    data, figures = results["data"], results["methods"]["triplet_mlp_head"]
    several = f", mean of {figures['seeds']['n']} seeds" if "seeds" in figures else ""
    return HEADER.format(
        dataset=_quoted(HUB_NAMES.get(data["name"]) or hub_name(data["name"])),
        name=_quoted(data["name"]),
        title=_quoted(data.get("note") or data["name"]),
        accuracy=figures["test_accuracy"],
        metric=_quoted(f"test accuracy{several}"),
    )


def hub_name(name: str) -> str:
    """The name as a hub allows one: letters of ASCII and digits, joined by single hyphens.

    >>> hub_name("my photos.tar.gz")
    'my-photos-tar-gz'
    """
    return re.sub("[^A-Za-z0-9]+", "-", name)[:LONGEST_NAME].strip("-") or "images"


def _quoted(text: str) -> str:
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return json.dumps(printable, ensure_ascii=False)
