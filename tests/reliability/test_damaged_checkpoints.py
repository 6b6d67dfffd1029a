"""Damage anywhere in a checkpoint or a Bundle is noticed: bits that flip, files cut short, bytes too many."""

import json
import random
from collections import Counter

import numpy as np
import pytest
import torch

from bundles import new_bundle
from reliability.tiers import counts
from states import filled_state, fresh_state, same_tensors
from tercet.errors import ModelError
from tercet.files import SEAL_BYTES
from tercet.model.bundle import load_bundle
from tercet.training import checkpoint
from tercet.training.checkpoint import Checkpoint


def harmed(content: bytes, draw: random.Random) -> bytes:
    """The content with one to four bits flipped, or cut anywhere, or with bytes or spaces at its end."""
    kind = draw.choice(["flip", "flip", "flip", "cut", "more"])
    if kind == "cut":
        return content[: draw.randrange(len(content))]
    if kind == "more":
        return content + draw.choice([draw.randbytes(draw.randint(1, 64)), b" \n"])
    found = bytearray(content)
    for place in draw.sample(range(8 * len(content)), draw.randint(1, 4)):
        found[place // 8] ^= 1 << place % 8
    return bytes(found)


def state_of(step):
    """A state of which the numbers take as much of the file as what describes them."""
    state = filled_state(step)
    state.gaps = torch.arange(1_000.0) + step
    return state


def restored(folder, caplog) -> str:
    """What comes of a folder whose newest checkpoint is damaged."""
    caplog.clear()
    state = fresh_state(0)
    try:
        Checkpoint(folder, "key").restore(state)
    except ModelError:
        return "refused"
    if same_tensors(state, state_of(1)) and state.place() == state_of(1).place():
        (warning,) = caplog.messages
        assert "newest.sealed is damaged" in warning
        assert [path.name for path in folder.iterdir()] == ["previous.sealed"]
        return "the previous"
    return "the newest" if same_tensors(state, state_of(2)) else "something else"


@pytest.fixture
def restore_all(tmp_path, caplog):
    """A function that damages the newest of two checkpoints `count` times and counts what comes of it."""
    for step in (1, 2):
        Checkpoint(tmp_path, "key").save(state_of(step))
    newest = (tmp_path / "newest.sealed").read_bytes()

    def restore(count):
        found = Counter()
        for number in range(count):
            (tmp_path / "newest.sealed").write_bytes(harmed(newest, random.Random(number)))
            found[restored(tmp_path, caplog)] += 1
        return found

    return restore


@counts(20, 200)
def test_a_damaged_checkpoint_gives_way_to_the_previous_with_one_warning(count, restore_all, record_property):
    found = restore_all(count)
    record_property("checkpoints_detected", found["the previous"])
    assert found == {"the previous": count}


@counts(20, 200)
def test_without_its_seal_damage_would_be_trained_on(count, restore_all, monkeypatch, record_property):
    """The negative control."""
    monkeypatch.setattr(checkpoint, "read_sealed", lambda path: path.read_bytes()[SEAL_BYTES:])
    found = restore_all(count)
    record_property("would_go_unnoticed_without_the_seal", found["something else"])
    assert found["something else"] > count / 10


@pytest.fixture
def load_all(tmp_path):
    """A function that damages one file of a Bundle `count` times: what comes of it, and of what content."""
    pictures = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)
    bundle = new_bundle("fast", 12)
    bundle.save(tmp_path)
    expected = bundle.predict_proba(pictures)

    def answer():
        try:
            loaded = load_bundle(tmp_path)
        except ModelError:
            return "refused"
        same = np.array_equal(loaded.predict_proba(pictures), expected) and loaded.classes == bundle.classes
        return "the same" if same else "something else"

    def load(name, count):
        whole = (tmp_path / name).read_bytes()
        contents = [harmed(whole, random.Random(number)) for number in range(count)]
        found = []
        for content in contents:
            (tmp_path / name).write_bytes(content)
            found.append((answer(), content))
        (tmp_path / name).write_bytes(whole)
        return found

    return load


@counts(20, 200)
def test_a_damaged_bundle_is_refused_or_says_the_same(count, load_all, tmp_path, record_property):
    weights, config = load_all("model.safetensors", count), load_all("config.json", count)
    assert Counter(answer for answer, _ in weights) == {"refused": count}
    refused = [content for answer, content in config if answer == "refused"]
    record_property("models_refused", count + len(refused))
    assert len(refused) > count / 2
    described = json.loads((tmp_path / "config.json").read_bytes())
    for answer, content in config:  # spaces at its end, or letters of an escape
        assert answer == "refused" or (answer == "the same" and json.loads(content) == described)


@counts(20, 200)
def test_without_its_digest_a_damaged_bundle_would_say_something_else(count, load_all, tmp_path, record_property):
    """The negative control: a Bundle of format 1, which has none."""
    described = json.loads((tmp_path / "config.json").read_bytes())
    del described["sha256"]
    (tmp_path / "config.json").write_text(json.dumps({**described, "format": 1}))
    answers = [answer for name in ("model.safetensors", "config.json") for answer, _ in load_all(name, count)]
    record_property("would_go_unnoticed_without_the_seal", answers.count("something else"))
    assert answers.count("something else") > count / 10
