"""What the scripts install is what the locks say, and an audit that saw nothing never says that all is well."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
LOCKS = {name: (ROOT / "scripts" / name).read_text() for name in ("tools.lock", "audit.lock")}
TOOLS = {"build", "hatchling", "hypothesis", "import-linter", "mypy", "pytest", "pytest-xdist", "ruff"}
# In place of pip-audit: finds nothing against a locked package but what the report says.
STAND_IN = """
import json, pathlib, sys
output, locked = (pathlib.Path(sys.argv[sys.argv.index(option) + 1]) for option in ("--output", "--requirement"))
if report is not None:
    packages = [line.split("==") for line in locked.read_text().split()]
    found = [{"name": name, "version": version} | report.get(name, {"vulns": []}) for name, version in packages]
    output.write_text(json.dumps({"dependencies": found}))
"""


def entries(lock):
    """Name, version and hashes of each package of a lock."""
    found = re.findall(r"^([\w.-]+)==(\S+)[^\n]*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.MULTILINE)
    return {name: (version, hashes.count("--hash=")) for name, version, hashes in found}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes_and_the_pinned_version(name):
    found = entries(LOCKS[name])
    assert len(found) == LOCKS[name].count("==") - LOCKS[name].count("== '") > 20
    for package, (version, hashes) in found.items():
        assert hashes >= 1, package
        assert PINS.get(package, version) == version, package


def test_the_tools_of_the_check_are_locked():
    assert entries(LOCKS["tools.lock"]).keys() >= TOOLS
    called = set(re.findall(r"^\.venv/bin/([a-z-]+)", (ROOT / "scripts" / "check").read_text(), re.MULTILINE))
    assert called - {"python"} == {"ruff", "mypy", "lint-imports"}


def audited(tmp_path, report):
    """Status and words of `scripts/audit` where pip-audit leaves this report, or none."""
    tool = tmp_path / "pip-audit"
    tool.write_text(f"#!{sys.executable}\nreport = {report!r}\n{STAND_IN}")
    tool.chmod(0o755)
    environment = {"PIP_AUDIT": str(tool), "PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    return subprocess.run(ROOT / "scripts" / "audit", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("report", "status", "says"),
    [
        ({}, 0, "no vulnerability is known of the "),
        ({"torch": {"vulns": [{"id": "CVE-1"}]}}, 1, "torch 2.13.0: CVE-1"),
        ({"torch": {"skip_reason": "not found"}}, 3, "1 of "),
        (None, 3, "audit: no list of vulnerabilities can be reached, so nothing was checked"),
    ],
    ids=["sound", "known", "not found", "no list"],
)
def test_the_audit_says_what_it_saw(tmp_path, report, status, says):
    done = audited(tmp_path, report)
    assert done.returncode == status, done.stderr
    assert says in (done.stdout if status < 3 else done.stderr)
    assert len((done.stdout + done.stderr).splitlines()) == 1
