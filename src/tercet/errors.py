"""What can go wrong for a user, as one family of exceptions.

A message is one sentence that says what was found, what was expected and what to do.
The command line prints it without a traceback and exits with `status`. What was given wrongly is a ValueError too, as
Python's own functions and scikit-learn's estimators raise.
"""


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


def check_format(path: object, found: object, newest: int) -> None:
    """ModelError unless `found` is a version of a format that this tercet reads; those are counted from 1."""
    if type(found) is not int or found < 1:
        raise ModelError(f"{path} is of no known format; found {found!r}, expected 1 to {newest}: make it again.")
    if found > newest:
        raise ModelError(
            f"{path} was made by a newer tercet; found format {found}, expected at most {newest}: update tercet."
        )
