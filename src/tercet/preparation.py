"""The first stations: read the data, split it, claim the run folder, fill in the configuration."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tercet.config import PRESETS, PRETRAINED_SIZE, Config, resolve
from tercet.data.imageset import ImageSet
from tercet.data.sources import Dataset, open_dataset
from tercet.errors import UsageError
from tercet.evaluation.duplicates import count_duplicates
from tercet.files import at_home
from tercet.footprint import require_training_memory
from tercet.model.encoder import Encoder
from tercet.model.precision import choose_precision
from tercet.model.pretrained import EXTRA, Backbone, frozen_encoder, is_available, open_backbone
from tercet.run_folder import RunFolder
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import fresh_encoder
from tercet.training.stages import Stages

OnProgress = Callable[[str, int, int], None]  # (station, done, total)
JPEG_NOTE = "CIFAR-10, JPEG copy"  # lossy: its figures compare with other figures on the same copy only
NAMED_DATA = ("digits", "cifar10")  # which are no paths
SHOWN_FILES = 20  # of those left out, by name and reason
NOTABLE_SHARE = 0.01  # of the test images; some pictures of one thing are bound to look alike: a guess
PRECISION_IMAGES = 128  # of a batch, enough to keep both cores busy in the self-test

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Work:
    """What every station needs: the parts of the data, the resolved configuration, the folder."""

    folder: RunFolder
    config: Config
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    data: dict[str, Any]
    on_progress: OnProgress
    frozen: Encoder | None = None  # images -> features, where only what takes features is trained

    def checkpoint(self, phase: str) -> Checkpoint:
        """The checkpoint of one training of this run."""
        return Checkpoint(self.folder.checkpoints / phase, self._key(phase))

    @property
    def stages(self) -> Stages:
        """What the finished stages of this run gave."""
        return Stages(self.folder.checkpoints, self._key("stages"))

    def _key(self, phase: str) -> str:
        return json.dumps([phase, repr(self.config), self.data["fingerprint"]])

    def progress(self, station: str) -> Callable[[int, int], None]:
        """Progress of one station."""
        return partial(self.on_progress, station)


def prepare(
    verb: str,
    data: str | Path,
    folder: RunFolder,
    config: Config,
    overwrite: bool,
    on_progress: OnProgress,
    backbone: Backbone | None = None,
) -> Work:
    """Read and split the data, claim the run folder, fill in the configuration; write `run.json` on a fresh start."""
    started = time.perf_counter()
    refuse_out_inside_data(data, folder)
    folder.refuse_other_files(overwrite=overwrite)  # before the data are read, which may take long
    network = open_backbone(backbone) if config.encoder == "pretrained" else None  # first: it may be missing
    device = choose_device(config.device)
    dataset = open_dataset(data, size=config.size, on_progress=partial(on_progress, "read"))
    train_part, validation = dataset.train, dataset.validation
    if validation is None:
        train_part, validation = train_part.split(config.seed)
    facts = describe_data(dataset, train_part, validation)
    facts["load_seconds"] = round(time.perf_counter() - started, 3)
    dataset = dataset._replace(train=train_part)  # lets the whole go
    fill = partial(
        resolve,
        image_count=len(train_part),
        size=dataset.size,
        flip=isinstance(data, Path) or data != "digits",
        has_weights=is_available(),
    )
    resolved = fill(replace(config, device=device))
    frozen = freeze(resolved, network)
    parts = (train_part, validation, dataset.test)
    finished = (folder.results if verb == "run" else folder.model / "config.json").exists()
    if overwrite or not finished:
        require_training_memory(resolved, parts, frozen, compares=verb == "run")  # before anything is written
    begun = folder.claim(asdict(config), facts["fingerprint"], overwrite=overwrite)
    if begun and begun["config"].get("encoder") != resolved.encoder:  # the extra was installed or removed since
        resolved = fill(replace(config, device=device, encoder=begun["config"].get("encoder")))
        frozen = freeze(resolved, network)
    if begun:
        what = (
            "finished already; --overwrite begins anew" if finished else f"going on with the run of {begun['started']}"
        )
        logger.warning("%s: %s", folder.path, what)
        resolved = replace(resolved, precision=begun["precision"])
        facts = begun["data"]
    else:
        facts["duplicates"] = find_duplicates(dataset.name, dataset.test, [train_part, validation])
        say_what_differs(config, resolved)
        resolved = with_precision(resolved, train_part)
        folder.describe(asdict(config), resolved, facts, repeating_command(verb, data, folder.path, config))
    return Work(folder, resolved, train_part, validation, dataset.test, facts, on_progress, frozen)


def refuse_out_inside_data(data: str | Path, folder: RunFolder) -> None:
    """UsageError where the run folder lies in the data's, of which its pictures would be read as images."""
    place = at_home(data)
    if data not in NAMED_DATA and place.is_dir() and folder.path.resolve().is_relative_to(place.resolve()):
        raise UsageError(
            f"--out {folder.path} lies inside the data, {data}, of which its pictures would become images; give a "
            "folder beside it."
        )


def freeze(config: Config, network: nn.Module | None) -> Encoder | None:
    """The frozen network whose features are trained on, on its device; None for an encoder trained from scratch."""
    if config.encoder != "pretrained":
        return None
    assert config.size is not None
    return frozen_encoder(open_backbone(None) if network is None else network, config.size).to(config.device)


def say_what_differs(asked: Config, resolved: Config) -> None:
    """Say in the log where more epochs are taken than asked for, or an extra is missing that photographs want."""
    preset = {(preset.widths, preset.members): preset.epochs for preset in PRESETS.values()}
    if asked.epochs < resolved.epochs and asked.epochs != preset.get((asked.widths, asked.members)):
        logger.warning(
            "--epochs %g becomes %g, since training takes at least %d steps.",
            *(asked.epochs, resolved.epochs, resolved.fewest_steps),
        )
    if asked.encoder is None and resolved.encoder == "fast" and (resolved.size or 0) >= PRETRAINED_SIZE:
        logger.warning(
            "training from scratch: a pretrained encoder does far better on few photographs; get one by %s.", EXTRA
        )


def with_precision(config: Config, train: ImageSet) -> Config:
    """The configuration with the precision that fits a training on these images, where it is "auto"."""
    if config.precision != "auto":
        return config
    if config.encoder == "pretrained":  # its features are in float32 anyway
        return replace(config, precision="fp32")
    trial = fresh_encoder(config, train, normalize=config.normalize)
    return replace(config, precision=choose_precision(trial, train.images[: min(PRECISION_IMAGES, config.batch_size)]))


def describe_data(dataset: Dataset, train: ImageSet, validation: ImageSet) -> dict[str, Any]:
    """What `run.json` and `results.json` say of the data. The fingerprint covers all parts."""
    parts = (train, validation, dataset.test)
    digest = hashlib.sha256("".join(part.fingerprint() for part in parts).encode()).hexdigest()
    return {
        "name": dataset.name,
        "fingerprint": digest,
        "classes": list(train.classes),
        "n_train": len(train),
        "n_validation": len(validation),
        "n_test": len(dataset.test),
        "size": dataset.size,
        "skipped": len(dataset.skipped),
        "skipped_files": list(dataset.skipped[:SHOWN_FILES]),
        "note": note_of(dataset.name),
    }


def note_of(name: str) -> str:
    """What has to stand beside the figures of a data set of this name, if anything."""
    return JPEG_NOTE if name.startswith("cifar10-jpeg") else ""


def find_duplicates(name: str, test: ImageSet, others: list[ImageSet]) -> dict[str, int]:
    """How many test images are among the others, as they are or nearly; said in the log where they matter."""
    found = count_duplicates(test.images, [part.images for part in others])
    if found["exact"] or found["near"] > NOTABLE_SHARE * len(test):
        logger.warning(
            "%s: %d of the %d test images are training images as well and %d more nearly so, so figures are too good; "
            "take them out of one part.",
            *(name, found["exact"], len(test), found["near"]),
        )
    return found


def choose_device(asked: str) -> str:
    """The device to work on: as asked if it is there, else a sentence; "auto" takes CUDA, else the CPU.

    MPS, on which nothing has been tried, is taken by name only.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if not present[asked]:
        raise UsageError(f"--device {asked} is not available to this PyTorch; use --device auto or cpu.")
    return asked


def repeating_command(verb: str, data: str | Path, out: Path, config: Config, seeds: int = 1) -> str:
    """The command line that asks for the same run; empty for what only Python can ask for."""
    options = (
        "epochs",
        "loss",
        "mining",
        "margin",
        "encoder",
        "size",
        "normalize",
        "flip",
        "class_weight",
        "seed",
        "precision",
        "device",
    )
    wanted = {name: getattr(config, name) for name in options}
    asked = [
        (preset, {name: value for name, value in wanted.items() if value != getattr(candidate, name)})
        for preset, candidate in PRESETS.items()
        if replace(candidate, **wanted) == config
    ]
    if not asked or config.loss == "custom":
        return ""
    preset, given = min(asked, key=lambda words: len(words[1]))
    words = ["tercet", verb, str(data), "--out", str(out), "--preset", preset]
    for name, value in given.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
    return shlex.join(words + (["--seeds", str(seeds)] if seeds > 1 else []))
