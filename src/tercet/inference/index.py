"""Index: one's own images by what a model sees in them, to be searched by image.

    with Index.create("photos.index", "runs/photos") as index:
        index.add(["photos/"])
        index.save()
    with Index.open("photos.index") as index:
        for path, distance in index.query(["new.jpg"], k=5)[0]:
            ...

Paths are kept as they are given, and each has one vector. Images are read and embedded a few hundred at a time, and the
vectors lie on the disk, so that a million files need no more memory than a thousand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from tercet.config import DEFAULT_MODEL
from tercet.errors import DataError, ModelError, UsageError
from tercet.files import EMPTY_PATH
from tercet.inference.gallery import Gallery, Match, Stamp
from tercet.inference.generations import DESCRIPTION
from tercet.inference.images import image_paths, readable_images
from tercet.model.bundle import SHIPPED, Bundle, load_bundle
from tercet.model.pretrained import weights_digest

NO_STAMP = Stamp(-1, -1)  # of a file that is not there; it is reported as it is read

OnProgress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass
class Changes:
    """How many files were added, had their vector replaced, had not changed, were removed, or could not be.

    `failed` counts files that could not be read and those to remove that were not there; each is logged.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0


class Index:
    """Images by their embedding: a Gallery together with the Bundle that embeds.

    Changes are searched at once and made to last by `save`; leaving `with` drops what was not saved.
    """

    def __init__(self, gallery: Gallery, bundle: Bundle) -> None:
        self.gallery, self.bundle = gallery, bundle

    @classmethod
    def create(cls, folder: str | Path, model: Bundle | str | Path) -> Index:
        """A new index in a new or empty folder. It remembers the path of its model, where given as such."""
        bundle, path = _load_model(model)
        dimensions = int(bundle.settings["dimensions"])
        return cls(Gallery.create(Path(folder), dimensions, model=path, fingerprint=fingerprint(bundle)), bundle)

    @classmethod
    def open(cls, folder: str | Path, model: Bundle | str | Path | None = None) -> Index:
        """An index as it was saved, with the model that it remembers or that model from elsewhere.

        ModelError for any other model, since its embeddings lie in another space.
        """
        gallery = Gallery.open(Path(folder))
        if not model:
            model = gallery.model
            if model is None:
                raise ModelError(f"{folder} does not know where its model lies; name it.")
            if model not in SHIPPED and not Path(model).exists():
                raise ModelError(
                    f"{folder} was made by the model in {model}, which is not there; give its new place: --model."
                )
        bundle, path = _load_model(model)
        if fingerprint(bundle) != gallery.fingerprint:
            raise ModelError(
                f"{folder} was made by another model than {path or 'the one given'}; give the one it was made by, "
                "or make a new index."
            )
        gallery.model = path or gallery.model
        return cls(gallery, bundle)

    def __len__(self) -> int:
        return len(self.gallery)

    def add(self, paths: Iterable[str | Path], on_progress: OnProgress | None = None) -> Changes:
        """Embed what `image_paths` finds that is new or has changed since; the rest is left as it is.

        A file that cannot be read is logged and counted, and a vector that it had is kept. `on_progress(done, total)`
        is called after each few hundred files.
        """
        changes = Changes()
        names = _listed(paths)
        if "-" in names:
            names = [*image_paths(names)]  # the standard input can be read once only
        total, done = sum(1 for _ in image_paths(names)) if on_progress else 0, 0
        stamps: dict[str, Stamp] = {}  # of the files that are being read
        tell = partial(self._unreadable, stamps, changes)
        for chunk, pixels in readable_images(self._changed(names, stamps, changes), self.bundle.side, tell):
            new = self.gallery.put([(name, stamps.pop(name)) for name in chunk], self.bundle.embed(pixels))
            changes.added += new
            changes.replaced += len(chunk) - new
            if on_progress:
                done = min(changes.added + changes.replaced + changes.unchanged + changes.failed, total)
                on_progress(done, total)
        if on_progress and done < total:
            on_progress(total, total)
        return changes

    def remove(self, paths: Iterable[str | Path]) -> Changes:
        """Take out files, and all in folders, on the disk or not; what is not in the index is logged and counted."""
        changes = Changes()
        for path in _listed(paths):
            removed = self.gallery.remove(path)
            changes.removed += removed
            if not removed:
                logger.error("tercet: %s: not in the index", path)
                changes.failed += 1
        return changes

    def query(self, images: Any, k: int = 10) -> list[list[Match]]:
        """For each image, of any kind that `Bundle.embed` takes, the k nearest as (path, squared distance)."""
        if k < 1:
            raise UsageError(f"-k is {k}; expected 1 or more.")
        return self.gallery.nearest(self.bundle.embed(images), k) if len(images) else []

    def save(self) -> None:
        """Make the changes last: a crash before leaves the index as it was."""
        self.gallery.save()

    def close(self) -> None:
        """Let the files go; what was not saved is dropped."""
        self.gallery.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _changed(self, names: Sequence[str], stamps: dict[str, Stamp], changes: Changes) -> Iterator[str]:
        """The files to be read, each once at a time; a path is kept in its shortest form, as `remove` asks for it."""
        for name in map(str, map(Path, image_paths(names))):
            stamp = _stamp(name)
            if name in stamps or stamp == self.gallery.stamp(name):
                changes.unchanged += 1
            else:
                stamps[name] = stamp
                yield name

    def _unreadable(self, stamps: dict[str, Stamp], changes: Changes, name: str, reason: str) -> None:
        logger.error("tercet: %s: %s", name, reason)
        del stamps[name]
        changes.failed += 1


def update(
    folder: str,
    model: str | None,
    *,
    add: Sequence[str],
    remove: Sequence[str],
    on_progress: OnProgress | None = None,
) -> tuple[Changes, int]:
    """Bring an index up to date, or make it: what has changed, and how many files there are now.

    Interrupted, it keeps what it has embedded, so that the same call goes on where this one stopped.
    """
    is_new = not (Path(folder) / DESCRIPTION).exists()
    if is_new and not add:
        raise UsageError(f"there is no index in {folder} yet; to make it, name the images.")
    if not (add or remove):
        raise UsageError("found nothing to do; name image files or folders to add, or some to --remove.")
    with Index.create(folder, model or DEFAULT_MODEL) if is_new else Index.open(folder, model) as index:
        try:
            changes = index.add(add, on_progress)
        except BaseException as interruption:
            if len(index) and not isinstance(interruption, Exception):  # Ctrl-C, or a request from outside to end
                index.save()
            raise
        if is_new and not len(index):
            raise DataError(f"found no readable image in {', '.join(add)}; expected image files or folders of them.")
        removed = index.remove(remove)  # last, so that `photos --remove photos/private` says what it looks like
        index.save()
        changes.removed, changes.failed = removed.removed, changes.failed + removed.failed
        return changes, len(index)


def fingerprint(bundle: Bundle) -> str:
    """Tells models apart by what makes their embeddings: the encoder, not the head that reads classes off them."""
    settings = {name: value for name, value in bundle.settings.items() if name != "hidden"}
    return hashlib.sha256(json.dumps([settings, weights_digest(bundle.encoder)], sort_keys=True).encode()).hexdigest()


def _listed(paths: Iterable[str | Path]) -> list[str]:
    """The paths as text; UsageError for a path by itself, whose letters would be taken for paths, and an empty one."""
    if isinstance(paths, str | Path):
        raise UsageError(f"found the path {str(paths)!r}; expected a list of paths: [{str(paths)!r}].")
    names = [*map(str, paths)]
    if "" in names:
        raise UsageError(EMPTY_PATH)
    return names


def _stamp(name: str) -> Stamp:
    try:
        status = Path(name).stat()
    except (OSError, ValueError):  # the latter for what no name can hold
        return NO_STAMP
    return Stamp(status.st_size, status.st_mtime_ns)


def _load_model(model: Bundle | str | Path) -> tuple[Bundle, str | None]:
    """The Bundle, and the text by which `load_bundle` finds it again."""
    if isinstance(model, Bundle):
        return model, None
    is_folder_of_shipped_name = isinstance(model, Path) and str(model) in SHIPPED
    found = os.path.expanduser(model)  # noqa: PTH111 - a Path would drop ./, which tells a folder from what is shipped
    return load_bundle(model), f"./{model}" if is_folder_of_shipped_name else found
