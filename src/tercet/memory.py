"""What memory there is to take, and what becomes of it when it is freed.

Work whose need is known beforehand asks for it by `require_memory` before it begins: the system ends a process that
takes too much, without a word. Knows nothing of what is kept in memory.

By default glibc, the allocator of most Linux systems, hands large blocks back to the system as they are freed. A
training step frees and asks again for hundreds of megabytes, each page of which the system must then clear.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from tercet.errors import DataError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # their numbers in glibc's malloc.h
BESIDE = 50 * 10**6  # bytes that come and go with any work, and count for nothing but in small ones; measured
LARGEST_KEPT = 32 * 2**20  # bytes of a block: the most that glibc takes. Beyond, blocks go back to the system


def require_memory(needed: int, found: str, advise: Callable[[int], str]) -> None:
    """DataError where `needed` bytes are more than are free; the sentence ends in what `advise` makes of those."""
    free = max(0, free_memory() - BESIDE)
    if needed > free:
        raise DataError(
            f"found {found}, which take about {in_words(needed)} where {in_words(free)} are free; {advise(free)}."
        )


def free_memory() -> int:
    """Bytes that this process can still take: without swapping, and within the limits of its containers and its own."""
    available: int = psutil.virtual_memory().available
    return max(0, min([available, *_left_to_containers(Path("/")), *_left_by_own_limit()]))


def peak_memory_bytes() -> int | None:
    """The most memory this process has held, where the system tells."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, where the figure that `resource` gives begins at what the parent held
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others kilobytes


class ControlGroup(NamedTuple):
    """Where the system tells what a group of processes may take; containers are limited by such groups."""

    root: str
    limit: str
    taken: str
    cached: tuple[str, str]  # of what is taken, contents of files, which the system gives up where memory is short


# By controller, as /proc/self/cgroup names it: "" is version 2, "memory" version 1.
CONTROL_GROUPS = {
    "": ControlGroup("sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")),
    "memory": ControlGroup(
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def _left_to_containers(system: Path) -> Iterator[int]:
    """What each group around this process may still take, of those that are limited."""
    try:
        memberships = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for membership in memberships:
        _, controllers, place = membership.split(":", 2)
        for controller in CONTROL_GROUPS.keys() & set(controllers.split(",")):
            group = CONTROL_GROUPS[controller]
            top = system / group.root
            innermost = top / place.lstrip("/")  # inside a container often not there, unlike the groups above
            for folder in (innermost, *innermost.parents):
                if folder.is_relative_to(top) and (left := _left_to_group(folder, group)) is not None:
                    yield left


def _left_to_group(folder: Path, group: ControlGroup) -> int | None:
    try:
        limit, taken = (int((folder / name).read_text()) for name in (group.limit, group.taken))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - taken + sum(int(statistics[name]) for name in group.cached)
    except (OSError, ValueError, KeyError):  # not there, or of version 2 the word "max": no limit
        return None


def _left_by_own_limit() -> Iterator[int]:
    """What `ulimit -v` leaves, which counts addresses."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def in_words(count: int) -> str:
    """A number of bytes to read.

    >>> in_words(740_000_000), in_words(1_250_000_000), in_words(41_000_000_000)
    ('740 MB', '1.2 GB', '41 GB')
    """
    if count < 10**9:
        return f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:,.1f} GB" if count < 10**10 else f"{count / 1e9:,.0f} GB"


def keep_freed_memory() -> bool:
    """Keep freed blocks of up to 32 MB for the next to come, in the whole process; False where that cannot be had.

    A training step gets faster by a sixth for 3 % more memory: docs/log.md, 2026-11-24. No result changes.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(TRIM_THRESHOLD, -1))  # -1: never trim
