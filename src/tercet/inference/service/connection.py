"""One client's connection: uvicorn's own over h11, with an end to patience.

uvicorn waits for ever for the head of a request, for an answer to be taken and for the rest of a body that was refused;
it reads a body in chunks of one byte at ten microseconds each, in which nobody else is answered. Here each step has a
time, a body comes with its length, and one request is answered before the next is sent: browsers and usual clients do
so, and what a proxy and a server read differently ("request smuggling") ends with the connection. A body that is
refused is still taken and thrown away for a moment, since a client that sends reads no answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10  # for the head of a request: a guess, as all times here
ANSWER_SECONDS = 60  # from its head to the answer's last byte; the body has 10 of them
LINGER_SECONDS = 2  # for a refused body
MOST_OPEN = 768  # connections; the usual limit of open files is 1,024
PIECE_BYTES = 4_096  # read at a time, so that h11 sees in time that a head is too long


class Connection(H11Protocol):
    """Cut where a client takes its time, sends more than asked, or comes when there are too many."""

    _alarm: asyncio.TimerHandle | None = None
    _is_over = False  # the last answer is given; what still comes is thrown away

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request, or do without."""
        super().connection_made(transport)
        if len(self.connections) > MOST_OPEN:
            transport.abort()
        self._give(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        super().connection_lost(exc)
        if self._alarm:
            self._alarm.cancel()

    def data_received(self, data: bytes) -> None:
        """Take a piece at a time, until the connection is over."""
        for start in range(0, len(data), PIECE_BYTES):
            if self._is_over or self.transport.is_closing():
                return
            before: Any = self.cycle
            super().data_received(data[start : start + PIECE_BYTES])
            if self.cycle is not before:
                self._give(ANSWER_SECONDS)
                self._is_over = any(name == b"transfer-encoding" for name, _ in self.headers)  # the gate refuses it

    def on_response_complete(self) -> None:
        """Wait for the next request, or linger where there is more than was asked for."""
        has_more = self._is_over or self.cycle.more_body or bool(self.conn.trailing_data[0])
        if not has_more or self.transport.is_closing():
            self._give(HEAD_SECONDS)
            return super().on_response_complete()
        self._is_over = True
        self.flow.resume_reading()
        self.transport.write_eof()
        return self._give(LINGER_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in place of what may be computed for the part of it that was."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        super().send_400_response(msg)

    def _give(self, seconds: float) -> None:
        """Cut the connection after so long."""
        if self._alarm:
            self._alarm.cancel()
        self._alarm = self.loop.call_later(seconds, self.transport.abort)
