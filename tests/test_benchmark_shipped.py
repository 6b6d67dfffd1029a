"""How a run becomes the model in the box, on the run folder of a small run."""

import pytest
from benchmarks import records, shipped

import tercet
from tercet.config import DEFAULT_MODEL
from tercet.pipeline import evaluate


@pytest.fixture
def box(folder, monkeypatch, tmp_path):
    """Where the model would come to lie; a model of before is there."""
    monkeypatch.setattr(records, "FOLDER", tmp_path / "records")
    monkeypatch.setattr(shipped, "DATA", str(folder))
    monkeypatch.setattr(shipped, "LOST", 1.0)  # a few test images prove nothing
    place = tmp_path / DEFAULT_MODEL
    place.mkdir()
    (place / "old").touch()
    monkeypatch.setattr(shipped, "SHIPPED", {DEFAULT_MODEL: place})
    return place


def test_it_is_kept_in_half_precision_with_figures_of_both(box, finished):
    shipped.main(finished)
    assert {file.name for file in box.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    (record,) = records.read("shipped")
    assert record["is_shipped"]
    single, half = tercet.load(finished), tercet.load(box)
    assert record["bytes"] == (box / "model.safetensors").stat().st_size
    assert record["bytes"] < 0.8 * (finished / "model/model.safetensors").stat().st_size
    for bundle, accuracy in ((single, record["test_accuracy_single"]), (half, record["test_accuracy"])):
        found = evaluate(shipped.DATA, bundle)
        assert found.methods["triplet_mlp_head"]["test_accuracy"] == accuracy
    card = (box / "README.md").read_text()
    for words in ("license: mit", f'tercet.load("{DEFAULT_MODEL}")', "kept in half precision"):
        assert words in card


@pytest.mark.parametrize("limit", ["LOST", "MOST_BYTES"])
def test_what_loses_too_much_or_is_too_large_is_recorded_and_not_shipped(box, finished, monkeypatch, limit):
    monkeypatch.setattr(shipped, limit, -1)
    with pytest.raises(SystemExit, match="not to be shipped"):
        shipped.main(finished)
    assert [file.name for file in box.iterdir()] == ["old"]
    assert not records.read("shipped")[0]["is_shipped"]
