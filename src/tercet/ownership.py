"""One process at a time in a folder: a lock of the system's, beside it who holds it, for whoever comes second.

The system lets go of the lock when its process ends, however that ends; a record that a dead owner has left says so.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from tercet.errors import UsageError
from tercet.files import write_atomically

NAMES = {".lock", ".owner.json"}  # what an owned folder holds beside its own files


class Owner(NamedTuple):
    """A process by its number, the machine it runs on, and when it took the folder, in seconds since 1970."""

    process: int
    machine: str
    since: float

    def __str__(self) -> str:
        minutes = max(0.0, time.time() - self.since) / 60
        age = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
        return f"process {self.process} on {self.machine}, for {age}"


class Ownership:
    """The lock of one folder, from `take` to `release`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / ".lock")
        self._record = folder / ".owner.json"

    def take(self) -> Owner | None:
        """Become the owner; return the one before, if it ended without letting go.

        UsageError where another process owns the folder, OSError where it cannot be written.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            owner = self._recorded() or "another process"
            raise UsageError(
                f"{self.folder} is in use by {owner}; wait until it is done, or give another --out."
            ) from error
        before = self._recorded()
        now = Owner(os.getpid(), platform.node(), time.time())
        try:
            write_atomically(self._record, json.dumps(now._asdict()))
        except OSError:
            self._lock.release()
            raise
        return before

    def release(self) -> None:
        """Let go; nothing where the folder is not owned."""
        if self._lock.is_locked:
            with suppress(OSError):  # a disk that has become read-only; a record without its lock holds nobody up
                self._record.unlink(missing_ok=True)
            self._lock.release()

    def _recorded(self) -> Owner | None:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            return Owner(int(found["process"]), str(found["machine"]), float(found["since"]))
        except (OSError, ValueError, TypeError, LookupError):
            return None
