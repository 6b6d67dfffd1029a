"""The zoo of forty files read by a process of its own: exactly what is expected, in bounded memory."""

import json
import subprocess
import sys

from reliability.tiers import counts
from zoo import EMPTY, FILES, READ, SKIPPED, write_zoo

MOST_BYTES = 500e6  # of the whole process, torch included
PROGRAM = """
import json, sys
from pathlib import Path
from tercet.data.folder import read_folder
from tercet.memory import peak_memory_bytes
reading = read_folder(Path(sys.argv[1]))
found = {"paths": reading.parts["train"].paths, "skipped": reading.skipped, "peak": peak_memory_bytes()}
print(json.dumps(found))
"""


@counts(few=1, full=5)
def test_the_zoo_is_read_as_expected_in_bounded_memory(count, tmp_path, record_property):
    zoo, peak = write_zoo(tmp_path / "zoo"), 0
    for _ in range(count):
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(zoo)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert sorted(found["paths"]) == sorted(READ)
        skipped = dict(line.split(": ", 1) for line in found["skipped"])
        assert skipped.keys() == {*SKIPPED, EMPTY}
        assert all(skipped[path].startswith(reason) for path, (_, reason) in SKIPPED.items())
        peak = max(peak, found["peak"])
    record_property("files", len(FILES))
    record_property("most_megabytes", round(peak / 1e6))
    assert len(FILES) == 40
    assert peak <= MOST_BYTES
