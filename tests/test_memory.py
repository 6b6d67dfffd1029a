import json
import platform
import subprocess
import sys

import pytest

from tercet import memory
from tercet.memory import keep_freed_memory

# In a process of its own, since the setting stays.
FAULTS = """
import json, resource, sys
import numpy as np
from tercet.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(5 * 2**19) for _ in range(3)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps([kept, work(), work()]))
"""


def page_faults(mode):
    command = [sys.executable, "-c", FAULTS, mode]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_blocks_are_taken_again_without_new_pages():
    kept, first, second = page_faults("keep")
    assert kept is True
    assert second < first / 10
    _, first, second = page_faults("leave")
    assert second > first / 2  # or this module has nothing to do any more


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_elsewhere_nothing_is_done(monkeypatch, system):
    monkeypatch.setattr(memory.platform, "system", lambda: system)
    assert keep_freed_memory() is False
