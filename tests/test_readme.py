"""What the README says is so: its numbers are those of the result files, its commands parse, its Python runs."""

import re
import shlex
from pathlib import Path

import pytest
from benchmarks import pages

from tercet.cli import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", pages.PAGES)
def test_tables_are_those_of_the_result_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert pages.with_tables(text, pages.PAGES[page]) == text


def test_commands_parse() -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("bash")
        for line in block.splitlines()
        if line.startswith("tercet ")
    ]
    assert len(commands) >= 7
    for command in commands:
        build_parser().parse_args(command[1:])


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_quick")
def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, found)
    names = found["names"]
    assert isinstance(names, list)
    assert set(names) == set("0123456789")
