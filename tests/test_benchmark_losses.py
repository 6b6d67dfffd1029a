"""The benchmark of losses on batches of a few images, with its records in a temporary folder."""

import subprocess
import sys

import pytest
from benchmarks import losses, records


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(losses, "SIZES", (40,))
    monkeypatch.setattr(losses, "THREADS", 1)
    monkeypatch.setattr(losses, "REPETITIONS", (2, 2))


@pytest.mark.parametrize("method", losses.METHODS)
def test_both_sides_are_measured_and_agree_where_they_mean_the_same(quick, method):
    found = []
    for library in losses.LIBRARIES:
        measured = losses.measure_here(library, method, 40)
        assert measured["repetitions"] == 2
        assert 0 < measured["seconds_min"] <= measured["seconds_median"]
        assert measured["extra_memory_bytes"] >= 0
        assert not measured["values_differ"]
        found.append({"library": library, "method": method, "size": 40, **measured})
    losses.check(found)
    found[0]["value"] *= 1.01
    if method in losses.ALIKE:
        with pytest.raises(AssertionError):
            losses.check(found)


def test_a_size_that_would_not_fit_is_skipped_and_says_so():
    record = losses.measure("pytorch-metric-learning", "all", 4096)
    assert "GiB" in record["skipped"]
    assert "seconds_min" not in record
    assert "| all | 4,096 | - | - | - | - |" in losses.table([record])


def test_the_command_keeps_a_line_each_and_measures_nothing_twice(quick, monkeypatch, capsys):
    calls = []

    def measure(library, method, size):
        calls.append((library, method, size))
        return {"library": library, "method": method, "size": size, "value": 1.0, "seconds_min": 0.5}

    monkeypatch.setattr(losses, "measure", measure)
    monkeypatch.setattr("sys.argv", ["losses"])
    losses.main()
    losses.main()
    assert len(calls) == len(set(calls)) == len(records.read("losses")) == 8
    assert "| hard | 40 | 500.0 | 500.0 | - | - |" in capsys.readouterr().out


@pytest.mark.slow
def test_peak_memory_is_that_since_the_restart():
    """In a process of its own: one that has freed memory before may keep it and need no more."""
    program = """
import torch
from benchmarks import losses
torch.ones(64 * 2**20)
before = losses.peak_bytes(restart=True)
torch.ones(16 * 2**20)
print(losses.peak_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert 60 * 2**20 < int(done.stdout) < 80 * 2**20
