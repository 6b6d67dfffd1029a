"""Progress as lines of text, which log files and pipes get, and the table of results."""

from functools import partial
from io import StringIO

import pytest
from rich.console import Console

from tercet import terminal
from tercet.evaluation.verdict import LABELS
from tercet.terminal import LinesOfProgress, print_results


def test_lines_come_at_start_and_end_and_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    show = LinesOfProgress()
    show("read", 0, 0)
    for seconds, done, total in ((1, 64, 0), (15, 6_400, 0), (1, 64, 8_000), (23, 4_000, 8_000), (10, 8_000, 8_000)):
        now += seconds
        show("read", done, total)
    show("encoder", 1, 70)
    for seconds, done in ((20, 5), (20, 9)):  # 5 seconds a step
        now += seconds
        show("encoder", done, 70)
    show("seed 0: encoder", 39, 70)  # of a run that goes on
    now += 20
    show("seed 0: encoder", 43, 70)
    assert capsys.readouterr().err.splitlines() == [
        "read: 0 found so far, 0 s",
        "read: 6,400 found so far, 16 s",
        "read: 4,000 of 8,000, 40 s, 40 s left",
        "read: 8,000 of 8,000, 50 s",
        "encoder: 1 of 70 steps, 0 s",
        "encoder: 5 of 70 steps, 20 s, 5 min 25 s left",
        "encoder: 9 of 70 steps, 40 s, 5 min 5 s left",
        "seed 0: encoder: 39 of 70 steps, 0 s",
        "seed 0: encoder: 43 of 70 steps, 20 s, 2 min 15 s left",
    ]


@pytest.mark.parametrize("seeds", [{}, {"seeds": {"mean": 0.995, "sd": 0.0031, "n": 12}}], ids=["one run", "seeds"])
def test_a_terminal_of_80_columns_shows_every_figure_whole(
    seeds: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "Console", partial(Console, force_terminal=True, width=80))
    figures = {"ci95": (0.824, 1.0), "test_accuracy": 1.0, "macro_f1": 1.0, "fit_seconds": 3600.0, **seeds}
    print_results(dict.fromkeys(LABELS, figures), "photos: 18 test images")
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert all(label in printed for label in LABELS.values())
    assert ("99.50 ± 0.31 %" if seeds else "82.4 to 100.0 %") in printed


def test_a_terminal_of_80_columns_shows_progress_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = StringIO()
    monkeypatch.setattr(terminal, "Console", lambda **_: Console(file=printed, force_terminal=True, width=80))
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.progress(quiet=False) as show:
        show("seed 0: same network, cross-entropy", 1234, 1234)
        show("seed 0: encoder", 7, 1234)
        show("seed 0: logistic regression", 3, 3)
    assert "…" not in printed.getvalue()
    for words in ("seed 0: same network, cross-entropy", "1234/1234", "steps", "penalties", "left"):
        assert words in printed.getvalue()
