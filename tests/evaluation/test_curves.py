from tercet.evaluation import curves


def encoder(epoch, **more):
    line = {"phase": "encoder", "epoch": epoch, "seconds": 40.0 * epoch, "loss": 0.5 / epoch}
    return {**line, "active_share": 0.3, "validation_accuracy": 0.7, **more}


def cnn(epoch):
    return {"phase": "cnn", "epoch": epoch, "seconds": 30.0 * epoch, "loss": 1.5, "validation_accuracy": 0.6}


def head(epoch):
    line = {"phase": "head", "epoch": epoch, "seconds": 0.2 * epoch, "loss": 0.6}
    return {**line, "train_accuracy": 0.9, "validation_accuracy": 0.85}


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_accuracy_has_a_panel_for_learners_and_one_for_the_head():
    figure = curves.accuracy_figure([encoder(1), encoder(2), cnn(1), head(1), head(2)])
    left, right = figure.axes
    assert [list(line.get_xdata()) for line in left.lines] == [[40, 80], [30]]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "encoder, nearest neighbours",
        "same network, cross-entropy",
    ]
    assert [list(line.get_ydata()) for line in right.lines] == [[0.9, 0.9], [0.85, 0.85]]
    assert left.get_ylim()[1] <= 1


def test_missing_phases_and_figures_take_no_panel():
    assert titles(curves.accuracy_figure([encoder(1)])) == ["Validation accuracy"]
    assert titles(curves.accuracy_figure([encoder(1, validation_accuracy=None), head(1)])) == ["Small network (head)"]
    assert titles(curves.loss_figure([encoder(1, active_share=None)])) == ["Encoder: loss"]
    assert titles(curves.accuracy_figure([])) == titles(curves.loss_figure([])) == []


def test_loss_has_an_axis_of_its_own_for_each_quantity():
    figure = curves.loss_figure([encoder(1), cnn(1), head(1)])
    assert titles(figure) == [
        "Encoder: loss",
        "Encoder: share of triplets active",
        "Same network, cross-entropy: loss",
        "Small network (head): loss",
    ]
    assert all(len(axes.lines) == 1 for axes in figure.axes)


def test_one_epoch_shows_as_a_marker():
    for axes in curves.loss_figure([encoder(1), cnn(1), head(1)]).axes:
        assert axes.lines[0].get_marker() in ("o", "s", "^")
        assert [tick for tick in axes.get_xticks() if abs(tick - 1) < 0.5] == [1]
