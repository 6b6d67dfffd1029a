"""What a loss of power may leave of a folder: records what a process does there and replays every legal crash state.

The model is pessimistic. What was written to a file lasts from its fsync on; until then it may be there, missing, half
there, or half there and zeros from then on. What happened to the entries of a folder (creations, removals, renames)
lasts from the fsync of that folder on; until then each may have happened or not, whatever the others did. A rename
inside one folder happens as a whole. A file's fsync says nothing about its entry.
The disk is looked at as a whole before each call that matters, so that whoever writes, Python, SQLite or safetensors,
is seen; an fsync outside of Python is not, which makes the model more pessimistic still.
Reference: Pillai et al., All file systems are not created equal, OSDI 2014.
"""

import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

CALLS = ("fsync", "mkdir", "remove", "rename", "replace", "rmdir", "unlink")
MOST = 256  # crash states of one moment: all where there are no more, else the two extremes and as many drawn by lot
ROOT = 0

Entry = tuple[int, str]  # the number of a folder, and a name in it
Change = dict[Entry, int | None]  # entries and what they lead to from now on: one that happens as a whole
Tree = dict[str, bytes | None]  # relative paths and contents; None for a folder


class Moment(NamedTuple):
    """The folder as programs see it before a call."""

    entries: dict[Entry, int]
    contents: dict[int, bytes]  # of the files
    synced: int | None  # the file or folder whose fsync is the call
    notes: tuple[str, ...]


class Crash(NamedTuple):
    """What may be on the disk when the power comes back, and the notes that had been taken before it went."""

    tree: Tree
    notes: tuple[str, ...]

    def write(self, folder: Path) -> Path:
        """Put it into a new folder."""
        folder.mkdir(parents=True)
        for path, content in self.tree.items():  # a folder comes before what is in it
            if content is None:
                (folder / path).mkdir()
            else:
                (folder / path).write_bytes(content)
        return folder


class History:
    """The moments of a folder while it was recorded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.moments: list[Moment] = []
        self.notes: tuple[str, ...] = ()
        self._known: dict[tuple[int, int], tuple[int, int]] = {}  # device and inode -> own number, descriptor
        self._count = ROOT

    def note(self, text: str) -> None:
        """Remember that this is true from now on, as that a function has returned."""
        self.notes += (text,)
        self.look()

    def look(self, descriptor: int | None = None) -> None:
        """Take a moment, before the fsync of `descriptor` if one is given."""
        entries: dict[Entry, int] = {}
        contents: dict[int, bytes] = {}
        present = {self._identity(self.root.stat()): ROOT}
        folders = [(ROOT, self.root)]
        while folders:
            number, folder = folders.pop()
            for path in sorted(folder.iterdir()):
                inode = self._number(path)
                present[self._identity(path.stat())] = entries[number, path.name] = inode
                if path.is_dir():
                    folders.append((inode, path))
                else:
                    contents[inode] = path.read_bytes()
        for identity in self._known.keys() - present.keys():
            os.close(self._known.pop(identity)[1])
        synced = present.get(self._identity(os.fstat(descriptor))) if descriptor is not None else None
        self.moments.append(Moment(entries, contents, synced, self.notes))

    def without(self, kind: str) -> "History":
        """The history of one that had left out each fsync of "files" or of "folders": for negative controls."""
        copy = History(self.root)
        for moment in self.moments:
            is_file = moment.synced in moment.contents
            copy.moments.append(moment._replace(synced=None) if is_file == (kind == "files") else moment)
        return copy

    def crashes(self, most: int = MOST) -> Iterator[Crash]:
        """Each state that the power may leave when it goes between two moments, once."""
        entries: Change = dict(self.moments[0].entries)  # what lasts
        contents = dict(self.moments[0].contents)
        pending: list[Change] = []
        files, seen = set(contents), set()
        generator = random.Random(0)
        for before, now in itertools.pairwise(self.moments):
            if before.synced in before.contents:
                contents[before.synced] = before.contents[before.synced]
            elif before.synced is not None:
                for change in pending:
                    entries |= {entry: change.pop(entry) for entry in list(change) if entry[0] == before.synced}
            pending = [change for change in [*pending, *changes(before.entries, now.entries)] if change]
            dirty = [number for number, content in now.contents.items() if content != contents.get(number)]
            choices: list[tuple] = [(False, True)] * len(pending)
            choices += [variants(contents.get(number, b""), now.contents[number]) for number in dirty]
            files |= now.contents.keys()
            for choice in picks(choices, most, generator):
                found = dict(entries)
                for change, happened in zip(pending, choice, strict=False):
                    found |= change if happened else {}
                held = contents | dict(zip(dirty, choice[len(pending) :], strict=True))
                tree = tree_of(found, held, files)
                key = hash((now.notes, tuple(tree.items())))
                if key not in seen:
                    seen.add(key)
                    yield Crash(tree, now.notes)

    def close(self) -> None:
        for _, descriptor in self._known.values():
            os.close(descriptor)
        self._known.clear()

    def _number(self, path: Path) -> int:
        """A number of its own for each file and folder; held open, so that the system gives its inode to no other."""
        identity = self._identity(path.stat())
        if identity not in self._known:
            self._count += 1
            self._known[identity] = self._count, os.open(path, os.O_RDONLY)
        return self._known[identity][0]

    @staticmethod
    def _identity(status: os.stat_result) -> tuple[int, int]:
        return status.st_dev, status.st_ino


@contextmanager
def recording(folder: Path) -> Iterator[History]:
    """Record what this process does to everything below `folder`, which must be there."""
    history = History(folder)

    def watched(name: str) -> Callable:
        call = getattr(os, name)

        def look_and_call(*arguments, **options):
            history.look(arguments[0] if name == "fsync" else None)
            return call(*arguments, **options)

        return look_and_call

    history.look()
    try:
        with mock.patch.multiple(os, **{name: watched(name) for name in CALLS}):
            yield history
        history.look()
    finally:
        history.close()


def changes(before: dict[Entry, int], after: dict[Entry, int]) -> list[Change]:
    """What turns the entries of one moment into those of the next."""
    gone = {number: entry for entry, number in before.items() if after.get(entry) != number}
    found: list[Change] = []
    for entry, number in after.items():
        if before.get(entry) != number:
            old = gone.get(number)
            is_renamed = old is not None and old[0] == entry[0]  # from another folder: two changes
            found.append({old: None, entry: number} if is_renamed else {entry: number})
    changed = {entry for change in found for entry in change}
    found.sort(key=len, reverse=True)  # renames first, for what is new may bear the old name of what was renamed
    return found + [{entry: None} for entry in gone.values() if entry not in changed]


def variants(old: bytes, new: bytes) -> tuple[bytes, ...]:
    """What a file may hold that was `old` at its last fsync and is `new`."""
    half = new[: len(new) // 2]
    return tuple(dict.fromkeys([old, b"", half, half.ljust(len(new), b"\0"), new]))


def picks(choices: list[tuple], most: int, generator: random.Random) -> Iterator[tuple]:
    """One of each, in every combination; where those are more than `most`, some."""
    if math.prod(map(len, choices)) <= most:
        yield from itertools.product(*choices)
        return
    yield tuple(choice[0] for choice in choices)
    yield tuple(choice[-1] for choice in choices)
    for _ in range(most):
        yield tuple(map(generator.choice, choices))


def tree_of(entries: Change, contents: dict[int, bytes], files: set[int]) -> Tree:
    """What can be reached from the root."""
    inside: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), number in sorted(entries.items()):
        if number is not None:
            inside.setdefault(folder, []).append((name, number))
    tree: Tree = {}
    folders = [(ROOT, "")]
    while folders:
        folder, path = folders.pop()
        for name, number in inside.get(folder, []):
            tree[path + name] = contents.get(number, b"") if number in files else None
            if number not in files:
                folders.append((number, f"{path}{name}/"))
    return tree


def drawn(crashes: Iterator[Crash], count: int | None) -> list[Crash]:
    """That many of them by lot, always the same; all for None."""
    found = list(crashes)
    return found if count is None or count >= len(found) else random.Random(1).sample(found, count)
