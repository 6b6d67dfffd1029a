"""Measurements know what else ran beside them."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from benchmarks import rates


def test_what_other_processes_have_had_is_all_that_was_used_but_for_ones_own(monkeypatch):
    clock = SimpleNamespace(wall=0.0, own=0.0, user=10.0)
    for name, value in {
        "time": SimpleNamespace(perf_counter=lambda: clock.wall, process_time=lambda: clock.own),
        "psutil.cpu_count": lambda: 2,
        "psutil.cpu_times": lambda: SimpleNamespace(
            _asdict=lambda: {"user": clock.user, "steal": 1.0, "idle": 100 + 2 * clock.wall, "guest": clock.user}
        ),
    }.items():
        monkeypatch.setattr(f"benchmarks.rates.{name}", value)
    others = rates.watch()
    clock.wall, clock.own, clock.user = 4.0, 2.0, 13.5
    assert others() == pytest.approx(1.5 / 8)


def test_another_process_is_seen():
    others = rates.watch()
    subprocess.run([sys.executable, "-c", "sum(range(40_000_000))"], check=True)
    assert others() > 0.5 / psutil.cpu_count()


@pytest.mark.parametrize(("share", "is_too_much"), [(0.02, False), (0.23, True)])
def test_a_measurement_beside_other_work_is_refused(share, is_too_much, monkeypatch):
    def measured():
        with rates.undisturbed():
            return True

    monkeypatch.setattr(rates, "watch", lambda: lambda: share)
    if is_too_much:
        with pytest.raises(rates.DisturbedError, match=r"other processes at work in 23 % .* at most 3 %"):
            measured()
    else:
        assert measured()
