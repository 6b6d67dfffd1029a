"""JSON replies, the same form for all; an error is {"error": one sentence}."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


def as_json(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON reply; numbers that JSON does not have are refused."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


def failure(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON reply that says what is wrong."""
    return as_json({"error": sentence}, status, headers)
