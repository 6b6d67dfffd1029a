"""Weights and settings that ask for the impossible are refused, in a second and in 200 MB."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundles import new_bundle
from reliability.hostile import configs_of, tensors_of, texts_of
from reliability.tiers import counts
from states import filled_state
from tercet.files import read_sealed, write_sealed
from tercet.model.bundle import digest
from tercet.training.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a fork is counted as Linux does")
MOST_SECONDS, MOST_BYTES = 1.0, 200 * 2**20
ROOT = Path(__file__).parents[2]
BUNDLES, CHECKPOINTS = 70, 32


def read_all(reader, folders):
    """What comes of each folder by its name; the first is a good one."""
    command = [sys.executable, str(Path(__file__).with_name("hostile_reading.py")), reader, *map(str, folders)]
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    finished = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    found = {line["name"]: line for line in map(json.loads, finished.stdout.splitlines())}
    assert found.keys() == {folder.name for folder in folders}, finished.stderr[-2000:]
    return found


def check(found, good, record_property):
    """All but the good one are refused by a typed error, soon and cheaply."""
    assert found.pop(good)["error"] is None
    worst = {measure: max(line[measure] for line in found.values()) for measure in ("seconds", "bytes")}
    record_property("most_seconds", round(worst["seconds"], 3))
    record_property("most_megabytes", worst["bytes"] >> 20)
    assert {name: line["error"] for name, line in found.items()} == dict.fromkeys(found, "ModelError")
    assert {name for name, line in found.items() if line["seconds"] > MOST_SECONDS} == set()
    assert {name for name, line in found.items() if line["bytes"] > MOST_BYTES} == set()


def write_bundle(folder, config, weights):
    """A Bundle of any content, with the digest of it: whoever means harm can count too."""
    folder.mkdir()
    described = {**config, "sha256": digest(config, weights)}
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@counts(BUNDLES, BUNDLES)
def test_a_hostile_bundle_is_refused(count, tmp_path, record_property):
    new_bundle("fast", 12).save(tmp_path / "good")
    config = json.loads((tmp_path / "good/config.json").read_bytes())
    del config["sha256"]
    weights = (tmp_path / "good/model.safetensors").read_bytes()
    folders = [tmp_path / "good"]
    folders += [write_bundle(tmp_path / name, config, content) for name, content in tensors_of(weights).items()]
    folders += [write_bundle(tmp_path / name, changed, weights) for name, changed in configs_of(config).items()]
    for name, text in texts_of(config).items():
        folders.append(write_bundle(tmp_path / name, config, weights))
        (folders[-1] / "config.json").write_bytes(text())
    for name in ("config.json", "model.safetensors"):
        folders.append(write_bundle(tmp_path / f"a gigabyte of {name}", config, weights))
        with (folders[-1] / name).open("r+b") as file:
            file.truncate(2**30)
    assert len(folders) - 1 == count
    check(read_all("bundle", folders), "good", record_property)


@counts(CHECKPOINTS, CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused(count, tmp_path, record_property):
    Checkpoint(tmp_path / "good", "key").save(filled_state())
    folders = [tmp_path / "good"]
    for name, content in tensors_of(read_sealed(tmp_path / "good/newest.sealed")).items():
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        write_sealed(folders[-1] / "newest.sealed", content)
    assert len(folders) - 1 == count
    check(read_all("checkpoint", folders), "good", record_property)


@pytest.mark.slow
def test_what_takes_long_and_much_is_seen(tmp_path):
    """The negative control of the measurement."""
    (found,) = read_all("waste", [tmp_path]).values()
    assert found["error"] == "ModelError"
    assert found["seconds"] > MOST_SECONDS
    assert found["bytes"] > MOST_BYTES
