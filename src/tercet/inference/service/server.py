"""The process of the service: the socket, and an end that finishes what is under way.

uvicorn would send itself the signal again that ended it, so that the process fails though all was answered. Here the
exit status is 0 unless something was cut.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tercet.errors import UsageError
from tercet.inference.service.connection import Connection
from tercet.inference.service.replies import failure

ADDRESS = "127.0.0.1"  # no other machine can ask
GRACE_SECONDS = 20  # for what is under way to end; a body has 10 s to arrive
MOST_CONNECTIONS = 512  # beyond them uvicorn answers 503
BACKLOG = 128


def listen(port: int) -> socket.socket:
    """A socket that listens on a port of this machine, 0 for any free one; UsageError where that cannot be."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is {port}; expected 0 to 65535.")
    # Named TCP, for only then asyncio sets TCP_NODELAY; without it each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # the port of a service that has just ended is free at once; Windows means another thing
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        fault = "is taken by another program" if error.errno == errno.EADDRINUSE else f"is refused ({error.strerror})"
        raise UsageError(f"port {port} {fault}; give another by --port, or --port 0 for any free one.") from error
    return listener


def run(app: ASGIApp, listener: socket.socket, on_listening: Callable[[], None]) -> int:
    """Answer until a signal asks to end; the exit status: 0, or 130 or 143 where a request was cut."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # lines about what is damaged would fill a disk
    warnings.filterwarnings("ignore", module="PIL")
    witness = Witness(app)
    config = uvicorn.Config(
        witness,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # as above
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, on_listening)
    server.run(sockets=[listener])
    return 128 + server.last_signal if witness.has_cut else 0


class Server(uvicorn.Server):
    """Ends on SIGTERM or SIGINT once what is under way is answered, on the second of them at once."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening, self.last_signal = on_listening, 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell once requests are answered and signals heard."""
        await super().startup(sockets)
        self._on_listening()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the two signals, and do not raise them again."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note the request to end."""
        self.force_exit, self.should_exit, self.last_signal = self.should_exit, True, sig


class Witness:
    """ASGI middleware that knows whether a request was cut, and tells its sender."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self.has_cut = app, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            self.has_cut = True
            await failure(503, "the service has ended.")(scope, receive, send)
