"""Every format that tercet has written still loads, from fixtures; a newer one is refused in a sentence and left alone.

A format without a fixture fails here: fixtures/make.py makes that of the present one.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from states import counted_state, fresh_state, same_tensors
from tercet.errors import ModelError, check_format
from tercet.files import write_sealed
from tercet.inference import generations
from tercet.inference.gallery import Gallery
from tercet.model import bundle
from tercet.training import checkpoint

FIXTURES = Path(__file__).parent / "fixtures"
BY_THE_EARLIER_ENCODER = [[0.18114042, 0.5057855, 0.313074], [0.18008426, 0.5064686, 0.31344724]]
EXPECTED = {  # probabilities by the version of the format
    1: BY_THE_EARLIER_ENCODER,
    2: BY_THE_EARLIER_ENCODER,
    3: [[0.18764748, 0.5063895, 0.3059631], [0.18904807, 0.50426459, 0.30668729]],
    4: [[0.23744074, 0.47832024, 0.28423911], [0.23747079, 0.47844797, 0.28408128]],
    5: [[0.21238132, 0.17341331, 0.61420536], [0.21299285, 0.17441165, 0.6125955]],
}


def versions(newest):
    return pytest.mark.parametrize("version", range(1, newest + 1))


@versions(bundle.FORMAT)
def test_a_bundle_predicts_as_ever(version, tmp_path):
    loaded = bundle.load_bundle(FIXTURES / f"bundle-{version}")
    images = (np.arange(2 * 12 * 12 * 3) * 7 % 256).astype(np.uint8).reshape(2, 12, 12, 3)
    expected = EXPECTED[version]
    np.testing.assert_allclose(loaded.predict_proba(images), expected, atol=1e-5)
    assert loaded.classes == ("Bär", "a, b", '"c"')
    named = {"encoder", "widths", "dimensions", "normalize", "size", "hidden"}
    later = {"mirrored": 4, "members": 5}  # settings and the first format that has them; an index is known by them too
    assert loaded.settings.keys() == named | {name for name, first in later.items() if version >= first}
    loaded.save(tmp_path / "again")  # in the newest format
    np.testing.assert_allclose(bundle.load_bundle(tmp_path / "again").predict_proba(images), expected, atol=1e-5)


@versions(checkpoint.FORMAT)
def test_a_checkpoint_is_resumed(version, tmp_path):
    shutil.copytree(FIXTURES / f"checkpoint-{version}", tmp_path / "copy")
    resumed, expected = fresh_state(0), counted_state()
    checkpoint.Checkpoint(tmp_path / "copy", "key").restore(resumed)
    for _ in range(2):
        assert same_tensors(resumed, expected)
        assert resumed.place() == expected.place()
        resumed.go_back()  # to the good state, which is the same here


@versions(generations.FORMAT)
def test_an_index_is_searched(version, tmp_path):
    shutil.copytree(FIXTURES / f"index-{version}", tmp_path / "copy")
    assert Gallery.open(tmp_path / "copy").nearest(np.eye(1, 4, dtype=np.float32), 5) == [[("a", 0.0), ("b", 2.0)]]


def newer_json(folder, name):
    found = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**found, "format": found["format"] + 1, "unheard of": 1}))


def newer_checkpoint(folder):
    tensors = {"unheard of": torch.zeros(1)}
    for path in (folder / "newest.sealed", folder / "previous.sealed"):
        write_sealed(path, save(tensors, {"format": str(checkpoint.FORMAT + 1), "key": "unheard of too"}))


def restore(folder):
    state = fresh_state(0)
    try:
        checkpoint.Checkpoint(folder, "key").restore(state)
    finally:
        assert same_tensors(state, fresh_state(0))


KINDS = {
    "bundle": (bundle.FORMAT, lambda folder: newer_json(folder, "config.json"), bundle.load_bundle),
    "checkpoint": (checkpoint.FORMAT, newer_checkpoint, restore),
    "index": (generations.FORMAT, lambda folder: newer_json(folder, "index.json"), Gallery.open),
}


@pytest.mark.parametrize(("kind", "format_version", "make", "read"), [(name, *rest) for name, rest in KINDS.items()])
def test_a_newer_one_is_refused_and_left_alone(kind, format_version, make, read, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(FIXTURES / f"{kind}-{format_version}", folder)
    make(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        ModelError,
        match=rf"copy.* was made by a newer tercet; found format {format_version + 1}, "
        rf"expected at most {format_version}: update tercet\.$",
    ):
        read(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("found", [0, -1, True, 1.0, "two", None])
def test_what_is_no_version_is_said(found):
    with pytest.raises(ModelError, match=r"^the folder is of no known format; found .*, expected 1 to 2:"):
        check_format("the folder", found, 2)
