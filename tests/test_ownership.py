"""One owner of a folder at a time."""

import json
import os
import time

import pytest

from tercet.errors import UsageError
from tercet.ownership import Owner, Ownership


def test_the_second_is_told_whose_the_folder_is(tmp_path):
    first, second = Ownership(tmp_path), Ownership(tmp_path)
    assert first.take() is None
    with pytest.raises(UsageError, match=rf"in use by process {os.getpid()} on .*, for 0 minutes; wait"):
        second.take()
    second.release()  # of what it does not own
    with pytest.raises(UsageError, match="in use"):
        second.take()
    first.release()
    assert second.take() is None
    second.release()
    assert not (tmp_path / ".owner.json").exists()


def test_a_record_without_a_lock_is_of_an_owner_that_died(tmp_path):
    dead = Owner(1234, "elsewhere", 5.0)
    (tmp_path / ".owner.json").write_text(json.dumps(dead._asdict()))
    ownership = Ownership(tmp_path)
    assert ownership.take() == dead
    ownership.release()


@pytest.mark.parametrize("record", ["", "[]", '{"process": "x", "machine": 1, "since": 2}', "\0"])
def test_a_damaged_record_names_nobody(tmp_path, record):
    first, second = Ownership(tmp_path), Ownership(tmp_path)
    first.take()
    (tmp_path / ".owner.json").write_text(record)
    with pytest.raises(UsageError, match="in use by another process"):
        second.take()
    first.release()
    (tmp_path / ".owner.json").write_text(record)
    assert second.take() is None
    second.release()


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 minutes"), (7000, "117 minutes"), (7300, "2 hours")])
def test_an_age_is_told(seconds, told):
    assert str(Owner(7, "here", time.time() - seconds)) == f"process 7 on here, for {told}"
