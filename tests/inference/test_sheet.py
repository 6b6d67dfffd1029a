"""The picture: its size, what is where, and that it fits."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tercet.errors import DataError, UsageError
from tercet.evaluation.look import DPI
from tercet.inference.gallery import Match
from tercet.inference.sheet import AISLE, BREAK, CAPTION, GAP, TILE, Captions, check_sheet, write_sheet


@pytest.fixture
def colors(tmp_path):
    """Files of one colour each, by its name."""
    paths = {}
    for name in ("red", "blue", "lime", "yellow"):
        paths[name] = str(tmp_path / f"{name} größe.png")
        Image.new("RGB", (100, 200), name).save(paths[name])
    return paths


def read(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def middle(sheet, column, row=0, breaks=0):
    """The colour in the middle of a tile; column 0 is that of the queries."""
    left = GAP + column * (TILE + GAP) + (AISLE - GAP) * (column > 0)
    return tuple(sheet[GAP + row * (TILE + CAPTION) + breaks * BREAK + TILE // 2, left + TILE // 2].tolist())


def test_each_query_stands_before_what_was_found_for_it(colors, tmp_path):
    first = [Match(colors[name], 0.1) for name in ("blue", "lime", "blue", "blue", "yellow", "lime", "blue")]
    write_sheet(tmp_path / "sheet.png", [(colors["red"], first), (colors["lime"], first[:5])])
    sheet = read(tmp_path / "sheet.png")
    # Seven in two rows of four, not of five and two.
    assert sheet.shape == (GAP + 4 * (TILE + CAPTION) + BREAK, GAP + TILE + AISLE + 4 * (TILE + GAP), 3)
    red, blue, lime, yellow, white = (255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 0), (255, 255, 255)
    assert [middle(sheet, column) for column in range(5)] == [red, blue, lime, blue, blue]
    assert [middle(sheet, column, 1) for column in range(5)] == [white, yellow, lime, blue, white]
    assert [middle(sheet, column, 2, 1) for column in range(5)] == [lime, blue, lime, blue, blue]
    assert [middle(sheet, column, 3, 1) for column in range(5)] == [white, yellow, white, white, white]
    caption = sheet[GAP + TILE + 4 : GAP + TILE + CAPTION, GAP + TILE + AISLE : GAP + 2 * TILE + AISLE]
    assert caption.min() < 100  # something is written there


def test_a_file_that_is_gone_is_an_empty_tile_and_tiny_ones_keep_their_pixels(tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "tiny.png")
    (tmp_path / "letter.jpg").write_text("Dear all")
    matches = [Match(str(tmp_path / name), 1234567.0) for name in ("nowhere.png", "letter.jpg")]
    write_sheet(tmp_path / "sheet.png", [(str(tmp_path / "tiny.png"), matches)])
    sheet = read(tmp_path / "sheet.png")
    tile = sheet[GAP : GAP + TILE, GAP : GAP + TILE, 0]
    assert set(np.unique(tile)) == {0, 255}
    assert (tile[: TILE // 2, : TILE // 2] == 255).all()
    assert sheet[GAP + 5, GAP + TILE + AISLE + 5].tolist() == [236] * 3
    assert sheet[GAP + 5, GAP + 2 * TILE + AISLE + GAP + 5].tolist() == [236] * 3


def test_without_results_the_query_stands_alone(colors, tmp_path):
    write_sheet(tmp_path / "sheet.png", [(colors["red"], [])])
    assert read(tmp_path / "sheet.png").shape == (GAP + TILE + CAPTION, GAP + TILE + AISLE, 3)


@pytest.mark.parametrize(
    "name",
    ["W" * 100 + "_0001.jpg", "写真" * 30 + ".jpg", "a\nb\tc $x$ \udcff.png", "i" * 250, "", "short.png", "🙂" * 50],
)
def test_a_name_is_cut_to_the_width_of_a_tile_and_keeps_its_end(name):
    captions = Captions(Figure((4, 3), dpi=DPI))
    fitted = captions.fitted(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        assert captions._width(fitted) <= TILE
    if len(name) > 40:
        assert "…" in fitted
        assert fitted.endswith(name[-3:])
    else:
        assert "…" not in fitted


@pytest.mark.parametrize(
    ("path", "shown"), [("photos/star/0.png", "star/0.png"), ("/0.png", "/0.png"), ("0.png", "0.png")]
)
def test_a_caption_names_the_folder_too(path, shown):
    captions = Captions(Figure((4, 3), dpi=DPI))
    captions.write(0, 0, "query", path)
    assert [text.get_text() for text in captions.figure.texts] == ["query", shown]


def test_same_results_same_bytes(colors, tmp_path):
    found = [(colors["red"], [Match(colors["blue"], 0.25)])]
    for name in ("one.png", "two.png"):
        write_sheet(tmp_path / name, found)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_does_not_fit_is_refused_before(tmp_path):
    check_sheet(Path("a.PNG"), 50, 10)
    with pytest.raises(UsageError, match=r"^--sheet would have 102 rows of 5; expected 100 or fewer"):
        check_sheet(Path("a.png"), 51, 10)
    with pytest.raises(UsageError, match=r"^--sheet is a\.jpg; expected a name that ends in \.png\.$"):
        check_sheet(Path("a.jpg"), 1, 1)


def test_where_it_cannot_be_written_is_said(colors, tmp_path):
    with pytest.raises(DataError, match=r"^--sheet .*nowhere.*sheet\.png cannot be written \(No such file"):
        write_sheet(tmp_path / "nowhere/sheet.png", [(colors["red"], [])])
