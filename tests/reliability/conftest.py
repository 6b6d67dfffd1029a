"""Each test of the long set leaves a line in benchmarks/results/reliability.jsonl, passed or not.

A test adds what it measured by pytest's `record_property`, and the count of its cases by a parameter named `count`.
"""

from datetime import date

import pytest
from benchmarks import records

from tercet.run_folder import commit, machine


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if item.get_closest_marker("reliability") is None or report.when != "call":
        return
    records.append(
        "reliability",
        {
            "test": f"{item.path.stem}::{item.originalname}",
            "count": getattr(item, "callspec", None) and item.callspec.params.get("count"),
            "passed": report.passed,
            "measured": dict(item.user_properties),
            "seconds": round(report.duration, 1),
            "date": date.today().isoformat(),
            "machine": machine(),
            "commit": commit(),
            "command": f"pytest -m reliability {item.path.relative_to(item.config.rootpath)}",
        },
    )
