"""How many steps a method gets, so that all take the same minutes on whatever machine each is measured."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import records
from benchmarks.peer_losses import OURS, Settings
from benchmarks.peer_results import NAME, append
from benchmarks.rates import seconds_per_step, undisturbed

STEPS = 30  # of a training in one round; fewer of one whose steps take over a second
SECONDS = 30.0  # of them in one round
ROUNDS = 2
SecondsOf = Callable[[int], float]  # trains for so many steps


def paced_steps(
    method: str, known_by: Settings, minutes: float, seconds_of: SecondsOf, *, ours: tuple[Settings, SecondsOf]
) -> int:
    """The steps of so many minutes where ours take what they took when first measured."""
    ours_known_by, own_seconds = ours
    base = pace(OURS, ours_known_by, {OURS: own_seconds})
    found = pace(method, known_by, {OURS: own_seconds, method: seconds_of})
    return max(1, round(60 * minutes / (base[OURS] * found[method] / found[OURS])))


def pace(method: str, known_by: Settings, trainings: dict[str, SecondsOf]) -> dict[str, float]:
    """Seconds a step of a method and of ours beside it; measured where that was not done yet.

    Raises DisturbedError where other work would have decided them.
    """
    key = {"kind": "pace", "method": method, **known_by}
    if not records.has(NAME, **key):
        timed = {name: (seconds_of, _steps(name, seconds_of)) for name, seconds_of in trainings.items()}
        with undisturbed():
            step_seconds = seconds_per_step(timed, ROUNDS)
        append({**key, "step_seconds": step_seconds})
    found: dict[str, float] = records.select(records.read(NAME), **key)[-1]["step_seconds"]
    return found


def _steps(name: str, seconds_of: SecondsOf) -> int:
    if name == OURS:  # the same beside any other, whatever first steps cost
        return STEPS
    return min(STEPS, max(3, round(2 * SECONDS / seconds_of(2))))
