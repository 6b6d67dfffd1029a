import numpy as np

from tercet.evaluation.sheets import mistakes_section, neighbors_section

EXAMPLES = {
    "queries": np.array([1]),
    "neighbors": np.array([[7, 9]]),
    "neighbor_labels": np.array([[1, 0]]),
    "neighbor_paths": np.array([["dog/seven.png", "cat/nine.png"]]),
    "distances": np.array([[0.25, 1.5]]),
    "mistakes": np.array([0]),
}
ROWS = [
    {"path": "", "label": "cat", "predicted": "<b>dog</b>", "probability": "0.98"},
    {"path": "dog/<one>.png", "label": "dog", "predicted": "dog", "probability": "0.7"},
]
TILES = [b"query", b"first", b"second", b"mistake", b"black"]


def test_neighbors_are_marked_by_more_than_colour_and_carry_their_distance():
    section = neighbors_section(EXAMPLES, TILES, 32, ROWS, ["cat", "dog"])
    assert section.count("<li") == 3
    assert section.index("Test image dog/&lt;one&gt;.png") < section.index("dog/seven.png") < section.index("cat/nine")
    assert "✓ 0.25" in section
    assert "✗ 1.50" in section
    assert section.count('class="right"') == section.count('class="wrong"') == 1
    assert section.count('class="coarse"') == 3  # 32 pixels are shown enlarged


def test_mistakes_name_both_classes_and_the_probability_and_leave_empty_tiles():
    section = mistakes_section(EXAMPLES, TILES, 96, ROWS)
    assert section.count("<li") == 1
    assert "Test image 0" in section
    assert "✗ &lt;b&gt;dog&lt;/b&gt;" in section
    assert "98.0 %" in section
    assert "&gt; 99.9 %" in mistakes_section(EXAMPLES, TILES, 96, [{**ROWS[0], "probability": "0.99996"}, ROWS[1]])
    assert "bWlzdGFrZQ==" in section  # the tile after those of the neighbours
    assert "coarse" not in section


def test_a_run_without_mistakes_says_so():
    assert "No test image was classified wrongly." in mistakes_section(
        {**EXAMPLES, "mistakes": np.array([])}, [], 32, ROWS
    )


def test_data_without_files_names_the_images_by_number():
    examples = {**EXAMPLES, "neighbor_paths": np.array([], dtype=np.str_)}
    assert "Training image 9" in neighbors_section(examples, TILES, 32, ROWS, ["cat", "dog"])
