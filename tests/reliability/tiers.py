"""The two sizes of a reliability test: few for scripts/check, all for `scripts/test -m reliability`."""

import pytest
from hypothesis import HealthCheck, given, settings


def counts(few, full):
    """Parametrize a test by `count`: `few` in scripts/check, `full` in the long set."""
    return pytest.mark.parametrize(
        "count", [pytest.param(few, marks=pytest.mark.slow), pytest.param(full, marks=pytest.mark.reliability)]
    )


def for_all(count, **strategies):
    """Run the decorated property at once, on `count` examples of these strategies.

    They are the same ones wherever the same modules are loaded, whose constants hypothesis tries too.
    """
    calm = settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=HealthCheck,
    )
    return lambda holds: calm(given(**strategies)(holds))()
