import json
import platform
import subprocess
import sys

import pytest

from tercet import memory
from tercet.errors import DataError
from tercet.memory import BESIDE, free_memory, keep_freed_memory, require_memory

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


V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "700",
    "sys/fs/cgroup/memory/memory.stat": "cache 9\ntotal_inactive_file 100\ntotal_active_file 50\n",
}
V2 = {
    "proc/self/cgroup": "0::/user/job\n",
    "sys/fs/cgroup/user/memory.max": "1000",
    "sys/fs/cgroup/user/memory.current": "900",
    "sys/fs/cgroup/user/memory.stat": "anon 1\ninactive_file 40\nactive_file 10\n",
    "sys/fs/cgroup/user/job/memory.max": "max",
    "sys/fs/cgroup/user/job/memory.current": "900",
    "sys/fs/cgroup/user/job/memory.stat": "inactive_file 40\nactive_file 10\n",
}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (V1, [450]),  # of the group at the top, as in a container that does not see its own
        (V2, [150]),  # of the outer group; the inner one has no limit
        (V2 | {"sys/fs/cgroup/user/job/memory.max": "920"}, [70, 150]),
        ({"proc/self/cgroup": "0::/../..\n"}, []),
        ({}, []),  # no Linux
    ],
)
def test_what_containers_leave(tmp_path, files, left):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(memory._left_to_containers(tmp_path)) == left


def test_the_least_that_is_left_is_free(monkeypatch):
    alone = free_memory()
    assert alone > 2**20
    monkeypatch.setattr(memory, "_left_to_containers", lambda _: iter([5 * 2**20, 2**20]))
    assert free_memory() == 2**20
    monkeypatch.setattr(memory, "_left_by_own_limit", lambda: iter([-1]))
    assert free_memory() == 0


LIMITED = """
import resource, psutil
from tercet.memory import free_memory
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**26, resource.RLIM_INFINITY))
print(free_memory())
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="limits count elsewhere in another way")
def test_a_limit_of_the_process_counts():
    left = int(subprocess.run([sys.executable, "-c", LIMITED], check=True, capture_output=True, text=True).stdout)
    assert 2**25 < left <= 2**26


def test_what_is_too_much_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 20 * 10**9 + BESIDE)
    require_memory(20 * 10**9, "much", str)
    with pytest.raises(DataError) as refused:
        require_memory(41 * 10**9, "3,000,000 images", lambda free: f"give {free:,} bytes")
    assert str(refused.value) == (
        "found 3,000,000 images, which take about 41 GB where 20 GB are free; give 20,000,000,000 bytes."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak may begin at what the parent held")
def test_the_peak_is_not_that_of_the_process_that_began_it():
    held = bytearray(b"a") * 300_000_000
    asking = "from tercet.memory import peak_memory_bytes; print(peak_memory_bytes())"
    begun = subprocess.run([sys.executable, "-c", asking], check=True, capture_output=True, text=True)
    assert memory.peak_memory_bytes() > len(held) > int(begun.stdout) > 0
