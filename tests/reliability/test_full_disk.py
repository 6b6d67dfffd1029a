"""The disk refuses to write at any moment: the command says so and fails, nothing is lost, and it can be given again.

Every call by which a command writes is refused in turn, with all that follow, as on a disk that has become full.
"""

import errno
import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from torch import nn

from bundles import small_bundle, small_onnx
from mirror import serve
from official import members, write_archive
from pictures import write_folder
from reliability.disks import refusing
from reliability.tiers import counts
from tercet import config
from tercet.cli import main
from tercet.data import cifar10
from tercet.files import is_unfinished
from tercet.training.checkpoint import Checkpoint, TrainingState

TINY = config.Config(epochs=1, fewest_steps=4, batch_size=12, widths=(4, 4, 4), dimensions=4, precision="fp32")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with `photos` and `model` in which the commands are given, and a training that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(config.PRESETS, "quick", TINY)
    monkeypatch.setattr("tercet.training.loop.LOST_SECONDS", -1.0)  # as many writes however fast the machine is
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: file.write(b"a picture"))
    monkeypatch.setattr("tercet.stations.tsne", lambda embeddings, _: embeddings[:, :2].numpy())
    for drawn in ("curves.accuracy", "curves.loss", "plots.confusion", "plots.tsne", "plots.distances"):
        monkeypatch.setattr(f"tercet.evaluation.{drawn}_figure", lambda *_: Figure())
    write_folder(tmp_path / "photos", 8)
    small_bundle().save(tmp_path / "model")
    return tmp_path


def refused_at(calls, count):
    """Which call is the first to be refused: every one, or one drawn by lot of each kind, of as many kinds."""
    drawn = random.Random(2).sample(range(len(calls)), len(calls))
    if count is None:
        return sorted(drawn)
    kinds = {calls[place].split()[0]: place for place in drawn}
    return [kinds[kind] for kind in ("write", "fsync", "create", "replace", "mkdir") if kind in kinds][:count]


def contents(path: Path) -> dict[str, bytes]:
    """Every file at or below a path."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def lasting(path: Path) -> dict[str, bytes | None]:
    """As `contents`, of what bears a date or depends on how often it was changed the name only."""
    changing = (".npz", ".npy", ".sqlite", "index.json")
    return {
        re.sub(r"-\d+\.", ".", name): None if name.endswith(changing) else content
        for name, content in contents(path).items()
        if not name.endswith(".tar.gz")
    }


def results(out):
    """What is promised to be the same bytes, and every figure that is no time or memory."""
    found = json.loads((out / "results.json").read_text())
    found.pop("timing"), found.pop("peak_memory_bytes")
    for figures in found["methods"].values():
        figures.pop("fit_seconds")
    return found


def promised(out):
    names = ("model/model.safetensors", "model/config.json", "predictions.csv", "embeddings.npz", "tsne.npz")
    return {name: (out / name).read_bytes() for name in names}, results(out)


def check_failure(status, capsys, place, reasons=("No space left on device", "Input/output error"), found=""):
    """Status 1 and one sentence, which names a place, a reason and a remedy; success is not reported."""
    printed = capsys.readouterr()
    assert status == 1
    assert printed.out == found
    assert printed.err.startswith("tercet: ")
    assert printed.err.count("\n") == 1
    assert str(place) in printed.err
    assert any(f"({reason})" in printed.err for reason in reasons)
    assert any(remedy in printed.err for remedy in ("make room", "have a look", "change its", "give another"))
    return printed.err


@counts(few=3, full=None)
def test_a_run_fails_at_every_write_and_goes_on(place, capsys, record_property, count):
    command = ["-q", "run", "photos", "--out"]
    with refusing(place / "whole") as disk:
        assert main([*command, "whole"]) == 0
    capsys.readouterr()
    wanted = promised(place / "whole")
    record_property("writes", len(disk.calls))
    for first in refused_at(disk.calls, count):
        out = place / f"refused-{first}"
        with refusing(out, first):
            said = check_failure(main([*command, out.name]), capsys, out.name)
        if (out / "run.json").exists():
            assert "the same command goes on where it stopped" in said
        assert not (out / "results.json").exists() or results(out) == wanted[1]
        assert not [file for file in out.rglob("*") if is_unfinished(file)]
        assert main([*command, out.name]) == 0
        assert out.name in capsys.readouterr().out
        assert promised(out) == wanted
        assert contents(out).keys() == contents(place / "whole").keys()


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_said_at_the_start_and_on_going_on(place, capsys, code):
    command = ["-q", "train", "photos", "--out", "run"]
    reasons = [os.strerror(code)]
    with refusing(place / "run", 0, code):
        check_failure(main(command), capsys, "run", reasons)
    assert not (place / "run").exists()
    with refusing(place / "whole") as disk:
        assert main([*command[:-1], "whole"]) == 0
    capsys.readouterr()
    saved = max(number for number, call in enumerate(disk.calls) if call.startswith("fsync whole/checkpoints/encoder"))
    with refusing(place / "run", saved + 1, code):
        assert "owner" not in check_failure(main(command), capsys, "run", reasons)
    kept = contents(place / "run/checkpoints/encoder")
    assert kept
    with refusing(place / "run", 0, code):
        check_failure(main(command), capsys, "run", reasons)
    assert contents(place / "run/checkpoints/encoder") == kept
    assert main(command) == 0


@counts(few=5, full=None)
def test_a_checkpoint_that_cannot_be_written_costs_none_before(place, count):
    folder = place / "checkpoints"

    def save(step):
        state = TrainingState(nn.Linear(3, 4), nn.Linear(3, 4), [], step=step)
        nn.init.constant_(state.network.weight, step)
        Checkpoint(folder, "key").save(state)

    def restored():
        state = TrainingState(nn.Linear(3, 4), nn.Linear(3, 4), [])
        Checkpoint(folder, "key").restore(state)
        assert state.network.weight[0, 0].item() == state.step
        return state.step

    for step in (1, 2):
        save(step)
    with refusing(folder) as disk:
        save(3)
    for step, first in enumerate(refused_at(disk.calls, count), start=4):
        before = restored()
        for _ in range(2):  # with a disk that stays full too
            with refusing(folder, first), pytest.raises(OSError, match="newest"):
                save(step)
            assert restored() in (before, step)
        save(step)
        assert restored() == step


INDEX = "index photos/plain --model model --out OUT"
COMMANDS = {  # what is refused, and what must have been done before
    "embed as npz": ("embed photos --model model --out OUT/a.npz", ()),
    "embed as csv": ("embed photos --model model --out OUT/a.csv", ()),
    "export": ("export --model model --onnx OUT/a.onnx", ()),
    "fetch": ("fetch cifar10 --url MIRROR --data-dir OUT", ()),
    "fetch an archive": ("fetch cifar10 --archive official.tar.gz --data-dir OUT", ()),
    "index": (INDEX, ()),
    "index more": ("index photos --remove photos/plain/000.png --out OUT", (INDEX,)),
    "report": ("report OUT", ("run photos --out OUT",)),
    "sheet": (
        "search photos/plain/000.png --index index --sheet OUT/a.png -k 1",
        ("index photos/plain --model model --out index",),
    ),
}


@pytest.fixture
def give(place, monkeypatch):
    """Gives a command, in which OUT is a folder and MIRROR an address."""
    archive = write_archive(place / "official.tar.gz", members("binary"))
    monkeypatch.setattr(cifar10, "CHECKSUMS", {cifar10.checksum(archive): archive.name})
    monkeypatch.setattr("tercet.inference.export.to_onnx", lambda _: small_onnx())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(archive.read_bytes()) as mirror:
        yield lambda command, out: main(["-q", *command.replace("OUT", out.name).replace("MIRROR", mirror.url).split()])


@counts(few=2, full=None)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_writes_says_that_it_cannot(place, capsys, give, record_property, name, count):
    command, earlier = COMMANDS[name]
    whole = place / "whole"
    whole.mkdir()
    for words in earlier:
        assert give(words, whole) == 0
    shutil.copytree(whole, place / "before")
    before = contents(whole)
    capsys.readouterr()
    with refusing(whole) as disk:
        assert give(command, whole) == 0
    wanted, printed = contents(whole), capsys.readouterr().out
    record_property("writes", len(disk.calls))
    for first in refused_at(disk.calls, count):
        out = place / f"refused-{first}"
        shutil.copytree(place / "before", out)
        with refusing(out, first) as disk:
            status = give(command, out)
        if len(disk.calls) <= first:  # none was refused: what is downloaded has come in fewer pieces this time
            assert (name, status) == ("fetch", 0)
            continue
        check_failure(status, capsys, out.name, found=printed if name == "sheet" else "")  # drawn after it is printed
        left = contents(out)
        assert all(left.get(file) in (content, wanted.get(file)) for file, content in before.items())
        assert give(command, out) == 0
        assert lasting(out) == lasting(whole)
        capsys.readouterr()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file of Linux that is always full")
def test_a_full_disk_under_the_output_is_said(place, capsys, monkeypatch):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        status = main(["predict", "photos/plain/000.png", "--model", "model"])
    check_failure(status, capsys, "what was to be printed")
