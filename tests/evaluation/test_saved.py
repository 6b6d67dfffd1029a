import numpy as np
import pytest

from tercet.errors import ModelError
from tercet.evaluation.saved import read_arrays, read_history, read_pairs, read_predictions, read_record


def test_what_is_not_there_is_nothing(tmp_path):
    assert read_record(tmp_path / "run.json") is None
    assert read_arrays(tmp_path / "tsne.npz", "points") is None
    assert read_history(tmp_path) == read_predictions(tmp_path) == []
    assert read_pairs(tmp_path) is None


def test_only_the_arrays_asked_for_are_read(tmp_path):
    np.savez(tmp_path / "some.npz", one=np.ones(2), two=np.zeros(3))
    assert read_arrays(tmp_path / "some.npz", "two", "three").keys() == {"two"}


def test_predictions_keep_file_names_that_are_no_text(tmp_path):
    (tmp_path / "predictions.csv").write_bytes(b"index,path\n0,bad\xff.png\n")
    assert read_predictions(tmp_path) == [{"index": "0", "path": "bad\udcff.png"}]


def test_pairs_are_the_same_each_time(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.savez(tmp_path / "embeddings.npz", test=rows, test_labels=np.arange(20) % 2)
    assert np.array_equal(read_pairs(tmp_path).same, read_pairs(tmp_path).same)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run.json", lambda run: read_record(run / "run.json")),
        ("history.jsonl", read_history),
        ("embeddings.npz", read_pairs),
    ],
)
@pytest.mark.parametrize("content", ["{half", "PK\x03\x04 cut"])
def test_damaged_files_are_one_sentence(tmp_path, name, read, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=f"{name} unreadable"):
        read(tmp_path)


def test_a_record_must_be_an_object(tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ModelError, match="no JSON object"):
        read_record(tmp_path / "run.json")
