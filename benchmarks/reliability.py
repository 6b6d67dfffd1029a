"""The promises of docs/reliability.md, and what the long set of tests says of each.

    scripts/test -m reliability          the long set: 40 minutes on two cores
    python -m benchmarks.reliability     the table; `python -m benchmarks.pages` writes it into the page

results/reliability.jsonl has a line for each test and case that was run, passed or not. The newest of each counts,
and a promise is kept where all of them passed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from benchmarks import records
from benchmarks.tables import markdown

COMMAND = "scripts/test -m reliability"


class Promise(NamedTuple):
    """One row of the table: what is promised, how it is tested, and by which modules of tests/reliability."""

    promise: str
    tested: str
    modules: tuple[str, ...]


PROMISES = [
    Promise(
        "A run that is killed goes on to the same bytes",
        "SIGKILL at seeded random moments, inside saving too, then the same command: weights, head, predictions and "
        "metrics against the uninterrupted run; no temporary files left",
        ("test_kill",),
    ),
    Promise(
        "Where a run stops makes no difference",
        "resumed at every step boundary of three epochs: difference exactly 0; without the optimiser's state or the "
        "place in the data it differs",
        ("test_resume",),
    ),
    Promise(
        "A damaged checkpoint is noticed and the one before it is used",
        "random flips and truncations of the newest: one warning, the previous one",
        ("test_damaged_checkpoints",),
    ),
    Promise(
        "A disk that is full or refuses costs no good file, and success is never reported",
        "disk full at each write, read-only folder, error of fsync",
        ("test_full_disk",),
    ),
    Promise(
        "A request to end saves first",
        "SIGTERM and SIGINT at random moments: saved within 5 s, status 143 or 130, exact resume; a second one ends "
        "within 1 s; that it was saved at its step is seen by `test_resume`",
        ("test_signals",),
    ),
    Promise(
        "Nothing that is read is executed",
        "pickle as .pt, batch and .npy, ONNX with external data: refused, and a canary file stays as it is",
        ("test_malicious",),
    ),
    Promise(
        "Hostile weights cost no more than a refusal",
        "huge header, 100,000 entries, overlaps, overflowing shapes: refused within 1 s and 200 MB",
        ("test_hostile_weights",),
    ),
    Promise(
        "An archive writes nothing and cannot fill the memory",
        "`../`, links, devices, duplicates, bombs: nothing outside, at most 100 MB",
        ("test_hostile_archives",),
    ),
    Promise(
        "A bad network gives the right file or a clean error",
        "cuts at drawn places, head included, no ranges, another tag, a log-in page, silence, two processes at once, "
        "SIGKILL in download and conversion: at most 1.2 times the bytes where the server can go on in the middle",
        ("test_bad_network",),
    ),
    Promise(
        "Training that goes wrong is caught within 50 steps, and the good weights are kept",
        "NaN and infinity in input, loss and gradient, a hundredfold rate, a collapse: the cause is named; no alarm on "
        "healthy seeds",
        ("test_guard_promise",),
    ),
    Promise(
        "A folder is read as it is, file by file",
        "a zoo of 40: cut off, bombs, disguised, every mode, turned, odd names, empty and one-image classes, "
        "duplicates: exactly the expected list, at most 500 MB",
        ("test_zoo_memory",),
    ),
    Promise(
        "Fast is the same as slow, and any input is taken or refused in words",
        "500 drawn examples each: losses against loops and searches against a sort, to 1e-5; harmed descriptions, "
        "checkpoints, caches, batches, settings and bodies: no error but ours",
        ("test_properties", "test_fuzzed_input"),
    ),
    Promise(
        "The service withstands abuse",
        "endless body, 200 slow clients, wrong Host, foreign Origin, encoded `../`, HTML in names: refused or closed, "
        "memory bounded, healthy requests under 200 ms at p99, but while images of the largest size are decoded",
        ("test_web_abuse",),
    ),
    Promise(
        "The service can stay on",
        "100,000 requests of 8 clients, 5 % bad: flat memory and descriptors, answers as those of the command line",
        ("test_soak",),
    ),
    Promise(
        "Every way of computing gives the same answers",
        "torch, ONNX Runtime and compiled at batch 1, 7 and 256: within 1e-4, the same class on 10,000; bf16 refused "
        "where wrong or slow",
        ("test_agreement",),
    ),
    Promise(
        "A loss of power leaves the old file or the new one",
        "what a disk may keep of the writes since the last fsync, replayed",
        ("test_power_loss", "test_power_loss_data"),
    ),
    Promise("Two processes do not spoil one folder", "the same run twice at once", ("test_lock",)),
    Promise("Too little memory is a sentence", "what would not fit is refused before it is tried", ("test_memory",)),
]


def newest(module: str) -> list[dict[str, Any]]:
    """The last record of each test and case of a module."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records.read("reliability"):
        if record["test"].partition("::")[0] == module:
            found[record["test"], record.get("case", "")] = record
    return list(found.values())


def result(found: list[dict[str, Any]]) -> str:
    """Whether all passed, by name which did not, and what was measured."""
    failed = sorted({record["test"].partition("::")[2] for record in found if not record["passed"]})
    measured = defaultdict(list)
    for record in found:
        for name, value in record["measured"].items():
            if isinstance(value, int | float):  # a text names the case
                measured[name].append(value)
    verdict = f"failed: {', '.join(failed)}" if failed else "passed"
    return "; ".join([verdict, *(in_words(name, values) for name, values in measured.items())])


def in_words(name: str, values: list[float]) -> str:
    """What was measured: one value as it is, several from the lowest to the highest.

    >>> in_words("most_seconds", [1.04]), in_words("writes", [3, 1, 2]), in_words("growth_bytes", [77_430_784, 4096])
    ('most seconds 1.04', 'writes 1 to 3', 'growth, MB 0.0041 to 77')
    """
    words = name.replace("_", " ")
    if words.endswith(" bytes"):
        words, values = f"{words.removesuffix(' bytes')}, MB", [float(f"{value / 1e6:.2g}") for value in values]
    low, high = min(values), max(values)
    return f"{words} {low:g}" + (f" to {high:g}" if high > low else "")


def table() -> str:
    """One row a promise; of what was not run it says so."""
    rows = [("promise", "how it is tested", "cases", "result", "date", "command")]
    for promise in PROMISES:
        found = {module: newest(module) for module in promise.modules}
        command = f"`{COMMAND} {' '.join(f'tests/reliability/{module}.py' for module in promise.modules)}`"
        every = [record for module in found.values() for record in module]
        cases = str(sum(record["count"] or 1 for record in every)) if every else ""
        date = min((record["date"] for record in every), default="")
        said = result(every) if all(found.values()) else "not run"
        rows.append((promise.promise, promise.tested, cases, said, date, command))
    return markdown(rows)


if __name__ == "__main__":
    print(table())
