"""What is settled before training: the command that repeats a run, the device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tercet
from pictures import write_folder
from tercet.config import PRESETS, Config, resolve
from tercet.data.decode import stored_side
from tercet.data.imageset import ImageSet
from tercet.errors import UsageError
from tercet.preparation import choose_device, find_duplicates, prepare, repeating_command, say_what_differs
from tercet.run_folder import RunFolder, read_json


@pytest.mark.parametrize(
    ("config", "seeds", "command"),
    [
        (PRESETS["quick"], 1, "tercet run 'my photos' --out r --preset quick"),
        (
            replace(PRESETS["standard"], margin=0.3, normalize=False, flip=True, seed=4),
            3,
            "tercet run 'my photos' --out r --preset standard --margin 0.3 --no-normalize --flip --seed 4 --seeds 3",
        ),
        (Config(epochs=2.5), 1, "tercet run 'my photos' --out r --preset quick --epochs 2.5"),
        (Config(class_weight="none"), 1, "tercet run 'my photos' --out r --preset quick --class-weight none"),
        (Config(widths=(8, 8, 8)), 1, ""),
    ],
)
def test_command_that_repeats_a_run(config: Config, seeds: int, command: str) -> None:
    assert repeating_command("run", "my photos", Path("r"), config, seeds) == command


def test_test_images_seen_in_training_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 3, 16, 16), generator=generator).to(torch.uint8)
    whole = ImageSet(images, torch.zeros(12, dtype=torch.int64), ("cat",))
    test, train = whole.select(torch.arange(4)), whole.select(torch.arange(4, 12))
    assert find_duplicates("pets", test, [train]) == {"exact": 0, "near": 0}
    assert not caplog.messages
    train.images[5] = test.images[1]
    train.images[6] = test.images[2] // 10 * 10
    assert find_duplicates("pets", test, [train]) == {"exact": 1, "near": 1}
    assert caplog.messages[0].startswith(
        "pets: 1 of the 4 test images are training images as well and 1 more nearly so"
    )


def test_what_is_said_of_the_data_covers_files_left_out_and_duplicates(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pictures", 8)
    for number in range(25):
        (root / "plain" / f"text {number:02}.jpg").write_text("just text")
    config = Config(size=40, widths=(4, 4, 4), precision="fp32")
    with RunFolder(tmp_path / "run") as folder:
        work = prepare("train", root, folder, config, overwrite=False, on_progress=lambda *_: None)
    assert work.data["size"] == work.config.size == 40
    assert work.train.images.shape[-1] == stored_side(40) == 45
    assert work.data["skipped"] == 25
    assert work.data["skipped_files"][0] == "plain/text 00.jpg: not a JPEG, PNG, WebP, GIF, BMP or TIFF image"
    assert len(work.data["skipped_files"]) == 20
    assert set(work.data["duplicates"]) == {"exact", "near"}
    with RunFolder(tmp_path / "run") as folder:
        again = prepare("train", root, folder, config, overwrite=False, on_progress=lambda *_: None)
    assert again.data == work.data


def test_a_folder_with_other_files_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with RunFolder(tmp_path) as folder, pytest.raises(UsageError, match="a folder with other files in it"):
        prepare("train", "no such data", folder, Config(), overwrite=False, on_progress=lambda *_: None)


@pytest.mark.parametrize("name", ["checkpoints", "model"])
def test_overwrite_takes_a_link_away_and_not_what_it_leads_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/config.json").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with RunFolder(tmp_path / "run") as folder:
        assert folder.claim({}, None, overwrite=True) is None
        assert {path.name for path in folder.path.iterdir()} <= {".lock", ".owner.json"}
    assert (tmp_path / "elsewhere/config.json").read_text() == "mine"


def test_more_epochs_than_asked_for_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def told(epochs: float, image_count: int) -> list[str]:
        caplog.clear()
        asked = Config(epochs=epochs, encoder="fast")
        say_what_differs(asked, resolve(asked, image_count=image_count, size=32, flip=True))
        return caplog.messages

    assert told(2, 640) == ["--epochs 2 becomes 7, since training takes at least 70 steps."]
    assert len(told(PRESETS["full"].epochs, 64)) == 1  # the epochs of another preset
    assert told(8, 640) == []  # enough
    assert told(PRESETS["quick"].epochs, 640) == []  # which nobody asked for


def test_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="--device cuda is not available"):
        choose_device("cuda")


def test_a_device_that_nobody_has_tried_is_taken_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert (choose_device("auto"), choose_device("mps")) == ("cpu", "mps")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == "cuda"


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_folder_inside_the_data_is_refused(tmp_path: Path, seeds: int) -> None:
    with pytest.raises(UsageError, match=r"lies inside the data, .* give a folder beside it"):
        tercet.run(tmp_path, out=tmp_path / "runs" / "a", seeds=seeds)
    assert not (tmp_path / "runs").exists()


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert RunFolder("~/run").path == tmp_path / "run"
    assert RunFolder("~nobody-of-this-name/run").path == Path("~nobody-of-this-name/run")


def test_one_look_alike_in_many_is_not_worth_a_word(monkeypatch: pytest.MonkeyPatch, caplog, tiny_set) -> None:
    monkeypatch.setattr("tercet.preparation.count_duplicates", lambda *_: {"exact": 0, "near": 0})
    assert find_duplicates("pets", tiny_set, []) == {"exact": 0, "near": 0}
    monkeypatch.setattr("tercet.preparation.NOTABLE_SHARE", 1 / len(tiny_set))
    monkeypatch.setattr("tercet.preparation.count_duplicates", lambda *_: {"exact": 0, "near": 1})
    find_duplicates("pets", tiny_set, [])
    assert not caplog.records
    monkeypatch.setattr("tercet.preparation.count_duplicates", lambda *_: {"exact": 0, "near": 2})
    find_duplicates("pets", tiny_set, [])
    assert "0 of the 48 test images are training images as well and 2 more nearly so" in caplog.text


@pytest.mark.parametrize(
    ("entries", "missing"),
    [({"asked": []}, "asked"), ({"data": None}, "data"), ({"config": 3}, "config"), ({"precision": {}}, "precision")],
)
def test_a_record_with_entries_of_another_kind_is_damaged(
    tmp_path: Path, entries: dict[str, Any], missing: str
) -> None:
    with RunFolder(tmp_path) as folder:
        folder.describe({}, Config(), {"fingerprint": "f00d"}, "")
        assert folder.claim({}, "f00d", overwrite=False) is not None
    folder.write_json("run.json", {**read_json(tmp_path / "run.json"), **entries})
    words = rf"run\.json is damaged \(no '{missing}' of the right kind\); use another --out"
    with RunFolder(tmp_path) as folder, pytest.raises(UsageError, match=words):
        folder.claim({}, "f00d", overwrite=False)
