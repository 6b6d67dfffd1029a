import logging
import warnings
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tercet.evaluation import look
from tercet.evaluation.palette import PALETTE

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


@look.in_our_look
def some_figure(title=""):
    figure = Figure()
    figure.add_subplot(title=title).plot([1, 2])
    return figure


@pytest.mark.parametrize("sight", SIGHTS)
def test_no_two_colors_look_alike_to_any_sight(sight):
    distances = [np.linalg.norm(oklab(a, sight) - oklab(b, sight)) for a, b in combinations(PALETTE, 2)]
    assert min(distances) > 0.07  # matplotlib's own ten colours come down to 0.01


def test_save_writes_the_same_bytes_and_leaves_nothing_else(tmp_path):
    for name in ("one.png", "two.png"):
        look.save(some_figure(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png"}


def test_the_settings_of_the_caller_neither_change_nor_matter(tmp_path):
    look.save(some_figure(), tmp_path / "plain.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        before = dict(matplotlib.rcParams)
        look.save(some_figure(), tmp_path / "other.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_letters_that_no_font_has_are_drawn_without_a_warning(tmp_path, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "matplotlib"):
        warnings.simplefilter("error")
        look.save(some_figure("猫 قطة \U0001f408"), tmp_path / "cat.png")
    assert not caplog.records


def test_fallback_fonts_are_those_that_are_here_and_come_after_the_one_that_always_is(monkeypatch):
    assert look.fonts()[0] == "DejaVu Sans"
    present = look.fonts()
    monkeypatch.setattr(look, "FALLBACK_FONTS", ("No Such Font", "DejaVu Serif"))
    assert look.fonts() == ["DejaVu Sans", "DejaVu Serif"]
    assert "No Such Font" not in present


def test_long_and_undecodable_names_are_shortened():
    assert look.short("a name that goes on and on") == "a name that goes …"
    assert look.short("bad \udcff\nbyte") == "bad ? byte"
