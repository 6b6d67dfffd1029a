"""The page of promises says what the records say, and names every test of the long set."""

import re
from pathlib import Path

import pytest
from benchmarks import records, reliability

FOLDER = Path(__file__).parent / "reliability"
MARKED = r"counts\(|mark\.reliability"


def record(test, *, case="", count=5, passed=True, date="2026-11-25", **measured):
    return {"test": test, "case": case, "count": count, "passed": passed, "date": date, "measured": measured}


@pytest.fixture
def row(monkeypatch):
    """The cells of the row of test_lock, from these records."""

    def of(*given):
        monkeypatch.setattr(records, "read", lambda _: given)
        (line,) = [line for line in reliability.table().splitlines() if "test_lock.py" in line]
        return [cell.strip() for cell in line.split("|")][3:7]

    return of


def test_every_module_of_the_long_set_has_a_promise():
    promised = [module for promise in reliability.PROMISES for module in promise.modules]
    assert len(set(promised)) == len(promised)
    long = {path.stem for path in FOLDER.glob("test_*.py") if re.search(MARKED, path.read_text())}
    assert long == set(promised)


def test_what_has_no_record_was_not_run(row):
    assert row() == ["", "not run", "", "`scripts/test -m reliability tests/reliability/test_lock.py`"]
    assert row(record("test_locks::other"))[1] == "not run"


def test_the_newest_record_of_each_case_counts(row):
    old, new = record("test_lock::a", passed=False), record("test_lock::a", date="2026-11-26", most_seconds=2)
    assert row(old, new)[:3] == ["5", "passed; most seconds 2", "2026-11-26"]
    assert row(new, old)[1] == "failed: a"


def test_all_cases_must_have_passed(row):
    one, other = record("test_lock::a", case="x", most_seconds=1), record("test_lock::a", case="y", most_seconds=3)
    assert row(one, other, record("test_lock::b", count=None))[:2] == ["11", "passed; most seconds 1 to 3"]
    assert row(one, {**other, "passed": False})[1] == "failed: a; most seconds 1 to 3"


def test_a_promise_of_two_modules_needs_records_of_both(monkeypatch):
    monkeypatch.setattr(records, "read", lambda _: [record("test_properties::a")])
    (line,) = [line for line in reliability.table().splitlines() if "test_properties.py" in line]
    assert "not run" in line
