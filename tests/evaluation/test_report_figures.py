import numpy as np

from tercet.evaluation.report_figures import FIGURES, figure, separation_sentence
from tercet.evaluation.separation import Separation


def test_a_figure_that_was_not_drawn_is_left_out(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "loss.png").write_bytes(b"picture")
    assert figure(tmp_path, "tsne.png", "") == ""
    html = figure(tmp_path, "loss.png", " Seed 3.")
    assert "data:image/png;base64,cGljdHVyZQ==" in html
    assert " Seed 3.</figcaption>" in html
    assert f'alt="{FIGURES["loss.png"][0]}"' in html


def test_the_sentence_on_overlap_says_both_shares():
    apart = Separation(np.array([0.1, 0.2]), np.array([0.9, 1.0]), spread=0.9)
    assert "share 0.0 % of their area" in separation_sentence(apart)
    assert "nearer in 100.0 % of cases" in separation_sentence(apart)
    assert separation_sentence(None) == ""
