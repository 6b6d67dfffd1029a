"""A finished stage is not done again, and what is kept is what it gave."""

import pytest
import torch

from tercet.training.stages import Product, Stages


@pytest.fixture
def made():
    """A stage, and how often it was done."""
    calls = []

    def make():
        calls.append(1)
        return Product({"numbers": torch.arange(6.0).reshape(2, 3).T}, {"seconds": 0.1, "history": [{"loss": 1 / 3}]})

    make.calls = calls
    return make


def test_a_stage_is_done_once(tmp_path, made):
    first = Stages(tmp_path / "kept", "key").once("fit", made)
    again = Stages(tmp_path / "kept", "key").once("fit", made)
    assert len(made.calls) == 1
    assert torch.equal(again.tensors["numbers"], first.tensors["numbers"])
    assert again.record == first.record
    Stages(tmp_path / "kept", "key").once("another", made)
    assert len(made.calls) == 2


def test_a_stage_of_another_run_is_done_again(tmp_path, made):
    Stages(tmp_path, "key").once("fit", made)
    Stages(tmp_path, "another key").once("fit", made)
    Stages(tmp_path, "another key").once("fit", made)
    assert len(made.calls) == 2


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"{}"])
def test_what_is_damaged_is_made_again_with_one_warning(tmp_path, made, caplog, damage):
    Stages(tmp_path, "key").once("fit", made)
    for path in tmp_path.iterdir():
        path.write_bytes(damage)
    assert torch.equal(Stages(tmp_path, "key").once("fit", made).tensors["numbers"], made().tensors["numbers"])
    assert [message.split(" (")[0] for message in caplog.messages] == [f"{path} is damaged"]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        Stages().once("fit", made)
    assert len(made.calls) == 2
    assert not list(tmp_path.iterdir())
