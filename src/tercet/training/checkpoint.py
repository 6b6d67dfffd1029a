"""The state of one training, kept in a folder so that a run can stop anywhere and go on as if it had not.

Two generations of one safetensors file each, sealed by a checksum, so that no damage goes unnoticed. The file carries
a key, the configuration and data it belongs to, and a state of another key is not taken up; and the version of its
format, and one of a newer tercet is left alone. Knows nothing of what is trained.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tercet.errors import ModelError, check_format
from tercet.files import SealError, make_folder, read_sealed, write_sealed
from tercet.untrusted import read_header

logger = logging.getLogger(__name__)

FORMAT = 2  # raised when an older tercet could not read the file; 1 was not sealed
History = list[dict[str, Any]]  # one record an epoch, as in history.jsonl
PLACE = (
    "step",
    "passes",
    "batch",
    "images",
    "losses",
    "history",
    "first_spread",
    "idle_steps",
    "collapsed_steps",
    "doubtful",
)  # what goes back with the weights
GOOD = "good."  # before the names of the good state's tensors in a checkpoint
PROGRESS = "progress"  # JSON beside the tensors, as bytes: in the header it would have no end


class Intervention(NamedTuple):
    """What was done about a fault: back to `step`, and on with `rate` times the rate or one objective further."""

    step: int
    rate: float
    easier: bool
    remedy: str
    text: str


class Snapshot(NamedTuple):
    """Weights and averages by name, and the place in training that they belong to."""

    tensors: dict[str, Tensor]
    place: dict[str, Any]


@dataclass
class TrainingState:
    """All that the next step depends on, and the records so far."""

    network: nn.Module
    average: nn.Module
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    passes: int = 0  # begun
    batch: int = 0  # of the pass under way: the next to be shown
    batches: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))  # [S, B], of that pass
    gaps: Tensor = field(default_factory=lambda: torch.zeros(0))  # [N], how far each image was from other classes
    seconds: float = 0.0  # spent in steps, all attempts and those gone back over together
    images: int = 0
    losses: list[float] = field(default_factory=list)  # of this epoch
    history: History = field(default_factory=list)
    first_spread: float = 0.0  # of the embeddings that the first weights give
    idle_steps: int = 0  # so many in a row had the loss of an encoder that learns nothing
    collapsed_steps: int = 0  # so many in a row had embeddings nearly on one point
    doubtful: bool = False  # not faulty, and not to go back to either
    interventions: list[Intervention] = field(default_factory=list)
    good: Snapshot | None = None  # where an intervention goes back to

    def count(self, loss: float, images: int, seconds: float) -> None:
        """Book one step."""
        self.losses.append(loss)
        self.images += images
        self.seconds += seconds

    def close_epoch(self, epoch: int, description: dict[str, float]) -> None:
        """Add the record of an epoch to the history, with the interventions that it began again from."""
        record: dict[str, Any] = {
            "epoch": epoch,
            "step": self.step,
            "seconds": round(self.seconds, 3),
            "images": self.images,
            "loss": sum(self.losses) / len(self.losses),
            "learning_rate": self.optimizers[0].param_groups[0]["lr"],
            **description,
        }
        begun = self.history[-1]["step"] if self.history else 0
        if texts := [item.text for item in self.interventions if begun <= item.step < self.step]:
            record["intervention"] = "; ".join(texts)
        self.history.append(record)
        self.losses = []

    def keep(self) -> None:
        """Remember the state as good."""
        self.good = Snapshot({name: tensor.clone() for name, tensor in self.tensors().items()}, self.place())

    def go_back(self) -> None:
        """Take up the good state again. Its tensors are copied, since optimizers would go on in those given."""
        assert self.good is not None
        self.load_tensors({name: tensor.clone() for name, tensor in self.good.tensors.items()})
        self.load_place(self.good.place)

    def place(self) -> dict[str, Any]:
        """What goes back with the weights, copied."""
        return copy.deepcopy({name: getattr(self, name) for name in PLACE})

    def load_place(self, place: dict[str, Any]) -> None:
        """Take up a place as `place` gave it."""
        for name in PLACE:
            setattr(self, name, copy.deepcopy(place[name]))

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by name: the tensors themselves, not copies."""
        named = {"batches": self.batches, "gaps": self.gaps}
        named |= {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        named |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, values in optimizer.state_dict()["state"].items():
                named |= {f"optimizer{number}.{index}.{name}": tensor for name, tensor in values.items()}
        return named

    def load_tensors(self, named: dict[str, Tensor]) -> None:
        """Take up tensors as `tensors` gave them."""
        self.batches, self.gaps = named["batches"], named["gaps"]
        for prefix, module in (("network.", self.network), ("average.", self.average)):
            module.load_state_dict(
                {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
            )
        for number, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in named.items():
                if name.startswith(f"optimizer{number}."):
                    _, index, key = name.split(".")
                    state.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class Checkpoint:
    """Where a training keeps its state; a folder of None keeps nothing."""

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder = folder
        self.key = key
        self._saved = time.monotonic()

    def age_seconds(self) -> float:
        """The seconds since the last save, or since there was nothing to save."""
        return time.monotonic() - self._saved

    def save(self, state: TrainingState) -> None:
        """Write the state; the one before it stays as the second generation."""
        self._saved = time.monotonic()
        if self.folder is None:
            return
        make_folder(self.folder)
        newest, previous = self._generations()
        progress = {**state.place(), "seconds": state.seconds, "interventions": state.interventions}
        tensors = state.tensors()
        if state.good:
            progress["good"] = state.good.place
            tensors |= {GOOD + name: tensor for name, tensor in state.good.tensors.items()}
        tensors[PROGRESS] = torch.frombuffer(bytearray(json.dumps(progress).encode()), dtype=torch.uint8)
        metadata = {"format": str(FORMAT), "key": self.key}
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
        if newest.exists():
            newest.replace(previous)
        write_sealed(newest, content)

    def restore(self, state: TrainingState) -> None:
        """Bring `state` to the newest undamaged checkpoint of this key; without one leave it as it is.

        ModelError where that one is of a newer format, holds something else or cannot be read; it is left alone.
        """
        for path in (*self._generations(), *self._unsealed()) if self.folder else ():
            try:
                content = path.read_bytes() if path in self._unsealed() else read_sealed(path)
            except FileNotFoundError:
                continue
            except SealError as error:
                logger.warning("checkpoint %s is damaged (%s); trying the one before it", path, error)
                path.unlink()  # so that the next save does not put it in place of a good one
                continue
            except OSError as error:
                raise ModelError(f"checkpoint {path} cannot be read ({error.strerror}); mend or remove it.") from error
            try:
                self._take_up(state, path, content)
            except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise ModelError(
                    f"checkpoint {path} does not fit this training ({type(error).__name__}); remove it to begin again."
                ) from error
            return

    def _take_up(self, state: TrainingState, path: Path, content: bytes) -> None:
        """Bring `state` to what the file says; an error of any kind where it does not fit."""
        metadata = read_header(io.BytesIO(content))["__metadata__"]
        text = metadata.get("format", "1")
        version = int(text) if text.isdecimal() else text
        check_format(f"checkpoint {path}", version, FORMAT)
        if metadata["key"] != self.key:
            logger.warning("checkpoint %s is of other settings or data; beginning again", path)
            return
        tensors = load(content)
        progress = json.loads(metadata[PROGRESS] if version == 1 else tensors.pop(PROGRESS).numpy().tobytes())
        good = {name.removeprefix(GOOD): tensors.pop(name) for name in list(tensors) if name.startswith(GOOD)}
        state.load_tensors(tensors)
        if state.tensors().keys() != tensors.keys():
            raise LookupError("found tensors of something else")
        state.load_place(progress)
        state.seconds = progress["seconds"]
        state.interventions = [Intervention(*values) for values in progress["interventions"]]
        state.good = Snapshot(good, progress["good"]) if good else None
        logger.info("resumed at step %d", state.step)

    def _generations(self) -> tuple[Path, Path]:
        assert self.folder is not None
        return self.folder / "newest.sealed", self.folder / "previous.sealed"

    def _unsealed(self) -> tuple[Path, Path]:
        """Where format 1 kept them."""
        assert self.folder is not None
        return self.folder / "newest.safetensors", self.folder / "previous.safetensors"
