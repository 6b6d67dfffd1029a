"""What the README says is so: its numbers are those of the result files, its commands parse, its Python runs."""

import re
import shlex
from pathlib import Path

import pytest
from benchmarks import photographs
from benchmarks.reference import table

from tercet.cli import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_results_table_is_that_of_the_result_files() -> None:
    shown = README.split("<!-- results: python -m benchmarks.reference --table -->")[1]
    assert shown.split("<!-- end of results -->")[0].strip() == table()


def test_table_of_photographs_is_that_of_the_result_files() -> None:
    shown = README.split("<!-- photographs: python -m benchmarks.photographs table -->")[1]
    assert shown.split("<!-- end of photographs -->")[0].strip() == photographs.table()


def test_commands_parse() -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks("bash")
        for line in block.splitlines()
        if line.startswith("tercet ")
    ]
    assert len(commands) >= 9
    for command in commands:
        build_parser().parse_args(command[1:])


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, found)
    names = found["names"]
    assert isinstance(names, list)
    assert set(names) == set("0123456789")
