import numpy as np

from tercet.evaluation import plots
from tercet.evaluation.look import save
from tercet.evaluation.separation import Separation


def texts(axes):
    return [text.get_text() for text in axes.texts]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


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


def test_names_with_signs_of_mathematics_lines_or_no_text_are_drawn(tmp_path):
    names = [r"$\nonsense$", "two\nlines", "bad \udcff byte", "a name that goes on and on and on"]
    save(plots.confusion_figure(np.eye(4, dtype=int), names), tmp_path / "confusion.png")
    save(plots.tsne_figure(np.eye(4)[:, :2], np.arange(4), names, "$5"), tmp_path / "tsne.png")


def test_distances_are_drawn_as_two_hills_over_the_same_bins():
    pairs = Separation(np.array([0.1, 0.1, 0.2]), np.array([0.9, 1.0, 1.0]), spread=0.5)
    axes = plots.distances_figure(pairs).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["same class", "different classes"]
    heights = [patch.get_data().values for patch in axes.patches[1::2]]
    assert [float(height.sum()) for height in heights] == [1.0, 1.0]
    assert heights[0].argmax() < heights[1].argmax()
