"""The benchmark of search on a few vectors, with its records in a temporary folder."""

import sys

import pytest
from benchmarks import records, search


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(search, "ROWS", (200, 300))
    monkeypatch.setattr(search, "QUERIES", (1, 4))
    monkeypatch.setattr(search, "BLOCK", 128)
    monkeypatch.setattr(search, "THREADS", 1)
    monkeypatch.setattr(search, "REPETITIONS", (2, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_both_sides_are_measured_and_find_the_same(quick):
    found = [{"rows": 300, "library": name, **search.measure_here(name, 300)} for name in search.LIBRARIES]
    for record in found:
        for name in ("queries_1", "queries_4"):
            assert 0 < record[name]["seconds_min"] <= record[name]["seconds_median"]
            assert record[name]["repetitions"] == 2
    search.check(found)
    found[0]["queries_4"]["found"] = "something else"
    with pytest.raises(AssertionError):
        search.check(found)


def test_the_command_keeps_a_line_each_and_measures_nothing_twice(quick, monkeypatch, capsys):
    calls = []

    def measure(library, rows):
        calls.append((library, rows))
        queries = {f"queries_{count}": {"seconds_min": 0.25 * count, "found": "same"} for count in (1, 4)}
        return {"library": library, "rows": rows, **queries}

    monkeypatch.setattr(search, "measure", measure)
    monkeypatch.setattr("sys.argv", ["search"])
    search.main()
    search.main()
    assert len(calls) == len(set(calls)) == len(records.read("search")) == 4
    assert "| 300 | 4 | 1,000.0 | 1,000.0 |" in capsys.readouterr().out
    assert records.read("search")[0].keys() >= {"machine", "commit", "command", "versions"}
