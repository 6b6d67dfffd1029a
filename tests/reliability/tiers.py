"""The two sizes of a reliability test: few for scripts/check, all for `pytest -m reliability`."""

import pytest


def counts(few, full):
    """Parametrize a test by `count`: `few` in scripts/check, `full` in the long set."""
    return pytest.mark.parametrize(
        "count", [pytest.param(few, marks=pytest.mark.slow), pytest.param(full, marks=pytest.mark.reliability)]
    )
