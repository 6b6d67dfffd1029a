import errno
import os

import pytest

from tercet.errors import describe_refusal


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/run.json"),
            "runs/a/run.json cannot be written (No space left on device); make room on that disk",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), b"photos"),
            "photos cannot be read or written (Permission denied); change its permissions or take another place",
        ),
        (
            OSError(errno.EIO, os.strerror(errno.EIO)),
            "what was to be printed or written cannot be read or written (Input/output error); "
            "have a look at that place and its disk",
        ),
        (
            OSError("a pipe burst"),
            "what was to be printed or written cannot be read or written (a pipe burst); "
            "have a look at that place and its disk",
        ),
        (
            FileNotFoundError(),
            "what was to be printed or written cannot be read or written (FileNotFoundError); "
            "have a look at that place and its disk",
        ),
        (
            OSError(errno.EBADF, os.strerror(errno.EBADF), 7),
            "what was to be printed or written cannot be read or written (Bad file descriptor); "
            "have a look at that place and its disk",
        ),
    ],
    ids=["full", "closed", "no name", "no number", "nothing", "a descriptor"],
)
def test_a_refusal_says_what_why_and_what_to_do(error, said):
    assert describe_refusal(error) == said
