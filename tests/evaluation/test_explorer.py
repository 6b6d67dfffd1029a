import json
import re
from importlib.resources import files

import numpy as np

from tercet.evaluation.explorer import GRID, LETTER, explorer_data, explorer_section
from tercet.evaluation.palette import MARKERS, PALETTE
from tercet.evaluation.projection import ASIDE

ROWS = [
    {"path": "cat/1.png", "label": "cat", "predicted": "cat", "probability": "0.912345"},
    {"path": "dog/2.png", "label": "dog", "predicted": "cat", "probability": "0.500000"},
    {"path": "dog/3.png", "label": "dog", "predicted": "dog", "probability": "1.000000"},
]
POINTS = np.array([[0, 0], [10, 5], [10, 0]], dtype=np.float32)


def test_points_keep_their_shape_and_turn_the_way_a_screen_counts():
    data = explorer_data(POINTS, np.arange(3), ROWS, ["cat", "dog"], "")
    assert data["x"] == [0, GRID, GRID]
    assert data["y"] == [round(GRID / 2), 0, round(GRID / 2)]
    assert data["labels"] == [0, 1, 1]
    assert data["predicted"] == [0, 0, 1]
    assert data["probability"] == [912, 500, 1000]
    assert data["names"] == ["cat/1.png", "dog/2.png", "dog/3.png"]
    assert data["columns"] == 2
    (first, *left), (second, *right) = data["places"]  # beside points that the names would hide, towards the middle
    assert (first, second) == (0, 1)
    beside = ASIDE * 1.3 * LETTER * GRID
    assert left == [0, int(GRID / 2 - beside)]
    assert right in ([GRID, int(beside)], [GRID, int(GRID / 2 - beside)])


def test_a_sample_takes_the_rows_of_its_indices_and_many_classes_have_no_names_on_the_map():
    classes = ["cat", "dog", *(f"kind {index}" for index in range(20))]
    data = explorer_data(POINTS[:2], np.array([2, 0]), ROWS, classes, "")
    assert data["names"] == ["dog/3.png", "cat/1.png"]
    assert data["indices"] == [2, 0]
    assert data["places"] == []


def test_images_without_files_go_by_their_number():
    rows = [{**row, "path": ""} for row in ROWS]
    data = explorer_data(POINTS, np.arange(3), rows, ["cat", "dog"], "")
    assert data["names"] is None
    assert "Search by the image's number" in explorer_section("", "", data)


def test_equal_points_are_drawn():
    data = explorer_data(np.zeros((3, 2), dtype=np.float32), np.arange(3), ROWS, ["cat", "dog"], "")
    assert data["x"] == data["y"] == [0, 0, 0]


def test_no_name_ends_the_data():
    evil = "</script><script>alert(1)</script><!--"
    rows = [{**row, "path": evil} for row in ROWS]
    page = explorer_section("<b>still</b>", "Why & how.", explorer_data(POINTS, np.arange(3), rows, ["cat", "dog"], ""))
    assert page.count("</script>") == page.count("<script") == 1
    assert "<!--" not in page
    text = re.search(r'id="points">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(text)["names"] == [evil] * 3
    assert "Why &amp; how." in page


def test_without_data_the_still_picture_stands_alone():
    assert explorer_section("<b>still</b>", "", None).endswith("<b>still</b></section>")
    assert explorer_section("", "", None) == ""


def test_the_script_has_a_shape_for_each_marker_and_the_data_every_color():
    script = files("tercet.evaluation").joinpath("report.js").read_text()
    shapes = re.search(r"SHAPES = \[.*?\n(.*?)\n  \];", script, re.DOTALL)[1]
    assert shapes.count("[") + shapes.count("null") == len(MARKERS)
    assert explorer_data(POINTS, np.arange(3), ROWS, ["cat", "dog"], "")["colors"] == list(PALETTE)
