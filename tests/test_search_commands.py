"""`tercet index` and `tercet search` as people type them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import small_bundle
from pictures import write_folder
from tercet.cli import main


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos` and `model` in which the commands are given."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", 3)
    small_bundle().save(tmp_path / "model")
    return tmp_path


@pytest.fixture
def index(place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["-q", "index", "photos", "--model", "model", "--out", "my index"]) == 0
    assert capsys.readouterr() == ("9 added, 0 replaced, 0 unchanged, 0 removed; 9 images: my index\n", "")
    return "my index"


def test_an_index_is_added_to_and_taken_from(place: Path, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (40, 30)).save(place / "photos/plain/000.png")
    Image.new("L", (40, 30)).save(place / "new.png")
    (place / "bad.jpg").write_text("Dear all")
    words = ["index", "photos", "new.png", "bad.jpg", "--out", index, "--remove", "photos/checks", "nothing"]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert printed.out == "1 added, 1 replaced, 8 unchanged, 3 removed; 7 images: my index\n"
    lines = printed.err.splitlines()
    assert "tercet: bad.jpg: not a JPEG, PNG, WebP, GIF, BMP or TIFF image" in lines
    assert "tercet: nothing: not in the index" in lines
    assert any(line.startswith("index: 11 of 11") for line in lines)
    assert main(["-q", "index", "--remove", "photos", "new.png", "--out", index]) == 0
    assert capsys.readouterr().out.endswith("7 removed; 0 images: my index\n")
    assert main(["search", "new.png", "--index", index]) == 0
    assert capsys.readouterr().out == ""


def test_search_prints_distance_and_path_nearest_first(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    query, other = "photos/plain/001.png", "photos/checks/000.png"
    assert main(["search", query, "--index", index, "-k", "4"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["0.0000", query]
    assert len(rows) == 4
    assert [float(distance) for distance, _ in rows] == sorted(float(distance) for distance, _ in rows)
    assert main(["search", query, other, "--index", index, "-k", "4", "--model", "model"]) == 0
    several = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert several[:4] == [[*row, query] for row in rows]
    assert several[4] == ["0.0000", other, other]


def test_search_prints_json_and_does_the_rest(index: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "bad.jpg").write_text("Dear all")
    query = "photos/plain/001.png"
    assert main(["search", query, "bad.jpg", "nowhere.png", query, "--index", index, "-k", "2", "--json"]) == 1
    printed = capsys.readouterr()
    first, second = (json.loads(line) for line in printed.out.splitlines())
    assert [match["path"] for match in second["results"]] == [match["path"] for match in first["results"]]
    assert first.keys() == {"query", "results"}
    assert first["query"] == first["results"][0]["path"] == query
    assert len(first["results"]) == 2
    assert first["results"][1].keys() == {"path", "distance"}
    assert [line.split(":")[1] for line in printed.err.splitlines()] == [" bad.jpg", " nowhere.png"]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_printed_as_the_bytes_it_is(
    place: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    odd = os.fsdecode(b"odd \xff.png")
    Image.new("RGB", (40, 30), "red").save(place / odd)
    assert main(["-q", "index", odd, "--model", "model", "--out", "odd"]) == 0
    assert main(["-q", "search", odd, "--index", "odd", "-k", "1"]) == 0
    assert capfdbinary.readouterr().out.endswith(b"0.0000\todd \xff.png\n")
    assert main(["-q", "search", odd, "--index", "odd", "-k", "1", "--json", "--sheet", "sheet.png"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["results"][0]["path"] == odd


def test_search_draws_a_sheet(index: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "photos/plain/001.png", "--index", index, "-k", "3", "--sheet", "sheet.png"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    with Image.open(place / "sheet.png") as sheet:
        assert sheet.width > 3 * sheet.height
        assert np.asarray(sheet).std() > 10


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["index", "--remove", "photos", "--out", "new"], 2, "there is no index in new yet"),
        (["index", "photos", "--model", "photos", "--out", "new"], 1, "found no model in photos"),
        (["index", "photos", "--model", "model", "--out", "photos"], 1, "found other files in photos"),
        (["index", "--out", "INDEX"], 2, "found nothing to do"),
        (["search", "a.png", "--index", "new"], 1, "found no index in new"),
        (["search", "photos/plain/001.png", "--index", "INDEX", "-k", "0"], 2, "-k is 0"),
        (["search", "photos/plain/001.png", "--index", "INDEX", "--sheet", "a.jpg"], 2, "ends in .png"),
        (["search", "photos/plain/001.png", "--index", "INDEX", "--sheet", "no/a.png"], 1, "cannot be written"),
        (["search", "--index", "INDEX"], 2, "the following arguments are required: IMAGE"),
    ],
)
def test_wrong_use_is_one_sentence(
    words: list[str], status: int, says: str, index: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main([index if word == "INDEX" else word for word in words])
    except SystemExit as ended:
        found = ended.code
    printed = capsys.readouterr()
    assert found == status
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert not (place / "new").exists()


ROOT = Path(__file__).parents[1]


def test_a_folder_of_queries_names_the_query_of_each_line(
    place: Path, index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "photos/plain", "--index", index, "-k", "1"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [query for _, _, query in lines] == [f"photos/plain/00{number}.png" for number in range(3)]
    assert main(["search", "photos/plain/000.png", "--index", index, "-k", "1"]) == 0
    assert capsys.readouterr().out.count("\t") == 1


def test_a_sheet_of_too_many_queries_is_refused(
    place: Path, index: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tercet.inference.sheet.MOST_ROWS", 2)
    assert main(["search", "photos/plain", "--index", index, "--sheet", "found.png"]) == 2
    assert "expected 2 or fewer" in capsys.readouterr().err
    assert not (place / "found.png").exists()


def test_predict_prints_a_name_that_is_no_text(place: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    odd = os.fsdecode(b"odd \xff.png")
    Image.new("RGB", (20, 20)).save(odd)
    assert main(["predict", odd, "--model", "model"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"odd \xff.png\t")


@pytest.mark.slow
def test_the_example_runs_and_runs_again(place: Path) -> None:
    words = [sys.executable, str(ROOT / "examples/search_photos.py"), "photos", "photos/plain/001.png", "model"]
    for new in (9, 0):
        done = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        assert done[:2] == [f"9 images, of which {new} are new", "0.0000  photos/plain/001.png"]
        assert len(done) == 6
