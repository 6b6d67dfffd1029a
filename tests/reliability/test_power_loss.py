"""The power goes at any moment: what is there afterwards is old or new, and what was said to be done is done.

Each test records a writer, replays what a crash may leave of its folder and reads that as a user would. Its negative
control leaves out a protection and must see the reader lose something.
"""

from pathlib import Path

import torch
from torch import nn

from bundles import small_bundle
from pictures import write_folder
from reliability.crashes import recording
from reliability.tiers import counts
from tercet import pipeline
from tercet.config import Config
from tercet.errors import ModelError
from tercet.files import is_unfinished, replacing, write_atomically
from tercet.model.bundle import load_bundle
from tercet.run_folder import RunFolder
from tercet.training.checkpoint import Checkpoint, TrainingState

TINY = Config(epochs=1, fewest_steps=6, batch_size=12, widths=(4, 4, 4), dimensions=4, precision="fp32")


@counts(few=100, full=None)
def test_a_file_is_the_old_one_or_the_new_one(root, survives, loses, count):
    versions = [b"first", b"second, which is longer", b"3"]
    write_atomically(root / "file", versions[0])
    with recording(root) as history:
        write_atomically(root / "file", versions[1])
        history.note("second")
        with replacing(root / "file") as file:
            file.write(versions[2])
        history.note("third")

    def check(folder, notes):
        assert (folder / "file").read_bytes() in versions[len(notes) : len(notes) + 2]

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


def state(step):
    network, average = (nn.Linear(20, 30, bias=False) for _ in range(2))
    for number, module in enumerate((network, average)):
        nn.init.constant_(module.weight, 10 * step + number)
    return TrainingState(network, average, [torch.optim.SGD(network.parameters(), 0.1)], step=step, losses=[step / 3])


@counts(few=100, full=None)
def test_a_checkpoint_is_never_lost(root, survives, loses, count):
    with recording(root) as history:
        for step in (1, 2, 3):
            Checkpoint(root / "checkpoints/encoder", "key").save(state(step))
            history.note(f"saved step {step}")

    def check(folder, notes):
        restored = state(0)
        Checkpoint(folder / "checkpoints/encoder", "key").restore(restored)
        assert restored.step in (len(notes), len(notes) + 1)
        wanted = state(restored.step)
        assert restored.losses == wanted.losses or restored.step == 0
        assert all(map(torch.equal, restored.tensors().values(), wanted.tensors().values()))

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


@counts(few=30, full=None)
def test_a_bundle_is_whole_or_says_that_it_is_not(root, survives, loses, count):
    bundle = small_bundle()
    with recording(root) as history:
        bundle.save(root / "models/new")
        history.note("saved")

    def check(folder, notes):
        try:
            loaded = load_bundle(folder / "models/new")
        except ModelError:
            assert not notes
            return
        assert (loaded.classes, loaded.settings) == (bundle.classes, bundle.settings)
        for ours, theirs in ((loaded.encoder, bundle.encoder), (loaded.head, bundle.head)):
            assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))

    survives(history.crashes(), check, count)
    loses(history.without("files").crashes(), check)
    loses(history.without("folders").crashes(), check)


@counts(few=100, full=None)
def test_an_overwrite_can_be_given_again(root, survives, loses, count):
    (root / "run/model").mkdir(parents=True)
    for name in ("run.json", "results.json", "model/config.json"):
        (root / "run" / name).write_text("{}")
    with recording(root) as history, RunFolder(root / "run") as folder:
        folder.claim({}, None, overwrite=True)
        folder.write_json("run.json", {})

    def check(folder, _notes):
        with RunFolder(folder / "run") as again:
            again.claim({}, None, overwrite=True)

    survives(history.crashes(), check, count)
    loses(history.without("folders").crashes(), check)


@counts(few=3, full=40)
def test_a_training_goes_on_to_the_same_bytes(root, tmp_path, survives, loses, monkeypatch, count):
    monkeypatch.setattr("tercet.training.loop.CHECKPOINT_SECONDS", -1.0)
    photos = write_folder(tmp_path / "photos", 8)
    with recording(root) as history:
        pipeline.train(photos, out=root / "run", config=TINY)
        history.note("trained")
    wanted = contents(root / "run/model")

    def check(folder, notes):
        assert not notes or contents(folder / "run/model") == wanted
        pipeline.train(photos, out=folder / "run", config=TINY)
        assert contents(folder / "run/model") == wanted

    survives(history.crashes(), check, count)
    for kind in ("files", "folders"):
        loses((crash for crash in history.without(kind).crashes() if crash.notes), check)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a model by name; what a crash cut off under a temporary name is of no use to anybody."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not is_unfinished(path)}
