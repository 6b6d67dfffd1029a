"""What the two pages say is so: their commands parse, their Python runs, what they link is there."""

import re
import shlex
from pathlib import Path

import huggingface_hub
import pytest
from PIL import Image

from bundles import CLASSES, small_bundle, small_onnx
from tercet.cli import build_parser

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGES = {name: (GUIDE / f"{name}.md").read_text() for name in ("export", "share")}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse_and_links_are_there(page: str) -> None:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("tercet ")]
    assert commands
    for command in commands:
        build_parser().parse_args(command[1:])
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[page]):
        assert (GUIDE / target).is_file(), target


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_bundle().save(tmp_path / "snapshot")
    (tmp_path / "photos.onnx").write_bytes(small_onnx())
    Image.new("RGB", (20, 30), "red").save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda _: str(tmp_path / "snapshot"))
    found: dict = {}
    for page in PAGES:
        for block in blocks(page, "python"):
            exec(block, found)
    assert set(found["names"]) <= set(CLASSES)
    assert found["embeddings"].shape == (4, 8)
    assert found["bundle"].classes == CLASSES
