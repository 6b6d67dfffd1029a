"""The tables in README and docs, written anew from the result files.

    python -m benchmarks.pages

Each stands between two comments, of which the first names the command that prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import peer_results, photographs, reference, reliability, time_to_accuracy, unseen, versus_cross_entropy

ROOT = Path(__file__).parents[1]
Tables = dict[str, Callable[[], str]]  # "name: command" -> the table
PAGES: dict[str, Tables] = {
    "README.md": {
        "short results: python -m benchmarks.reference --table short": partial(reference.table, short=True),
        "peers: python -m benchmarks.peers --table short": partial(peer_results.losses_table, "quick", short=True),
    },
    "docs/results.md": {
        "results: python -m benchmarks.reference --table": reference.table,
        "time to accuracy: python -m benchmarks.time_to_accuracy --table": time_to_accuracy.table,
        "versus: python -m benchmarks.versus_cross_entropy --table": versus_cross_entropy.table,
        "unseen: python -m benchmarks.unseen --table": unseen.table,
        "peers of quick: python -m benchmarks.peers --table": partial(peer_results.table, "quick"),
        "peers: python -m benchmarks.peers --preset standard --table": partial(peer_results.table, "standard"),
    },
    "docs/guide/train.md": {"photographs: python -m benchmarks.photographs table": photographs.table},
    "docs/reliability.md": {"reliability: python -m benchmarks.reliability": reliability.table},
}


def with_tables(text: str, tables: Tables) -> str:
    """The page with every table as its result file has it.

    >>> with_tables("<!-- a: count -->\\nold\\n<!-- end of a -->\\n", {"a: count": lambda: "| 1 |"})
    '<!-- a: count -->\\n| 1 |\\n<!-- end of a -->\\n'
    """
    for opening, table in tables.items():
        first, last = f"<!-- {opening} -->\n", f"<!-- end of {opening.split(':')[0]} -->"
        before, rest = text.split(first)
        text = before + first + table() + "\n" + last + rest.split(last)[1]
    return text


def main() -> None:
    """Write every page anew."""
    for page, tables in PAGES.items():
        path = ROOT / page
        path.write_text(with_tables(path.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main()
