"""A Bundle as one ONNX file, which runs without tercet and PyTorch: preprocessing, encoder and head.

It takes images as NumPy has them, so that what Pillow gives goes in as it is. Nothing is written before ONNX Runtime
has run the very bytes and given what the Bundle gives. Knows nothing of how images are read from files.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from tercet.data.imageset import ImageSet
from tercet.errors import DataError, ModelError, UsageError
from tercet.files import write_atomically
from tercet.model.bundle import Bundle
from tercet.model.encoder import Encoder
from tercet.model.head import Head

EXTRA = "pip install 'tercet[export]'"
OPSET = 18  # what the exporter is written for, so that nothing is converted
TOLERANCE = 1e-4
ROUNDING = 1e-5  # two classes that are this close may change places by the rounding of float32
NOISE_BATCHES = (1, 15)  # images of random pixels that are always compared, by the batch
BATCH = 128  # images that ONNX Runtime is given at a time
RESIZING = (
    "upright by EXIF, transparency on white, RGB; the largest centred square resized to side x side by Pillow's "
    "LANCZOS with reducing_gap=3, unless the image has that size; a JPEG may be read by draft() at three times the side"
)
OUTPUTS = ("embeddings", "probabilities")


class Exported(nn.Module):
    """Images as NumPy has them -> embeddings and probabilities."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: UInt8[Tensor, "B H H 3"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B C"]]:
        """Embed the images and read the classes off."""
        embeddings = self.encoder(images.permute(0, 3, 1, 2))
        return embeddings, torch.softmax(self.head(embeddings), dim=1)


@dataclass(frozen=True)
class Comparison:
    """How far ONNX Runtime is from the Bundle: on how many images, and the greatest differences of any number."""

    noise: int
    checked: int
    embeddings: float
    probabilities: float

    def __str__(self) -> str:
        images = f"{self.noise} images of noise" + (f" and {self.checked:,} test images" if self.checked else "")
        return (
            f"on {images} embeddings differ from the model's by at most {self.embeddings:.1e}, probabilities by at "
            f"most {self.probabilities:.1e}, classes not at all"
        )


def export_onnx(bundle: Bundle, file: str | Path, check: ImageSet | None = None) -> Comparison:
    """Write the Bundle to `file` as ONNX, once it has been run and compared, and return what the comparison found.

    The input `images` is uint8 `[batch, side, side, 3]`, the outputs are `embeddings` float32 `[batch, D]` and
    `probabilities` float32 `[batch, C]`. The file's metadata hold `classes` (a JSON list), `side`, `resizing` (how an
    image is brought to that side, in words) and `tercet` (its version). Compared are random pixels and the images of
    `check`. Raises UsageError for another ending than .onnx, DataError where `file` cannot be written, ModelError
    without the extra, where the network cannot be exported and where ONNX Runtime gives something else.
    """
    if Path(file).suffix != ".onnx":
        raise UsageError(f"--onnx is {file}; expected a name that ends in .onnx.")
    content = to_onnx(bundle)
    comparison = compare(bundle, content, check)
    try:
        write_atomically(Path(file), content)
    except OSError as error:
        raise DataError(f"--onnx {file} cannot be written ({error.strerror}); give another path.") from error
    return comparison


def to_onnx(bundle: Bundle) -> bytes:
    """The Bundle as the content of an ONNX file; the same Bundle gives the same bytes."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError(f"found no {error.name}, which an export needs; install it: {EXTRA}.") from error
    network = Exported(bundle.encoder, bundle.head).eval()
    example = torch.zeros(2, bundle.side, bundle.side, 3, dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=OUTPUTS,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        assert program is not None
        model = program.model_proto
        _forget_source(model)
        metadata = {"tercet": version("tercet"), "classes": json.dumps(bundle.classes)}
        onnx.helper.set_model_props(model, metadata | {"side": str(bundle.side), "resizing": RESIZING})
        content: bytes = model.SerializeToString(deterministic=True)
    except Exception as error:  # a network of one's own may hold what ONNX has no word for, or more than 2 GB
        raise ModelError(
            f"PyTorch cannot write this model as ONNX ({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
            "expected a network of operations that torch.export knows and of less than 2 GB."
        ) from error
    return content


def compare(bundle: Bundle, content: bytes, check: ImageSet | None = None) -> Comparison:
    """Run `content` and the Bundle on the same images; ModelError where they disagree.

    Embeddings may differ by 1e-4 of the largest number in them, or of 1 where that is more; probabilities by 1e-4; and
    the most probable class must be the same, but for classes that are as probable.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises types of its own
        raise ModelError(f"ONNX Runtime cannot load the exported model ({error}); nothing was written.") from error
    differences = [0.0, 0.0]
    for images in _batches(bundle.side, check):
        found = session.run(list(OUTPUTS), {"images": images})
        embeddings = bundle.embed(images)
        expected = embeddings, bundle.probabilities(torch.from_numpy(embeddings)).numpy()
        limits = TOLERANCE * max(1.0, float(np.abs(embeddings).max())), TOLERANCE
        for place, name in enumerate(OUTPUTS):
            difference = float(np.abs(found[place] - expected[place]).max())
            if not difference <= limits[place]:  # so that what is no number counts as a difference
                raise ModelError(
                    f"ONNX Runtime gives {name} that differ by {difference:.1e} from the model's where at most "
                    f"{limits[place]:.0e} is expected; nothing was written."
                )
            differences[place] = max(differences[place], difference)
        if others := _other_classes(found[1], expected[1]):
            raise ModelError(
                f"ONNX Runtime gives another class for {others} of {len(images)} images than the model; nothing was "
                "written."
            )
    return Comparison(sum(NOISE_BATCHES), 0 if check is None else len(check), *differences)


def _other_classes(found: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    rows = np.arange(len(expected))
    lead = expected.max(axis=1) - expected[rows, found.argmax(axis=1)]
    return int((lead > ROUNDING).sum())


def _batches(side: int, check: ImageSet | None) -> Iterator[NDArray[np.uint8]]:
    """Batches `[n, side, side, 3]` of several sizes."""
    generator = np.random.default_rng(0)
    for count in NOISE_BATCHES:
        noise = generator.integers(256, size=(count, side, side, 3))
        colors = generator.integers(256, size=(count, 1, 1, 3))
        shares = generator.uniform(size=(count, 1, 1, 1))  # from one colour to noise alone: not all of one class
        yield (shares * noise + (1 - shares) * colors).astype(np.uint8)
    if check is not None:
        for images in check.images.split(BATCH):
            yield np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def _forget_source(model: Any) -> None:
    """Take out of the graph where in whose source files each operation came from."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        del part.metadata_props[:]
    for node in graph.node:
        node.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not needed here and on its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
