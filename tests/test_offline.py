"""Tests stay on this machine, and so does an import of tercet."""

import socket
import subprocess
import sys

import pytest

from mirror import serve
from offline.sitecustomize import Outside
from test_exports import MODULES

ELSEWHERE = "192.0.2.1"  # kept for documentation: RFC 5737


@pytest.mark.parametrize(
    "call",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=1),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"", (ELSEWHERE, 53)),
        lambda: socket.getaddrinfo("tercet.invalid", 80),
        lambda: socket.gethostbyname("tercet.invalid"),
    ],
    ids=["connection", "datagram", "name", "old name"],
)
def test_whoever_leaves_this_machine_is_stopped(call):
    with pytest.raises(Outside, match="tests stay on this machine"):
        call()


def test_this_machine_can_be_reached():
    with serve(b"") as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.server_port)).close()


def test_processes_are_stopped_too():
    line = f"import socket\ntry: socket.create_connection(({ELSEWHERE!r}, 80), timeout=1)\nexcept Exception: pass"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tests stay on this machine" in done.stderr


@pytest.mark.slow
def test_importing_every_module_opens_no_socket():
    program = """
import importlib, socket, sys
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith("socket.") else None)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*seen)
socket.socket().close()
print(*seen)
"""
    command = [sys.executable, "-c", program, *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "socket.__new__"]
    assert len(MODULES) > 90
