"""The examples that train, on little data."""

import json
import runpy
from pathlib import Path

import pytest

from pictures import CLASSES, write_folder

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("my pictures"), 16)


def call(name: str, *arguments: str) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](*arguments)


def test_own_backbone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # again it is finished already
        call("own_backbone", str(folder), str(tmp_path / "run"))
        right, _, total = capsys.readouterr().out.split()[:3]
        assert int(total) == 9
        assert int(right) >= 6  # by chance 3
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["backbone"].startswith("Filters ")


@pytest.mark.usefixtures("narrow_quick")
def test_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    call("own_folder")
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for _, name in rows] == ["circle", "square", "triangle"]
    assert (tmp_path / "runs/own-folder/model/config.json").is_file()


@pytest.mark.usefixtures("narrow_quick")
def test_pml_loss(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("pml_loss", str(folder), str(tmp_path / "run"))
    found = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert float(found["triplet_mlp_head"]) > float(found["majority"])
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["custom_loss"] == "MultiSimilarityLoss"
    assert sorted(json.loads((tmp_path / "run/model/config.json").read_text())["classes"]) == sorted(CLASSES)
