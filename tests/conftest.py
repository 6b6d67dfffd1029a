"""What every test rests on: annotations are checked, one thread, no network, files in temporary folders only."""

import logging
import os
from functools import partial
from pathlib import Path

import jaxtyping
import pytest
import torch

import loops
import offline.sitecustomize  # from here on nothing leaves this machine

# Before anything imports tercet. The tower lets an integer stand where a float is asked for, as mypy does.
jaxtyping.install_import_hook("tercet", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
torch.set_num_threads(1)  # tensors here are too small to share out, and sums keep one order

OFFLINE = str(Path(offline.sitecustomize.__file__).parent)  # keeps the processes that tests start on this machine too
LABEL_PATTERNS = {
    "balanced": [0, 1, 2, 0, 1, 2, 0, 1, 2],
    "unbalanced": [3, 0, 0, 1, 0, 0, 1, 0, 0, 0],
    "singletons": [5, 1, 2, 1, 4, 2],
    "one class": [7, 7, 7, 7],
    "all distinct": [4, 0, 3, 1, 2],
}


def pytest_collection_modifyitems(items):
    """The longest test first, or one worker is left alone with it at the end; the rest keeps its order."""
    items.sort(key=lambda item: item.path.name != "test_packaging.py")


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERCET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TERCET_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setattr("tercet.data.cifar10.URL", "http://127.0.0.1:9/nobody-listens")
        patch.setenv("OMP_NUM_THREADS", "1")  # of the processes that tests start: a worker runs on each core already
        patch.setenv("PYTHONPATH", os.pathsep.join([OFFLINE, *filter(None, [os.environ.get("PYTHONPATH")])]))
        yield


@pytest.fixture(scope="session", autouse=True)
def short_heads():
    """A head in an eighth of the steps that people's small sets get; most tests only want one. Gives theirs."""
    with pytest.MonkeyPatch.context() as patch:
        from tercet.training import head

        peoples = head.FEWEST_STEPS
        patch.setattr(head, "FEWEST_STEPS", 60)
        yield peoples


@pytest.fixture(autouse=True)
def warnings_are_logged():
    """Whatever level a test before this one, or a fixture that called `main --quiet`, has left."""
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture
def unchecked():
    """Annotations are not checked: for tests that hand over what the annotations forbid, to see it refused in words."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(params=LABEL_PATTERNS)
def labels(request):
    return torch.tensor(LABEL_PATTERNS[request.param])


@pytest.fixture(params=["random", "other random", "grid", "duplicates"])
def batch(request, labels):
    """Points in float64 and their labels; on the grid distances tie and hinges are exactly 0."""
    generator = torch.Generator().manual_seed(len(request.param))
    points = torch.randn(len(labels), 3, generator=generator, dtype=torch.float64)
    if request.param == "grid":
        points = (2 * points).round()
    if request.param == "duplicates":
        points = points[torch.arange(len(labels)) // 2]
    return points, labels


@pytest.fixture(scope="session")
def every_triplet():
    """The naive loop: all (anchor, positive, negative) of a batch."""
    return loops.every_triplet


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of three classes of 24 pictures."""
    from pictures import write_folder

    return write_folder(tmp_path_factory.mktemp("pictures"), 24)


@pytest.fixture(scope="session")
def finished(folder, tmp_path_factory):
    """The run folder of a small run on them."""
    import tercet
    from small_run import SMALL

    out = tmp_path_factory.mktemp("runs") / "whole"
    tercet.run(folder, out=out, config=SMALL)
    return out


@pytest.fixture
def narrow_quick(monkeypatch):
    """The preset `quick`, and what `tercet.train` and `tercet.run` take by default: a narrow network and few steps."""
    import tercet
    from small_run import NARROW
    from tercet import pipeline
    from tercet.config import PRESETS

    monkeypatch.setitem(PRESETS, "quick", NARROW)
    for name in ("train", "run"):
        monkeypatch.setattr(tercet, name, partial(getattr(pipeline, name), config=NARROW), raising=False)


@pytest.fixture(scope="session")
def make_set():
    """A function that draws `count` images of stripes: upright ones are of class "bar", level ones of class "row"."""
    from tercet.data.imageset import ImageSet

    def make(count, side=12, seed=0):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 2
        phases = torch.randint(4, (count, 1), generator=generator)
        waves = ((torch.arange(side) + phases) % 4 < 2).float()  # [N, side]
        stripes = torch.where((labels == 0)[:, None, None], waves[:, None, :], waves[:, :, None])  # [N, side, side]
        noise = torch.randn(count, 3, side, side, generator=generator)
        images = (128 + 40 * (stripes[:, None] - 0.5) + 40 * noise).clamp(0, 255).to(torch.uint8)
        return ImageSet(images, labels, ("bar", "row"))

    return make


@pytest.fixture(scope="session")
def tiny_set(make_set):
    return make_set(48)


@pytest.fixture(scope="session")
def tiny_config():
    """Two epochs of three steps on `tiny_set`, with everything filled in."""
    from tercet.config import Config

    return Config(
        encoder="fast",
        widths=(4, 8),
        mirrored=True,
        dimensions=8,
        size=12,
        loss="triplet",
        mining="all",
        margin=0.5,
        temperature=0.1,
        epochs=2,
        batch_size=16,
        optimizer="muon",
        learning_rate=0.1,
        momentum=0.85,
        flip=True,
        crop_padding=1,
        precision="fp32",
        device="cpu",
    )
