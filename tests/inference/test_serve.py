"""`tercet serve` before it listens: what is said in one sentence."""

import pytest

from tercet.cli import build_parser, main
from tercet.inference import serve as module


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert main(["serve", "--model", "nowhere"]) == 2
    assert "pip install 'tercet[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "status", "says"), [("0", 1, "found no model in nowhere"), ("70000", 2, "--port is 70000; expected 0 to")]
)
def test_a_wrong_model_or_port_is_one_sentence(port, status, says, capsys):
    assert main(["serve", "--model", "nowhere", "--port", port]) == status
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_port_is_8000_unless_told():
    assert build_parser().parse_args(["serve", "--model", "m"]).port == 8000
