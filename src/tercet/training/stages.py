"""What the finished stages of a run gave, kept until the run is finished, so that one that goes on repeats none.

One sealed safetensors file a stage, with the key of the run it belongs to; a damaged or foreign one is made again.
Knows nothing of what the stages do.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors.torch import load, save
from torch import Tensor

from tercet.files import SealError, make_folder, read_sealed, write_sealed
from tercet.untrusted import read_header

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Product(NamedTuple):
    """What a stage gives: tensors by name, and a record that JSON can hold."""

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Stages:
    """Where the products are kept; a folder of None keeps nothing."""

    folder: Path | None = None
    key: str = ""

    def once(self, name: str, make: Callable[[], Product]) -> Product:
        """What `make` gives, or gave when the run came here before."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.sealed"
        if kept := self._read(path):
            return kept
        product = make()
        make_folder(self.folder)
        tensors = {name: tensor.contiguous() for name, tensor in product.tensors.items()}
        write_sealed(path, save(tensors, {"key": self.key, "record": json.dumps(product.record)}))
        return product

    def _read(self, path: Path) -> Product | None:
        try:
            content = read_sealed(path)
        except FileNotFoundError:
            return None
        except SealError as error:
            logger.warning("%s is damaged (%s); what it held is made again", path, error)
            return None
        metadata = read_header(BytesIO(content))["__metadata__"]
        return Product(load(content), json.loads(metadata["record"])) if metadata["key"] == self.key else None


NOWHERE = Stages()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started
