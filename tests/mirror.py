"""A local HTTP server that gives one file, with the faults a test asks for."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mirror(ThreadingHTTPServer):
    """`faults` are used up, one a request; what was asked and how much was sent is kept, in order."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.date = content, '"first"', ""
        self.has_ranges, self.announces_length = True, True
        self.faults: list[str] = []
        self.asked: list[dict[str, str]] = []
        self.sent: list[bytes] = []
        self.released = threading.Event()  # ends a stall
        self.url = f"http://127.0.0.1:{self.server_port}/file.tar.gz"

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        server, asked = self.server, dict(self.headers)
        fault = server.faults.pop(0) if server.faults else ""
        server.asked.append(asked)
        server.sent.append(b"")
        place = len(server.sent) - 1
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
        self.send_response(206 if first else 200)
        if first:
            shown = first + 1 if fault == "shifted" else first
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/gzip")
        if server.announces_length:
            self.send_header("Content-Length", str(len(body) - first))
        for name, value in (("ETag", server.tag), ("Last-Modified", server.date)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        rest = body[first:]
        rest = rest[: len(rest) // 2] if fault in ("cut", "stall") else rest
        server.sent[place] = rest  # before the client may have it all and ask what was sent
        self.wfile.write(rest)
        self.wfile.flush()
        if fault == "stall":
            server.released.wait(30)
        return None

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
