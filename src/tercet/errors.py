"""What can go wrong for a user, as one family of exceptions.

A message is one sentence that says what was found, what was expected and what to do.
The command line prints it without a traceback and exits with `status`. What was given wrongly is a ValueError too, as
Python's own functions and scikit-learn's estimators raise.
"""

import errno
import os

FULL, CLOSED = {errno.ENOSPC, errno.EDQUOT}, {errno.EROFS, errno.EACCES, errno.EPERM}


class TercetError(Exception):
    """The family; never raised itself."""

    status = 1


class UsageError(TercetError, ValueError):
    """An option or a combination of options that means nothing."""

    status = 2


class DataError(TercetError, ValueError):
    """Images that cannot be found, read or used for training."""


class ModelError(TercetError):
    """A run folder, Bundle or checkpoint that cannot be read or written."""


class TrainingError(TercetError):
    """Training that diverged or collapsed."""


def check_format(name: str, found: object, newest: int) -> None:
    """ModelError unless `found` is a version of a format that this tercet reads; those are counted from 1."""
    if type(found) is not int or found < 1:
        raise ModelError(f"{name} is of no known format; found {found!r}, expected 1 to {newest}: make it again.")
    if found > newest:
        raise ModelError(
            f"{name} was made by a newer tercet; found format {found}, expected at most {newest}: update tercet."
        )


def describe_refusal(error: OSError) -> str:
    """What the system has refused, why and what to do, as a sentence without its full stop."""
    named = isinstance(error.filename, str | bytes)
    place = os.fsdecode(error.filename) if named else "what was to be printed or written"
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in FULL:
        return f"{place} cannot be written ({reason}); make room on that disk"
    if error.errno in CLOSED:
        return f"{place} cannot be read or written ({reason}); change its permissions or take another place"
    return f"{place} cannot be read or written ({reason}); have a look at that place and its disk"
