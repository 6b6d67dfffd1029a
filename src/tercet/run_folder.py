"""The run folder: who it belongs to, what is in it, and whether work may go on there.

A folder belongs to one configuration and one data set, both in `run.json`, and at a time to one process. The same again
resumes; another is refused by the name of the first difference; only a run folder is ever replaced.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from tercet.config import LATER, Config
from tercet.errors import DataError, UsageError
from tercet.files import at_home, is_unfinished, make_folder, remove_unfinished, sync_folder, write_atomically
from tercet.ownership import NAMES as OWNERS_FILES
from tercet.ownership import Ownership

# What runs write, and all that --overwrite takes away.
OWN_NAMES = {"run.json", "history.jsonl", "results.json", "predictions.csv", "model", "embeddings.npz", "tsne.npz"}
OWN_NAMES |= {"thumbnails.webp", "examples.npz", "examples.webp", "train_images.csv", "train_thumbnails.webp"}
OWN_NAMES |= {"figures", "report.html", "README.md", "checkpoints"}
LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}  # in any folder that somebody has looked at
SEED = re.compile(r"seed-\d+")
PROMISED_ON = ("processor", "instructions", "threads", "torch", "gpu")

logger = logging.getLogger(__name__)


class RunFolder:
    """Paths inside a run folder and the reading and writing of `run.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = at_home(path)
        self._record = self.path / "run.json"
        self._ownership = Ownership(self.path)
        self.model = self.path / "model"
        self.results = self.path / "results.json"
        self.predictions = self.path / "predictions.csv"
        self.history = self.path / "history.jsonl"
        self.projection = self.path / "tsne.npz"
        self.embeddings = self.path / "embeddings.npz"
        self.checkpoints = self.path / "checkpoints"  # while the run is under way

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ownership.release()

    def claim(self, asked: Mapping[str, Any], fingerprint: str | None, *, overwrite: bool) -> dict[str, Any] | None:
        """Make the folder this run's own: its `run.json` if the same run was begun here, else None for a fresh start.

        `asked` are the settings as given, `fingerprint` that of the data. Until the end of the `with` block no other
        process gets the folder. Raises UsageError where it holds something else or another process has it, DataError
        where it cannot be written.
        """
        self.refuse_other_files(overwrite=overwrite)
        try:
            make_folder(self.path)
            before = self._ownership.take()
        except OSError as error:
            raise DataError(f"--out {self.path} cannot be written ({error.strerror}); give another --out.") from error
        self.refuse_other_files(overwrite=overwrite)  # which another process may have written in between
        if not self._record.is_file():
            return None
        if overwrite:
            self._clear()
            return None
        begun = self._same(asked, fingerprint)
        remove_unfinished(self.path)
        if before:
            logger.warning("%s: process %d on %s ended without finishing", self.path, before.process, before.machine)
        return begun

    def refuse_other_files(self, *, overwrite: bool) -> None:
        """Raise UsageError where the place holds files but no run, or what `overwrite` would remove is not a run's."""
        if (self.path.exists() or self.path.is_symlink()) and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is no folder; expected a new, empty or run folder.")
        if not self.path.is_dir():
            return
        names = {path.name for path in self.path.iterdir() if not is_unfinished(path)} - OWNERS_FILES - LEFT_BY_SYSTEMS
        if names and not self._record.is_file():
            raise UsageError(
                f"--out {self.path} is a folder with other files in it; expected a new, empty or run folder."
            )
        others = sorted(name for name in names - OWN_NAMES if not SEED.fullmatch(name))
        if overwrite and others:  # the data themselves, perhaps
            raise UsageError(
                f"--out {self.path} holds {others[0]!r}, which no run writes and --overwrite would remove; move it "
                "elsewhere, or give another --out."
            )

    def _clear(self) -> None:
        """Remove all but what says whose the folder is: first what says that the run is finished, `run.json` last.

        So, cut short, it is an unfinished run folder.
        """
        for finished in (self.results, self.model if self.model.is_symlink() else self.model / "config.json"):
            finished.unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():  # of a link the place it leads to stays as it is
                shutil.rmtree(path)
            elif path != self._record and path.name not in OWNERS_FILES:
                path.unlink()
        sync_folder(self.path)  # or a loss of power might bring back all but `run.json`
        self._record.unlink()

    def _same(self, asked: Mapping[str, Any], fingerprint: str | None) -> dict[str, Any]:
        begun = read_json(self._record)
        kinds = {"asked": dict} | (
            {"data": dict, "config": dict, "precision": str, "machine": dict} if fingerprint else {}
        )
        if strange := [name for name, kind in kinds.items() if not isinstance(begun.get(name), kind)]:
            raise _damaged(self._record, f"no {strange[0]!r} of the right kind")
        # The data last: with another seed they are split in another way.
        wanted: dict[str, Any] = {**LATER, **json.loads(json.dumps(asked)), "data": fingerprint}
        found = {**LATER, **begun["asked"], "data": begun["data"].get("fingerprint") if fingerprint else None}
        for key in sorted(wanted.keys() | found.keys(), key=lambda key: (key == "data", key)):
            if found.get(key) != wanted.get(key):
                difference = (
                    f"on other images, those of {begun['data'].get('name')!r} as they were when it began"
                    if key == "data"
                    else f"with {key} {found.get(key)!r} where this one has {wanted.get(key)!r}"
                )
                raise UsageError(
                    f"--out {self.path} holds a run {difference}; give another --out, or --overwrite to replace it."
                )
        warn_of_another_machine(begun.get("machine", {}))
        return begun

    def describe(self, asked: Mapping[str, Any], resolved: Config, data: Mapping[str, Any], command: str) -> None:
        """Write `run.json`, the record of what is run, on what and where."""
        record = {
            "tercet": version("tercet"),
            "command": command,
            "asked": dict(asked),
            "config": asdict(resolved),
            "precision": resolved.precision,
            "seed": resolved.seed,
            "machine": machine(),
            "data": dict(data),
            "commit": commit(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.write_json("run.json", record)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file of the folder."""
        write_atomically(self.path / name, json.dumps(value, indent=2) + "\n")

    def write_history(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write `history.jsonl` anew, one record a line."""
        write_atomically(self.history, "".join(json.dumps(record) + "\n" for record in records))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; UsageError where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(value, dict):
        raise _damaged(path, "no JSON object")
    return value


def _damaged(path: Path, reason: object) -> UsageError:
    return UsageError(f"{path} is damaged ({reason}); use another --out, or --overwrite.")


def machine() -> dict[str, Any]:
    """What the promise "same seed, same bytes" depends on, and what a time means."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # one processor's name may stand for several
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def warn_of_another_machine(begun: Mapping[str, Any]) -> None:
    """Say in the log that a run goes on where the promise "same seed, same bytes" does not hold."""
    here = machine()
    if changed := [name for name in PROMISED_ON if name in begun and begun[name] != here[name]]:
        logger.warning(
            "the run was begun with %s; its result may differ in the last digits from one without interruption.",
            ", ".join(f"{name} {begun[name]} where there is {here[name]} now" for name in changed),
        )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the source tree that tercet runs from, with "-dirty" after local changes; None without one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    except OSError:  # no git here
        return None
