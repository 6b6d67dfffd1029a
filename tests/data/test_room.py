import re

import pytest

from tercet.data.room import require_room
from tercet.errors import DataError
from tercet.memory import BESIDE


@pytest.mark.parametrize(("count", "size"), [(100_000, 224), (1_000_000, 64), (3_000_000, 33), (5_000_000, 32)])
def test_the_size_that_is_advised_fits_and_a_larger_one_does_not(monkeypatch, count, size):
    monkeypatch.setattr("tercet.memory.free_memory", lambda: 10**10 + BESIDE)
    with pytest.raises(DataError, match=f"^found {count:,} images for --size {size}, ") as refused:
        require_room(count, size)
    advised = int(re.search(r"give --size (\d+) or less, or fewer images", str(refused.value))[1])
    require_room(count, advised)
    with pytest.raises(DataError):
        require_room(count, advised + 2)  # stored sides are rounded


def test_where_no_size_fits_fewer_images_are_advised(monkeypatch):
    monkeypatch.setattr("tercet.memory.free_memory", lambda: 10**9)
    with pytest.raises(DataError, match=r"are free; give fewer images\.$"):
        require_room(10**7, 32)
    require_room(0, 32)
