"""`tercet serve` before it listens: what is said in one sentence."""

from pathlib import Path

import pytest

from tercet.cli import build_parser, main
from tercet.errors import UsageError
from tercet.inference import serve as module
from tercet.inference.serve import serve
from tercet.model.bundle import SHIPPED


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


def test_a_run_folder_of_the_name_is_not_taken_for_the_surroundings_of_the_model_in_the_box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10" / "model").mkdir(parents=True)
    (tmp_path / "cifar10" / "model" / "config.json").write_text("{}")
    read = []

    def note(model, bundle):
        read.append(Path(model))
        raise UsageError("far enough")

    monkeypatch.setattr("tercet.inference.service.surroundings.read_surroundings", note)
    with pytest.raises(UsageError, match="far enough"):
        serve("cifar10", port=0, on_listening=print)
    assert read == [SHIPPED["cifar10"]]
