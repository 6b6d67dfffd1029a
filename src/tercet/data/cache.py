"""Decoded folders and archives kept on disk, so that they are decoded once.

One safetensors file for each content and size. A cache may be lost at any time: whatever is wrong with a file here, the
images are read anew. Knows nothing of how they are read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

import PIL
import platformdirs
from safetensors import safe_open
from safetensors.torch import save_file

from tercet.data.archive import list_folder
from tercet.data.folder import Reading
from tercet.data.imageset import ImageSet
from tercet.files import at_home, remove_unfinished
from tercet.memory import in_words, require_memory

FORMAT_VERSION = 2  # raise it when the same files would give other pixels, classes or paths
UNFINISHED = (".images-*.part", ".features-*.part")  # in a folder that need not be tercet's alone
FORGOTTEN_SECONDS = 24 * 60 * 60.0  # after which nobody is writing an unfinished file any more: a guess

logger = logging.getLogger(__name__)


def cache_file(source: Path, size: int | None) -> Path:
    """Where the reading of `source` for networks of `size` is kept; another content has another file."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {PIL.__version__} {size}".encode())  # decoders differ by a level or so
    if source.is_dir():
        digest.update(b"folder")
        digest.update(os.fsencode(source.resolve()))
        for path, file in list_folder(source):
            digest.update(repr((path, _file_state(file))).encode())
    else:
        with source.open("rb") as stream:
            digest.update(b"archive")
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return cache_folder() / f"images-{digest.hexdigest()}.safetensors"


def cache_folder() -> Path:
    """The folder of everything that can be made again; it need not be there."""
    return at_home(os.environ.get("TERCET_CACHE") or platformdirs.user_cache_dir("tercet"))


def _file_state(file: Path) -> tuple[int, int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns  # ctime: a file made readable is another file


def load(file: Path) -> Reading | None:
    """The reading kept in `file`, or None where there is none or it is damaged; DataError where it has no room."""
    if not file.is_file():
        return None
    held = file.stat().st_size
    require_memory(2 * held, f"images of {in_words(held)}", lambda _: "give a smaller --size or fewer images")
    try:
        with safe_open(file, framework="pt") as kept:
            about = json.loads(kept.metadata()["tercet"])
            parts = {
                part: ImageSet(
                    images=kept.get_tensor(f"{part}.images"),
                    labels=kept.get_tensor(f"{part}.labels"),
                    classes=tuple(about["classes"]),
                    paths=tuple(paths),
                )
                for part, paths in about["paths"].items()
            }
        if {part: images.fingerprint() for part, images in parts.items()} != about["fingerprints"]:
            raise ValueError("the fingerprint differs")
        return Reading(parts, about["size"], tuple(about["skipped"]))
    except Exception as error:  # damage can show in any of these steps
        logger.info("the cache file %s is damaged (%s) and will be made anew", file, error)
        return None


def save(file: Path, reading: Reading) -> None:
    """Keep a reading in `file`: complete or not at all, and no more than a warning if it cannot be kept."""
    about = {
        "classes": next(iter(reading.parts.values())).classes,
        "paths": {part: images.paths for part, images in reading.parts.items()},
        "fingerprints": {part: images.fingerprint() for part, images in reading.parts.items()},
        "size": reading.size,
        "skipped": reading.skipped,
    }
    tensors = {f"{part}.images": images.images for part, images in reading.parts.items()}
    tensors |= {f"{part}.labels": images.labels for part, images in reading.parts.items()}
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(file.parent, UNFINISHED, older=FORGOTTEN_SECONDS)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        save_file(tensors, temporary, {"tercet": json.dumps(about)})
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(file)
    except Exception as error:  # safetensors has an error of its own for a full disk
        logger.warning("the images are not kept in the cache %s (%s); they will be decoded again", file.parent, error)
        if temporary:
            temporary.unlink(missing_ok=True)
