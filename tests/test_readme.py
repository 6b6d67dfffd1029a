"""What the README says is so: its numbers are those of the result files, its commands parse, its Python runs."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from benchmarks import photographs, reference, time_to_accuracy, versus_cross_entropy

from tercet.cli import build_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


TABLES = {
    "README.md": {
        ("short results: python -m benchmarks.reference --table short", "short results"): partial(
            reference.table, short=True
        ),
    },
    "docs/results.md": {
        ("results: python -m benchmarks.reference --table", "results"): reference.table,
        ("time to accuracy: python -m benchmarks.time_to_accuracy --table", "time to accuracy"): time_to_accuracy.table,
        ("versus: python -m benchmarks.versus_cross_entropy --table", "versus"): versus_cross_entropy.table,
    },
    "docs/guide/train.md": {
        ("photographs: python -m benchmarks.photographs table", "photographs"): photographs.table,
    },
}


@pytest.mark.parametrize("page", TABLES)
def test_tables_are_those_of_the_result_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for (opening, name), table in TABLES[page].items():
        shown = text.split(f"<!-- {opening} -->")[1].split(f"<!-- end of {name} -->")[0]
        assert shown.strip() == table()


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
def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, found)
    names = found["names"]
    assert isinstance(names, list)
    assert set(names) == set("0123456789")
