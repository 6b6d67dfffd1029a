"""Gallery: vectors and the file path of each, kept in a folder and searched there without being loaded.

`index.json` names two files of one generation, with their checksums: `vectors-N.npy`, float32 `[N, D]`, which is mapped
into memory, and `paths-N.sqlite`, the path of each row with size and time of change of its file. A change is made to a
copy, the next generation; so a crash at any moment leaves the old gallery or the new one, and who searches meanwhile
goes on in the one that was there. Knows nothing of images, and of the model only its path and fingerprint.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from numpy.typing import NDArray

from tercet.errors import ModelError
from tercet.files import make_folder, sync_folder
from tercet.geometry.neighbors import nearest
from tercet.inference.generations import (
    DESCRIPTION,
    LOCK,
    check_digests,
    check_new,
    damaged,
    describe,
    map_vectors,
    names,
    remove_unnamed,
    write_description,
    write_header,
)

TABLE = (
    "CREATE TABLE files (row INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, "
    "size INTEGER NOT NULL, changed_ns INTEGER NOT NULL)"
)
INSIDE = "path = :path OR substr(path, 1, length(:folder)) = :folder"  # not LIKE, for which % and _ mean something
INSIDE_HERE = "substr(path, 1, 1) != x'2f' AND substr(path, 1, 3) != x'2e2e2f'"  # neither /... nor ../...


class Stamp(NamedTuple):
    """What tells whether a file has changed: its bytes, and nanoseconds since 1970."""

    size: int
    changed_ns: int


class Match(NamedTuple):
    """A file that was found; the distance is the squared Euclidean one, smaller is nearer."""

    path: str
    distance: float


class Gallery:
    """Vectors by file path. A change is searched at once and made to last by `save`; `close` drops what was not saved.

    One process at a time can change a gallery; while it does, others search the one last saved.
    """

    def __init__(self, folder: Path, dimensions: int, *, model: str | None, fingerprint: str) -> None:
        """An empty gallery, of which nothing is written before the first change."""
        self.folder, self.dimensions, self.model, self.fingerprint = folder, dimensions, model, fingerprint
        self._generation = 0
        self._vectors: NDArray[np.float32] | None = np.empty((0, dimensions), np.float32)
        self._files = sqlite3.connect(":memory:")
        self._files.execute(TABLE)
        self._stream: BinaryIO | None = None  # the vectors of the next generation, while a change is under way
        self._lock = FileLock(folder / LOCK)

    @classmethod
    def create(cls, folder: Path, dimensions: int, *, model: str | None, fingerprint: str) -> Gallery:
        """A new gallery; ModelError where the folder holds something else."""
        check_new(folder)
        return cls(folder, dimensions, model=model, fingerprint=fingerprint)

    @classmethod
    def open(cls, folder: Path) -> Gallery:
        """The gallery as it was last saved; ModelError where there is none or it is damaged."""
        found = describe(folder)
        gallery = cls(folder, found["dimensions"], model=found["model"], fingerprint=found["fingerprint"])
        gallery._load()
        return gallery

    def __len__(self) -> int:
        return int(self._files.execute("SELECT coalesce(max(row) + 1, 0) FROM files").fetchone()[0])

    def stamp(self, path: str) -> Stamp | None:
        """What the file was like when its vector was made; None where it has none."""
        row = self._files.execute("SELECT size, changed_ns FROM files WHERE path = ?", (os.fsencode(path),)).fetchone()
        return Stamp(*row) if row else None

    def nearest(self, queries: Float[np.ndarray, "M D"], k: int) -> list[list[Match]]:
        """The k nearest files of each query, nearest first, by path where equally far; fewer where there are fewer."""
        vectors = self._mapped()
        _, rows = nearest(torch.from_numpy(queries), torch.from_numpy(vectors), k)
        found = []
        for query, places in zip(queries, rows.numpy(), strict=True):
            # Once more without the rounding of |x|^2 + |y|^2 - 2 x.y, so that equal vectors are 0 apart.
            distances = np.square(vectors[places] - query).sum(1).tolist()
            matches = [Match(self._path(row), far) for row, far in zip(places.tolist(), distances, strict=True)]
            found.append(sorted(matches, key=lambda match: (match.distance, match.path)))
        return found

    def put(self, files: Sequence[tuple[str, Stamp]], vectors: Float[np.ndarray, "B D"]) -> int:
        """Keep the vector of each file, in place of the one it may have; return how many files are new."""
        with self._changing() as stream, self._files:
            before = count = len(self)
            for (path, stamp), vector in zip(files, vectors, strict=True):
                name = os.fsencode(path)
                known = self._files.execute("SELECT row FROM files WHERE path = ?", (name,)).fetchone()
                row = known[0] if known else count
                stream.seek(self._place(row))
                stream.write(vector.astype("<f4").tobytes())
                self._files.execute("REPLACE INTO files VALUES (?, ?, ?, ?)", (row, name, *stamp))
                count += not known
        return count - before

    def remove(self, path: str) -> int:
        """Forget a file, or all that lie in a folder; return how many those were. Neither need be on the disk."""
        name = str(Path(path))
        where = INSIDE_HERE if name == os.curdir else INSIDE
        asked = {"path": os.fsencode(name), "folder": os.fsencode(os.path.join(name, ""))}  # noqa: PTH118
        with self._changing() as stream, self._files:
            found = self._files.execute(f"SELECT row FROM files WHERE {where} ORDER BY row DESC", asked)
            rows, last = [row for (row,) in found], len(self)
            for row in rows:  # from the end, so that the last row is one that stays and can fill the gap
                last -= 1
                self._files.execute("DELETE FROM files WHERE row = ?", (row,))
                if row != last:
                    stream.seek(self._place(last))
                    vector = stream.read(4 * self.dimensions)
                    stream.seek(self._place(row))
                    stream.write(vector)
                    self._files.execute("UPDATE files SET row = ? WHERE row = ?", (row, last))
        return len(rows)

    def save(self) -> None:
        """Make the changes last; an empty gallery can be saved too, and without changes nothing is written."""
        if self._generation and not self._stream and self.model == describe(self.folder)["model"]:
            return
        with self._changing() as stream:
            vectors, paths = names(self._generation + 1)
            found = {"model": self.model, "fingerprint": self.fingerprint, "dimensions": self.dimensions}
            found |= {"count": len(self), "vectors": vectors, "paths": paths}
            write_header(stream, len(self), self.dimensions)
            stream.truncate(self._place(len(self)))
            os.fsync(stream.fileno())
            self._files.close()
            with (self.folder / paths).open("rb+") as written:
                os.fsync(written.fileno())
            sync_folder(self.folder)  # what is named must be there before its name
            write_description(self.folder, **found)
            self._generation += 1
        self._end()
        self._load()

    def close(self) -> None:
        """Let the files go; what was not saved is dropped."""
        self._files.close()
        self._vectors = None
        self._end()

    def _path(self, row: int) -> str:
        return os.fsdecode(self._files.execute("SELECT path FROM files WHERE row = ?", (row,)).fetchone()[0])

    def _place(self, row: int) -> int:
        """Where a row begins in the next generation's vectors, in bytes."""
        return self._first + 4 * self.dimensions * row

    def _mapped(self) -> NDArray[np.float32]:
        if self._vectors is None:
            if self._stream:
                write_header(self._stream, len(self), self.dimensions)
            self._vectors = map_vectors(self.folder / names(self._generation + bool(self._stream))[0])
        return self._vectors

    def _load(self) -> None:
        """Open the generation that counts. Where it goes away as it is opened, there is a newer one."""
        while True:
            found = describe(self.folder)
            if (found["dimensions"], found["fingerprint"]) != (self.dimensions, self.fingerprint):
                raise ModelError(f"{self.folder} was made anew by another model meanwhile; open it again.")
            try:
                if found["generation"] != self._generation:  # else it was checked, or written just now
                    check_digests(self.folder, found["digests"])
                vectors = map_vectors(self.folder / found["vectors"])
                location = (self.folder / found["paths"]).absolute().as_uri()
                files = sqlite3.connect(f"{location}?mode=ro&immutable=1", uri=True)
                self._files.close()
                self._files, self._vectors, self._generation = files, vectors, found["generation"]
                if not (vectors.shape == (found["count"], self.dimensions) and len(self) == found["count"]):
                    raise ValueError("counts differ")
                return
            except (OSError, ValueError, EOFError, sqlite3.Error) as error:
                if describe(self.folder) == found:
                    raise damaged(self.folder, error) from error

    @contextmanager
    def _changing(self) -> Iterator[BinaryIO]:
        """The vectors of the next generation, to be changed; begun as a copy of what is there."""
        try:
            stream = self._stream or self._begin()
            self._vectors = None
            yield stream
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(f"{self.folder} cannot be written ({reason}); make room or give another path.") from error

    def _begin(self) -> BinaryIO:
        """Copy what is there to the next generation, and hold the lock until its end."""
        make_folder(self.folder)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ModelError(f"another process is changing {self.folder}; wait until it is done.") from None
        try:
            if (self.folder / DESCRIPTION).exists():
                self._load()  # another process may have saved since
            remove_unnamed(self.folder)
            vectors, paths = (self.folder / name for name in names(self._generation + 1))
            files = sqlite3.connect(paths)
            self._files.backup(files)
            files.execute("PRAGMA journal_mode = MEMORY")  # after a crash the generation counts for nothing anyway
            files.execute("PRAGMA synchronous = OFF")
            stream = vectors.open("w+b")
            self._first = write_header(stream, len(self), self.dimensions)
            self._mapped().tofile(stream)
        except BaseException:
            self._lock.release()
            raise
        self._files.close()
        self._files, self._stream = files, stream
        return stream

    def _end(self) -> None:
        if self._stream:
            with suppress(OSError):  # a full disk refuses what was not written yet, and that is dropped
                self._stream.close()
            self._stream = None
            remove_unnamed(self.folder)
            self._lock.release()
