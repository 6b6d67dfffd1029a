"""Small pieces of HTML: sections, tables, numbers in words. Every text that comes from data passes `escape`."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any


def escape(value: object) -> str:
    """The value as text that means nothing to HTML."""
    return html.escape(str(value))


def section(heading: str, content: str, identifier: str = "") -> str:
    """Content under a heading; nothing where there is no content."""
    opening = f'<section id="{identifier}">' if identifier else "<section>"
    return f"{opening}<h2>{escape(heading)}</h2>{content}</section>" if content else ""


def table(caption: str, heads: Sequence[str], rows: Sequence[str], kind: str) -> str:
    """A table that scrolls by itself where the page is narrow; `rows` are HTML."""
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def definitions(facts: Mapping[str, Any]) -> str:
    """Names and what they stand for."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return f"<dl>{items}</dl>" if items else ""


def listing(items: Sequence[object], kind: str) -> str:
    """A list of texts."""
    return f'<ul class="{kind}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>' if items else ""


def folded(summary: str, content: str) -> str:
    """Content that shows on demand."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""


def data_address(content: bytes, kind: str) -> str:
    """A picture as an address that holds it."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def percent(share: float | None) -> str:
    """A share in percent, with its sign."""
    return f"{points(share)} %" if share is not None else "–"


def probability(share: float) -> str:
    """A probability in percent, none of which is shown as certain; `report.js` writes the same.

    >>> probability(0.5), probability(0.9996)
    ('50.0 %', '> 99.9 %')
    """
    return "> 99.9 %" if share >= 0.9995 else percent(share)


def points(share: float | None) -> str:
    """A share in percent, without its sign."""
    return f"{100 * share:.1f}" if share is not None else "–"


def in_seconds(seconds: float | None) -> str:
    """Seconds, with a decimal where they are few."""
    return "–" if seconds is None else f"{seconds:.1f}" if seconds < 10 else f"{seconds:,.0f}"


def gibibytes(count: int | None) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:.1f} GiB" if count else ""
