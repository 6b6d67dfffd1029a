"""The model card says what the run found, in Markdown that survives any class name."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from tercet.errors import ModelError
from tercet.evaluation.card import write_card

FIGURES = {
    "test_accuracy": 0.875,
    "ci95": [0.8, 0.92],
    "balanced_accuracy": 0.85,
    "macro_f1": 0.84,
    "fit_seconds": 61.2,
    "per_class": {"cat": {"n": 1200, "recall": 0.9}, "a|b <i>`x`": {"n": 40, "recall": None}},
}


@pytest.fixture
def run(tmp_path):
    data = {"name": "pets", "classes": ["cat", "a|b <i>`x`"], "n_train": 5000, "n_validation": 500, "n_test": 1240}
    data |= {"size": 64, "fingerprint": "f00d", "skipped": 3, "note": ""}
    results = {
        "data": data,
        "methods": {"triplet_mlp_head": FIGURES, "majority": {**FIGURES, "test_accuracy": 0.5}},
        "verdict": "Ahead of the majority class.",
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    record = {
        "tercet": "0.1.0",
        "command": "tercet run pets --out r",
        "seed": 7,
        "config": {"dimensions": 96, "normalize": True, "class_weight": "none"},
        "machine": {"processor": "abacus", "torch": "2.9"},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_says_what_the_run_found(run):
    text = write_card(run).read_text()
    assert (run / "README.md").read_text() == text
    for words in (
        "# pets\n",
        "image to 96 numbers, of unit length",
        "**Ahead of the majority class.**",
        "classes to be as frequent as they were in training",
        "5,000 training, 500 validation and 1,240 test images, seen at 64 × 64 pixels. Files or folders left out: 3.",
        "| triplet encoder + MLP head | 87.5 (80.0 to 92.0) | 85.0 | 84.0 |",
        "| majority class | 50.0 (80.0 to 92.0) |",
        "| cat | 1,200 | 90.0 |",
        "```bash\ntercet run pets --out r\n```",
        "| seed | 7 |",
        "| processor | abacus |",
        "| encoder and head, seconds | 61 |",
        "Files or folders left out, each for a reason given by name: 3.",
    ):
        assert words in text, words


def test_the_header_is_what_a_hub_reads(run):
    card = ModelCard.load(write_card(run))
    assert card.data.library_name == "tercet"
    assert card.data.eval_results[0].metric_value == 0.875
    assert card.text.lstrip().startswith("# pets\n")


def saved_model(folder):
    (folder / "figures").mkdir(parents=True)
    (folder / "figures/tsne.png").write_bytes(b"a picture")
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text("{}")


def test_the_model_s_folder_has_a_card_of_its_own_that_needs_nothing_outside(run):
    saved_model(run)
    written = write_card(run)
    assert written == run / "README.md"
    cards = {folder: ModelCard.load(folder / "README.md") for folder in (run, run / "model")}
    assert cards[run].data.to_dict() == cards[run / "model"].data.to_dict()
    for folder, card in cards.items():
        targets = re.findall(r"\]\((.*?)\)", card.text)
        assert targets == ["figures/tsne.png"]
        assert (folder / targets[0]).read_bytes() == b"a picture"
    assert 'tercet.load("model")  # in this folder' in cards[run].text
    assert 'tercet.load(".")  # this folder, or what huggingface_hub' in cards[run / "model"].text


def test_a_picture_that_is_not_there_is_not_shown(run):
    saved_model(run)
    (run / "figures/tsne.png").unlink()
    write_card(run)
    assert "![" not in (run / "README.md").read_text() + (run / "model/README.md").read_text()
    assert sorted(path.name for path in (run / "model").iterdir()) == ["README.md", "config.json"]


def test_of_several_seeds_the_first_one_s_picture_is_shown(run):
    saved_model(run / "seed-0")
    text = write_card(run).read_text()
    assert "](seed-0/figures/tsne.png)" in text
    assert 'tercet.load("seed-0/model")' in text
    assert not (run / "model").exists()


def test_class_names_mean_nothing_to_markdown(run):
    text = write_card(run).read_text()
    assert "| a\\|b &lt;i&gt;\\`x\\` | 40 | – |" in text
    assert "<i>" not in text


def test_several_seeds_show_their_deviation(run):
    results = json.loads((run / "results.json").read_text())
    results["methods"]["triplet_mlp_head"]["seeds"] = {"n": 3, "mean": 0.875, "sd": 0.012, "values": []}
    (run / "results.json").write_text(json.dumps(results))
    text = write_card(run).read_text()
    assert "means over 3 seeds, ± standard deviation" in text
    assert "| triplet encoder + MLP head | 87.5 ± 1.2 |" in text


def test_a_run_that_has_not_finished_is_refused_in_words(tmp_path):
    with pytest.raises(ModelError, match=r"found no results.json in .*; expected a finished run"):
        write_card(tmp_path)


def test_of_several_seeds_the_first_one_s_model_is_loaded_and_every_one_s_help_is_told(run):
    for seed in (0, 1):
        (run / f"seed-{seed}").mkdir()
    (run / "seed-1" / "history.jsonl").write_text(json.dumps({"phase": "encoder", "intervention": "went back"}) + "\n")
    text = write_card(run).read_text()
    assert 'tercet.load("seed-0/model")  # in this folder' in text
    assert "Training went wrong in 1 epoch" in text


def test_says_what_the_encoder_stands_on_and_how_to_load_that(run):
    assert "stands on" not in write_card(run).read_text()
    assert 'tercet.load("model")  # in this folder' in write_card(run).read_text()
    record = json.loads((run / "run.json").read_text())
    record["config"] |= {"encoder": "pretrained", "backbone": "Colors 0123"}
    (run / "run.json").write_text(json.dumps(record))
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text(json.dumps({"backbone": "Colors"}))
    text = write_card(run).read_text()
    assert "stands on a network given from outside, which stays as it is" in text
    assert 'tercet.load("model", backbone=Colors(...))' in text
