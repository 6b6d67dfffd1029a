"""A real disk that is too small, for what SQLite and NumPy write past `disks`: it grows until all fits."""

import shutil
import subprocess
import sys

import pytest

from bundles import small_bundle
from pictures import write_folder

PROGRAM = """
import subprocess
from pathlib import Path
from tercet.cli import main
Path("disk").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "disk"], check=True)
status, pages = 1, 1
while status:
    subprocess.run(["mount", "-o", f"remount,size={4 * pages}k", "disk"], check=True)
    status, pages = main(["-q", "index", "photos", "--model", "model", "--out", "disk/index"]), pages + 1
    print(status, flush=True)
main(["-q", "search", "photos/plain/000.png", "--index", "disk/index", "-k", "100"])
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0,
    reason="needs leave to mount a small disk",
)
def test_an_index_on_a_disk_that_is_full_in_earnest(tmp_path):
    write_folder(tmp_path / "photos", 8)
    small_bundle().save(tmp_path / "model")
    command = ["unshare", "-rm", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    statuses, found = done.stdout.split("0\n", 1)[0].split(), done.stdout.split("unchanged", 1)[1].splitlines()[1:]
    assert statuses[:3] == ["1"] * 3
    assert len(said) == statuses.count("1")
    assert all(line.startswith("tercet: disk/index cannot be written") for line in said)
    assert all("No space left on device" in line or "disk is full" in line for line in said)
    assert len(found) == 25
