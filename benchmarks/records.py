"""Result files: one JSON object a line, appended as each measurement ends, so that work can stop and go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tercet
from tercet.config import LATER, Config
from tercet.preparation import note_of
from tercet.run_folder import commit, machine
from tercet.training.checkpoint import Checkpoint, History


def checksum(files: Iterable[Path]) -> str:
    """Of their content; that of code tells more than a commit, which is "dirty" as soon as a result is written."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


FOLDER = Path(__file__).parent / "results"
UNFINISHED = Path(__file__).parents[1] / "runs" / "benchmarks"
COMMIT = commit()  # before this process changes a file of results
CODE = checksum([*Path(tercet.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")])
PACKAGES = ("tercet", "torch", "numpy", "scikit-learn", "openTSNE", "pillow")


def read(name: str) -> list[dict[str, Any]]:
    """All records of one benchmark, oldest first."""
    path = FOLDER / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has(name: str, **key: Any) -> bool:
    """Whether a record with these values is there already."""
    return bool(select(read(name), **key))


def append(name: str, record: dict[str, Any], trained: Checkpoint | None = None) -> None:
    """Add one record, with machine, commit and versions; a run made before comes with its own machine and commit.

    What the training behind it kept meanwhile is removed.
    """
    FOLDER.mkdir(exist_ok=True)
    here = {"machine": machine(), "commit": COMMIT}
    versions = {package: version(package) for package in PACKAGES}
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps({**here, **record, "versions": versions}) + "\n")
    if trained and trained.folder:
        shutil.rmtree(trained.folder, ignore_errors=True)


def checkpoint(name: str, key: dict[str, Any], config: Config) -> Checkpoint:
    """Where the training behind a record keeps its state: the same command goes on from there, if the code is the same.

    `append` removes it.
    """
    place = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return Checkpoint(UNFINISHED / name / place, json.dumps([repr(config), CODE]))


def select(records: Iterable[dict[str, Any]], **key: Any) -> list[dict[str, Any]]:
    """The records with these values."""
    return [record for record in records if all(record.get(field) == value for field, value in key.items())]


def data_label(name: str) -> str:
    """What a data set is called beside its figures: those of the JPEG copy compare with each other only.

    >>> data_label("cifar10-jpeg"), data_label("cifar10"), data_label("digits")
    ('CIFAR-10, JPEG copy', 'CIFAR-10, lossless', 'digits')
    """
    return note_of(name) or ("CIFAR-10, lossless" if name == "cifar10" else name)


def settings(config: Config) -> dict[str, Any]:
    """The configuration as a record holds it, without what differs between seeds and machines.

    What was so before it could be set goes without saying, as in the records of then.
    """
    values = json.loads(json.dumps(asdict(config)))
    unsaid = ("seed", "precision", "device", *(name for name, value in LATER.items() if values[name] == value))
    return {name: value for name, value in values.items() if name not in unsaid}


def interventions(history: History) -> list[str]:
    """What the guard said that it did in the course of a training.

    >>> interventions([{"step": 5}, {"step": 9, "intervention": "step 7 found a collapse"}])
    ['step 7 found a collapse']
    """
    return [epoch["intervention"] for epoch in history if "intervention" in epoch]


def newest(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with the settings of the last one: what was measured before they were changed stays in the file."""
    return select(records, settings=records[-1].get("settings")) if records else []


def temperature(record: dict[str, Any]) -> str:
    """The temperature of the default loss, as text; empty where another loss was measured.

    >>> temperature({"settings": {"loss": "proxy-triplet", "temperature": 0.4}}), temperature({"settings": {}})
    ('0.4', '')
    """
    settings = record.get("settings", {})
    return f"{settings['temperature']:g}" if settings.get("loss") == "proxy-triplet" else ""
