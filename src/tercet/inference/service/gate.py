"""What every request passes: only this machine's own names and pages are served, and every answer carries the policy.

A foreign page may point its own name at 127.0.0.1 (DNS rebinding), which the Host header tells, or send a form here,
which the Origin header tells. Source: OWASP, "DNS rebinding" and "Cross-site request forgery prevention".
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tercet.inference.service.replies import failure

NAMES = ("localhost", "127.0.0.1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
HOST = re.compile(rf"(?:{'|'.join(map(re.escape, NAMES))})(?::\d{{1,5}})?", re.IGNORECASE)


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let through and add the headers."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = refusal(Headers(scope=scope)) or self._app
        return await answer(scope, receive, send_with_headers)


def refusal(headers: Headers) -> Response | None:
    """The answer to a request from elsewhere; None for one of our own."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not HOST.fullmatch(host):
        return failure(421, f"found another Host header than {' or '.join(NAMES)}; ask by one of these names.")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return failure(403, "found a request from a page of another origin; use the service's own page.")
    if "transfer-encoding" in headers:
        return failure(411, "found a body in chunks; send it with its length in Content-Length.")
    return None
