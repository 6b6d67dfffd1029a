from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tercet.evaluation import plots

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def oklab(color, sight):
    """Ottosson 2020, https://bottosson.github.io/posts/oklab/."""
    encoded = np.array(to_rgb(color))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHTS[sight]) @ linear, 0, 1)
    cones = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.2119035, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.6299787],
    ]
    lab = [
        [0.21045426, 0.79361778, -0.00407205],
        [1.9779985, -2.42859221, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.array(lab) @ np.cbrt(np.array(cones) @ seen)


def encoder(epoch, **more):
    line = {"phase": "encoder", "epoch": epoch, "seconds": 40.0 * epoch, "loss": 0.5 / epoch}
    return {**line, "active_share": 0.3, "validation_accuracy": 0.7, **more}


def cnn(epoch):
    return {"phase": "cnn", "epoch": epoch, "seconds": 30.0 * epoch, "loss": 1.5, "validation_accuracy": 0.6}


def head(epoch):
    line = {"phase": "head", "epoch": epoch, "seconds": 0.2 * epoch, "loss": 0.6}
    return {**line, "train_accuracy": 0.9, "validation_accuracy": 0.85}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.parametrize("sight", SIGHTS)
def test_no_two_colors_look_alike_to_any_sight(sight):
    distances = [np.linalg.norm(oklab(a, sight) - oklab(b, sight)) for a, b in combinations(plots.PALETTE, 2)]
    assert min(distances) > 0.07  # matplotlib's own ten colours come down to 0.01


def test_tsne_writes_each_name_once_and_needs_no_legend():
    points = np.array([[0, 0], [0, 1], [9, 9], [9, 8]], dtype=np.float32)
    figure = plots.tsne_figure(points, np.array([0, 0, 1, 1]), ["cat", "dog"], "pets")
    axes = figure.axes[0]
    assert sorted(texts(axes)) == ["cat", "dog"]
    assert titles(figure) == ["pets"]
    assert len(axes.collections) == 1
    assert len(axes.collections[0].get_offsets()) == 4
    assert not figure.legends
    assert not axes.get_xticks().size


def test_tsne_of_many_classes_has_shapes_and_a_legend():
    points = np.random.default_rng(0).normal(size=(50, 2))
    figure = plots.tsne_figure(points, np.arange(50), [f"_kind {index}" for index in range(50)], "kinds")
    assert len(figure.axes[0].collections) == 3  # 50 classes of 20 colours
    assert len(figure.legends[0].get_texts()) == 50
    assert figure.legends[0].get_texts()[7].get_text() == "_kind 7"


def test_accuracy_has_a_panel_for_learners_and_one_for_the_head():
    figure = plots.accuracy_figure([encoder(1), encoder(2), cnn(1), head(1), head(2)])
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[40, 80], [30]]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "encoder, nearest neighbours",
        "CNN, cross-entropy",
    ]
    assert [list(line.get_ydata()) for line in right.lines] == [[0.9, 0.9], [0.85, 0.85]]
    assert left.get_ylim()[1] <= 1


def test_missing_phases_and_figures_take_no_panel():
    assert titles(plots.accuracy_figure([encoder(1)])) == ["Validation accuracy"]
    assert titles(plots.accuracy_figure([encoder(1, validation_accuracy=None), head(1)])) == ["Small network (head)"]
    assert titles(plots.loss_figure([encoder(1, active_share=None)])) == ["Encoder loss"]
    assert titles(plots.accuracy_figure([])) == titles(plots.loss_figure([])) == []


def test_loss_has_an_axis_of_its_own_for_each_quantity():
    figure = plots.loss_figure([encoder(1), cnn(1), head(1)])
    assert titles(figure) == ["Encoder loss", "Share of triplets active", "CNN loss", "Small network (head) loss"]
    assert all(len(axes.lines) == 1 for axes in figure.axes)


def test_one_epoch_shows_as_a_marker():
    for axes in plots.loss_figure([encoder(1), cnn(1), head(1)]).axes:
        assert axes.lines[0].get_marker() in ("o", "s", "^")
        assert [tick for tick in axes.get_xticks() if abs(tick - 1) < 0.5] == [1]


def test_confusion_shows_percentages_of_the_row_and_the_number_of_images():
    figure = plots.confusion_figure(np.array([[3, 1], [0, 1200]]), ["cat", "dog"])
    axes = figure.axes[0]
    assert texts(axes) == ["75.0", "25.0", "100"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (4)", "dog (1,200)"]
    assert np.allclose(axes.images[0].get_array(), [[75, 25], [0, 100]])


def test_confusion_of_many_classes_or_of_an_empty_class_is_drawn():
    many = plots.confusion_figure(np.eye(21, dtype=int), [f"class {index}" for index in range(21)])
    assert texts(many.axes[0]) == []
    assert len(many.axes) == 2  # the colour bar
    assert texts(plots.confusion_figure(np.array([[2, 0], [0, 0]]), ["cat", "dog"]).axes[0]) == ["100"]


def test_save_writes_the_same_bytes_and_leaves_nothing_else(tmp_path):
    for name in ("one.png", "two.png"):
        plots.save(plots.accuracy_figure([encoder(1), head(1)]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png"}


def test_names_with_signs_of_mathematics_lines_or_no_text_are_drawn(tmp_path):
    names = [r"$\nonsense$", "two\nlines", "bad \udcff byte", "a name that goes on and on and on"]
    plots.save(plots.confusion_figure(np.eye(4, dtype=int), names), tmp_path / "confusion.png")
    plots.save(plots.tsne_figure(np.eye(4)[:, :2], np.arange(4), names, "$5"), tmp_path / "tsne.png")


def test_the_settings_of_the_caller_neither_change_nor_matter(tmp_path):
    plots.save(plots.loss_figure([encoder(1)]), tmp_path / "plain.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        before = dict(matplotlib.rcParams)
        plots.save(plots.loss_figure([encoder(1)]), tmp_path / "other.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "other.png").read_bytes()
