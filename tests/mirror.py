"""A local HTTP server that gives one file, with the faults a test asks for.

A fault is a status such as "503", "redirect", "page" (a log-in page with status 200), "shifted" (a wrong range), or
what happens to the line: "cut", "reset", "stall" or "hold", half way through the body or, as in "cut at 40", after so
many bytes of the answer, its head included. What is held goes on when `released` is set.
"""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LINES = ("cut", "reset", "stall", "hold")
LONGEST_WAIT_S = 30
NO_END = 2**40  # bytes


class Mirror(ThreadingHTTPServer):
    """`faults` are used up, one a request; what was asked and how much was sent is kept, in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.date = content, '"first"', ""
        self.has_ranges, self.announces_length = True, True
        self.faults: list[str] = []
        self.asked: list[dict[str, str]] = []
        self.sent: list[bytes] = []  # the body of each answer, or what the line let through of it
        self.passed: list[int] = []  # bytes of each write, heads included
        self.released = threading.Event()  # ends a stall, and lets go on what is held
        self.url = f"http://127.0.0.1:{self.server_port}/file.tar.gz"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up is part of the tests."""


class Line:
    """What an answer is written to: it lets `room` bytes through, then does what its fault says."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: Mirror, fault: str, room: int) -> None:
        self.handler, self.inner, self.server, self.fault, self.room = handler, handler.wfile, server, fault, room

    def write(self, data: bytes) -> None:
        now, rest = data[: self.room], data[self.room :]
        self.room -= len(now)
        self._pass(now)
        if not rest:
            return
        if self.fault in ("stall", "hold"):
            self.server.released.wait(LONGEST_WAIT_S)
        if self.fault == "hold":
            self.room = NO_END
            self._pass(rest)
        elif self.fault == "reset":  # no goodbye: what the reader has not read yet is lost to it
            self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass(self, data: bytes) -> None:
        self.inner.write(data)
        self.inner.flush()
        self.server.passed.append(len(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        server, asked = self.server, dict(self.headers)
        fault, _, place = (server.faults.pop(0) if server.faults else "").partition(" at ")
        server.asked.append(asked)
        server.sent.append(b"")
        number = len(server.sent) - 1
        self.wfile = line = Line(self, server, fault, int(place) if place else NO_END)  # type: ignore[assignment]
        if fault.isdigit():
            return self.send_error(int(fault))
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.tar.gz")
            return self.end_headers()
        body, first = server.content, 0
        if fault == "page":
            body = b"<html>Please log in to our wireless network</html>"
        elif server.has_ranges and asked.get("If-Range") in (None, server.tag, server.date) and "Range" in asked:
            first = int(re.findall(r"\d+", asked["Range"])[0])
            if first >= len(body):
                return self.send_error(416)
        self.send_head(fault, first, len(body))
        if fault in LINES and not place:
            line.room = (len(body) - first) // 2
        server.sent[number] = body[first:][: line.room]  # before the client may have it all and ask what was sent
        self.wfile.write(body[first:])
        return None

    def send_head(self, fault: str, first: int, size: int) -> None:
        """Status and fields for the bytes from `first` of a body."""
        server = self.server
        self.send_response(206 if first else 200)
        if first:
            shown = first + 1 if fault == "shifted" else first
            self.send_header("Content-Range", f"bytes {shown}-{size - 1}/{size}")
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/gzip")
        if server.announces_length:
            self.send_header("Content-Length", str(size - first))
        for name, value in (("ETag", server.tag), ("Last-Modified", server.date)):
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def serve(content: bytes) -> Iterator[Mirror]:
    """A mirror that runs until the end of the block."""
    with Mirror(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
