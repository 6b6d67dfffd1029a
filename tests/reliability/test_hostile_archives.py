"""Archives made to do harm, given as data: read as far as they are good, or refused in a sentence.

Nothing is written outside of the cache, and none takes more than 100 MB beyond what a harmless one takes.
"""

import json
import os
import subprocess
import sys
from itertools import chain

import pytest

from hostile import READ, tars, zipped, zips
from reliability.tiers import counts

MOST_GROWTH = 100_000_000  # bytes
MOST_SECONDS = 30  # of one archive, here where others use the machine too
OPEN_EACH = """
import json, sys, time
from tercet.data.sources import open_dataset
from tercet.errors import TercetError
from tercet.memory import peak_memory_bytes
for name in sys.argv[1:]:
    begun = time.monotonic()
    try:
        dataset = open_dataset(name)
        outcome = f"{len(dataset.train) + len(dataset.test)} images"
    except TercetError as error:
        outcome = str(error)
    found = {"outcome": outcome, "most": peak_memory_bytes(), "seconds": time.monotonic() - begun}
    print(json.dumps(found), flush=True)
"""


def everything_below(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if "cache" not in path.parts}


@pytest.mark.skipif(sys.platform != "linux", reason="the most memory used is read from /proc")
@counts(4, 100)
def test_archives_made_to_do_harm_do_none(tmp_path, record_property, count):
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    archives = [("zip", zipped(), READ), *chain(tars(tmp_path, count), zips(tmp_path, count))]
    names, expected = [], []
    for place, (suffix, content, outcome) in enumerate(archives):
        (folder / f"{place}.{suffix}").write_bytes(content)
        names.append(f"{place}.{suffix}")
        expected.append(outcome)
    before = everything_below(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_EACH, *names],
        cwd=folder,
        env=os.environ | {"TERCET_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS * len(names),
    )
    assert "Traceback" not in done.stderr
    found = list(map(json.loads, done.stdout.splitlines()))
    growths = [one["most"] - found[0]["most"] for one in found]
    outcomes = [one["outcome"] for one in found]
    wrong = [(n, e, o) for n, e, o in zip(names, expected, outcomes, strict=True) if e not in o]
    assert wrong == []
    assert everything_below(tmp_path) == before
    record_property("archives", len(found))
    record_property("growth_bytes", max(growths))
    record_property("most_seconds", round(max(one["seconds"] for one in found), 1))
    assert max(growths) < MOST_GROWTH, names[growths.index(max(growths))]
    assert max(one["seconds"] for one in found) < MOST_SECONDS
