"""The benchmark of the service with a few requests, its records in a temporary folder."""

import numpy as np
import pytest
from benchmarks import records, serving
from benchmarks.around import default_bundle, random_images

from tercet.model.bundle import load_bundle


def test_the_bundle_that_benchmarks_serve_is_loaded_as_it_was_saved(tmp_path):
    bundle = default_bundle()
    bundle.save(tmp_path)
    images = random_images(3).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(load_bundle(tmp_path).predict_proba(images), bundle.predict_proba(images))


@pytest.mark.slow
def test_a_small_trial_measures_and_the_service_ends_well(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(serving, "REQUESTS", 24)
    monkeypatch.setattr("sys.argv", ["serving"])
    serving.main()
    (record,) = records.read("serving")
    assert record["requests"] == 24
    assert 0 < record["p50_ms"] <= record["p95_ms"] <= record["p99_ms"] <= record["most_ms"]
    assert record["requests_per_second"] > 0
    assert 50e6 < record["memory_before_bytes"] <= record["memory_warm_bytes"]
    monkeypatch.setattr(serving, "measure", lambda requests: pytest.fail("measured twice"))
    serving.main()
    monkeypatch.setattr(serving, "measure", lambda requests: {"requests": requests})
    monkeypatch.setattr("sys.argv", ["serving", "--requests", "8"])
    serving.main()
    assert capsys.readouterr().out == '{\n  "requests": 8\n}\n'
    assert len(records.read("serving")) == 1
