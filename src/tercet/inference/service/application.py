"""The web application: which address gives what. Nothing of a request is kept or logged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tercet.inference.service.answers import ENDPOINTS, MOST_ASKED, Answerer, Model, about, embed
from tercet.inference.service.gate import Gate
from tercet.inference.service.replies import as_json, failure
from tercet.inference.service.uploads import Inbox, image_file, read_pixels
from tercet.inference.service.workers import Workers

# Address: package, file, type. The report's style comes first, so that both look alike.
FILES = {
    "/": (__package__, "page.html", "text/html; charset=utf-8"),
    "/report.css": ("tercet.evaluation", "report.css", "text/css; charset=utf-8"),
    "/page.css": (__package__, "page.css", "text/css; charset=utf-8"),
    "/page.js": (__package__, "page.js", "text/javascript; charset=utf-8"),
    "/map.js": (__package__, "map.js", "text/javascript; charset=utf-8"),
    "/icon.svg": (__package__, "icon.svg", "image/svg+xml"),
}
PIECE_BYTES = 65_536  # of an answer, so that clients who do not read have no copy of all of it each


def application(model: Model, workers: Workers, inbox: Inbox | None = None) -> ASGIApp:
    """The service over a model; the caller closes the workers."""
    fixed: dict[str, tuple[bytes, str]] = {
        address: (files(package).joinpath(name).read_bytes(), kind) for address, (package, name, kind) in FILES.items()
    }
    gallery, drawn = model.surroundings.gallery, model.surroundings.map
    if gallery is not None and gallery.sheet:
        fixed["/training-images.webp"] = (gallery.sheet, "image/webp")
    replies = {"/healthz": {"status": "ok"}, "/api": about(model)}
    if drawn is not None:
        replies["/api/map"] = drawn.data
    for address, reply in replies.items():
        fixed[address] = (bytes(as_json(reply).body), "application/json")
    routes = [Route(address, partial(_give, content, kind)) for address, (content, kind) in fixed.items()]
    inbox = inbox or Inbox()
    for address, (answerer, default, _) in ENDPOINTS.items():
        endpoint = partial(_answer, model, workers, inbox, answerer, default)
        routes.append(Route(address, endpoint, methods=["POST"]))
    handlers = {HTTPException: _refused, ClientDisconnect: _left, Exception: _failed}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # an address is the one or it is none
    return Gate(app)


async def _give(content: bytes, kind: str, request: Request) -> Response:  # noqa: ARG001
    if len(content) <= PIECE_BYTES:
        return Response(content, media_type=kind)
    return StreamingResponse(_pieces(content), media_type=kind, headers={"Content-Length": str(len(content))})


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


async def _answer(
    model: Model, workers: Workers, inbox: Inbox, answerer: Answerer, default: int | None, request: Request
) -> Response:
    k = _asked(request, default) if default is not None else 0
    async with inbox.receive(request) as body:
        kind = request.headers.get("content-type", "")
        return as_json(await workers.do(partial(_compute, model, answerer, k, kind, body)))


def _compute(model: Model, answerer: Answerer, k: int, kind: str, body: bytes) -> dict[str, Any]:
    pixels = read_pixels(image_file(kind, body), model.bundle.side)
    return answerer(model, embed(model, pixels), k)


def _asked(request: Request, default: int) -> int:
    given = request.query_params.get("k", str(default))
    if not (given.isascii() and given.isdecimal() and len(given) < 9 and 1 <= int(given) <= MOST_ASKED):
        raise HTTPException(400, f"k is {given[:20]!r}; expected 1 to {MOST_ASKED:,}.")
    return int(given)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: "found nothing at this address; GET /api lists what there is.",
        405: f"{request.method} is not answered here; GET /api says what is.",
    }
    is_plain = error.detail in ("Not Found", "Method Not Allowed")
    return failure(error.status_code, sentences[error.status_code] if is_plain else error.detail, error.headers)


async def _left(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return failure(400, "the sender left before the body was whole.")  # which nobody reads


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return failure(500, "the service failed at this request; its log says where.")
