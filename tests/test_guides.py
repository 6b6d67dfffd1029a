"""Every guide is run as its reader would: commands and Python, in order, where photos/ and a run of it lie."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from mirror import serve
from official import members, write_archive
from pictures import write_folder
from small_run import NARROW
from tercet import config
from tercet.cli import build_parser, main
from tercet.data import cifar10

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
STAYS = {"serve"}  # such a command ends only when it is told to


def blocks(guide: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(bash|python)\n(.*?)^```", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("tercet ")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the guides speak of: photos/ and a run of it, single pictures, an archive of CIFAR-10."""
    folder = tmp_path_factory.mktemp("desk")
    write_archive(folder / "cifar-10-python.tar.gz", members("python"))
    write_folder(folder / "photos", 30)
    for name in ("a.jpg", "b.png", "new.jpg", "new.png"):
        with Image.open(folder / "photos/checks/000.png") as picture:
            picture.convert("RGB").save(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.PRESETS, "quick", NARROW)
        assert main(["-q", "run", str(folder / "photos"), "--out", str(folder / "runs/photos")]) == 0
    return folder


def test_there_are_guides_and_the_readme_names_each() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert GUIDES
    assert [guide.name for guide in GUIDES if f"docs/guide/{guide.name}" not in readme] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_commands_parse_and_links_lead_somewhere(guide: Path) -> None:
    for language, block in blocks(guide):
        for command in commands(block) if language == "bash" else []:
            build_parser().parse_args(command)
    for target in re.findall(r"\]\((?!http)([^)#]+)", guide.read_text(encoding="utf-8")):
        assert (guide.parent / target).exists(), target


@contextmanager
def served(model: str) -> Iterator[str]:
    """The address of a service on a free port."""
    command = [sys.executable, "-m", "tercet", "serve", "--model", model, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_quick")
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_block_runs(guide: Path, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: "runs/photos/model")
    shutil.copytree("runs/photos/model", "photos-model")  # what `hf download` would bring
    archive = Path("cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "CHECKSUMS", {cifar10.checksum(archive): archive.name})
    monkeypatch.setenv("TERCET_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("TERCET_CIFAR10", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(archive.read_bytes()) as mirror:
        monkeypatch.setattr(cifar10, "URL", mirror.url)
        run_blocks(guide)


def run_blocks(guide: Path) -> None:
    """Run the commands and the Python of a guide, in order."""
    found: dict[str, object] = {"__name__": "guide"}
    for language, block in blocks(guide):
        if "http://127.0.0.1:8000" in block and language == "python":
            with served("runs/photos") as address:
                exec(block.replace("http://127.0.0.1:8000", address), found)
        elif language == "python":
            exec(block, found)
        else:
            for command in commands(block):
                assert command[0] in STAYS or main(command) == 0, command
