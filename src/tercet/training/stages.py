"""What the finished stages of a run gave, kept until the run is finished, so that one that goes on repeats none.

One safetensors file a stage, with the key of the run it belongs to; a damaged or foreign one is made again.
Knows nothing of what the stages do.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tercet.files import write_atomically

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
        path = self.folder / f"{name}.safetensors"
        if path.is_file() and (kept := self._read(path)):
            return kept
        product = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous() for name, tensor in product.tensors.items()}
        write_atomically(path, save(tensors, {"key": self.key, "record": json.dumps(product.record)}))
        return product

    def _read(self, path: Path) -> Product | None:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                if metadata["key"] != self.key:
                    return None
                return Product({name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata["record"]))  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s is damaged (%s); what it held is made again", path, error)
            return None


NOWHERE = Stages()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started
