"""One model, run by PyTorch, by ONNX Runtime and compiled, in several sizes of batch: the same numbers and classes."""

import os
import shutil
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch

import tercet
from reliability.tiers import counts
from tercet.config import Config
from tercet.data.sources import open_dataset
from tercet.inference.export import OUTPUTS, Exported, to_onnx

BATCHES = (1, 7, 256)
TOLERANCE = 1e-4
FEW, FULL = 300, 10_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function that gives a Bundle trained for a moment, and as many test images as asked for."""

    @cache
    def train(count):
        name, plan = ("cifar10", {"epochs": 0.3}) if count == FULL else ("digits", {"epochs": 1, "widths": (8, 8, 8)})
        run = tmp_path_factory.mktemp("runs") / "run"
        tercet.train(name, out=run, config=Config(precision="fp32", **plan))
        images = open_dataset(name).test.images[:count]
        assert len(images) == count
        return tercet.load(run), np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())

    return train


def outputs(network, images, batch):
    """Embeddings and probabilities of all images, a batch at a time."""
    parts = [network(images[start : start + batch]) for start in range(0, len(images), batch)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def by_pytorch(bundle):
    def run(images):
        embeddings = bundle.embed(images)
        return embeddings, bundle.probabilities(torch.from_numpy(embeddings)).numpy()

    return run


def by_onnx_runtime(bundle):
    session = onnxruntime.InferenceSession(to_onnx(bundle), providers=["CPUExecutionProvider"])
    return lambda images: session.run(list(OUTPUTS), {"images": images})


def compiled(bundle):
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        pytest.skip("torch.compile needs a C++ compiler")
    network = Exported(bundle.encoder, bundle.head).eval()
    example = torch.zeros(2, bundle.side, bundle.side, 3, dtype=torch.uint8)
    shapes = ({0: torch.export.Dim("batch")},)
    # What is exported is free of the checks of shapes that the tests add to every function.
    graph = torch.export.export(network, (example,), dynamic_shapes=shapes, strict=False).module()
    fast = torch.compile(graph, dynamic=True)

    @torch.no_grad()
    def run(images):
        return [found.numpy() for found in fast(torch.from_numpy(images))]

    return run


@pytest.mark.parametrize("way", [by_pytorch, by_onnx_runtime, compiled])
@counts(FEW, FULL)
def test_every_way_and_size_of_batch_gives_the_same(trained, way, count, record_property):
    if count == FULL and not os.environ.get("TERCET_CIFAR10"):
        pytest.skip("$TERCET_CIFAR10 names no copy of CIFAR-10")
    if count == FEW and way is compiled:
        pytest.skip("compiling takes a minute: in the full set only")
    bundle, images = trained(count)
    expected = outputs(by_pytorch(bundle), images, 100)
    run, largest = way(bundle), 0.0
    for batch in BATCHES:
        found = outputs(run, images, batch)
        largest = max(largest, *(float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)))
        assert (found[1].argmax(1) == expected[1].argmax(1)).all()
    record_property("way", way.__name__)
    record_property("largest_difference", largest)
    assert largest < TOLERANCE
    assert len(np.unique(expected[1].argmax(1))) > 1
