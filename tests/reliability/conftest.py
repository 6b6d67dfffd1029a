"""Each test of the long set leaves a line in benchmarks/results/reliability.jsonl, passed or not.

A test adds what it measured by pytest's `record_property`, and the count of its cases by a parameter named `count`.
"""

import itertools
import time
from collections import namedtuple
from datetime import date

import pytest
from benchmarks import records

from reliability.crashes import drawn
from reliability.victim import fingerprint, finish, start, wait_for
from tercet.errors import TercetError
from tercet.run_folder import commit, machine

Uninterrupted = namedtuple("Uninterrupted", "told seconds seconds_of_work fingerprint")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if item.config.getoption("markexpr") != "reliability" or report.when != "call":
        return
    case = getattr(item, "callspec", None)
    count = case and case.params.get("count")
    records.append(
        "reliability",
        {
            "test": f"{item.path.stem}::{item.originalname}",
            "case": "-".join(part for part in case.id.split("-") if part != str(count)) if case else "",
            "count": count,
            "passed": report.passed,
            "measured": dict(item.user_properties),
            "seconds": round(report.duration, 1),
            "date": date.today().isoformat(),
            "machine": machine(),
            "commit": commit(),
            "command": f"scripts/test -m reliability {item.path.relative_to(item.config.rootpath)}",
        },
    )


@pytest.fixture(scope="session")
def uninterrupted(folder, tmp_path_factory):
    """A victim's run of the pictures of `folder` that nothing happened to: what it tells, its seconds, its bytes."""
    out, begun = tmp_path_factory.mktemp("victims") / "whole", time.monotonic()
    process = start("run", folder, out)
    wait_for(out / "run.json")
    saved_from = time.monotonic()  # before, nothing is to be saved
    told, _ = finish(process)
    ended = time.monotonic()
    return Uninterrupted(told, ended - begun, ended - saved_from, fingerprint(out))


@pytest.fixture
def root(tmp_path):
    """A folder to record."""
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def check_each(tmp_path):
    """Calls `check(folder, notes)` on what each crash leaves."""
    numbers = itertools.count()

    def check_each(crashes, check):
        for crash in crashes:
            check(crash.write(tmp_path / "replayed" / str(next(numbers))), crash.notes)

    return check_each


@pytest.fixture
def survives(check_each, record_property):
    """Checks all crashes, or a number of them drawn by lot."""

    def check_drawn(crashes, check, count=None):
        chosen = drawn(crashes, count)
        record_property("crashes", len(chosen))
        check_each(chosen, check)

    return check_drawn


@pytest.fixture
def loses(check_each):
    """Sees a check fail in one of the crashes at least."""

    def check_until_lost(crashes, check):
        with pytest.raises((AssertionError, TercetError, OSError)):
            check_each(crashes, check)

    return check_until_lost
