import numpy as np
import pytest
from PIL import Image

from bundles import new_bundle
from tercet.errors import UsageError
from tercet.inference.index import Index


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((12, 12, 3), ord(name[0]), np.uint8)).save(name)
    with Index.create("photos.index", new_bundle("fast", 12)) as index:
        index.add(["a.png", "b.png"])
        yield index


@pytest.mark.parametrize(
    ("paths", "says"),
    [("a.png", r"found the path 'a\.png'; expected a list of paths: \['a\.png'\]"), ([""], "found an empty path")],
)
def test_no_letter_and_no_empty_text_is_a_path(index, paths, says):
    for change in (index.add, index.remove):
        with pytest.raises(UsageError, match=says):
            change(paths)
    assert len(index) == 2


def test_a_name_that_no_file_can_have_is_counted_and_the_rest_is_done(index):
    Image.new("RGB", (12, 12)).save("c.png")
    changes = index.add(["a\0b", "c.png", "a" * 300])
    assert (changes.added, changes.failed, len(index)) == (1, 2, 3)
