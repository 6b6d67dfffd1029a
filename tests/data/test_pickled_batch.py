import struct
import tracemalloc

import numpy as np
import pytest

from official import array, batch, call, pickled, text
from tercet.data.pickled_batch import read_pickled_batch
from tercet.errors import DataError

ROWS, LABELS = batch("data_batch_1")


@pytest.mark.parametrize("by_columns", [False, True])
def test_a_batch(by_columns):
    rows, labels = read_pickled_batch(pickled(ROWS, LABELS, data=array(ROWS, by_columns=by_columns)))
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(labels, LABELS)


def test_the_opcodes_of_these_tests_are_numpys():
    """What NumPy itself makes of them."""
    import pickle

    loaded = pickle.loads(pickled(ROWS, LABELS), encoding="bytes")
    np.testing.assert_array_equal(loaded[b"data"], ROWS)
    assert loaded[b"labels"] == LABELS.tolist()


@pytest.mark.parametrize(
    "opcodes",
    [
        lambda path: call("os.system", f"touch {path}".encode()),
        lambda path: call("posix.system", f"touch {path}".encode()),
        lambda path: call("__builtin__.eval", f"open({str(path)!r}, 'w')".encode()),
        lambda path: b"(" + text(f"touch {path}".encode()) + b"ios\nsystem\n",  # INST
        lambda path: b"(cos\nsystem\n" + text(f"touch {path}".encode()) + b"o",  # OBJ
        lambda path: text(str(path).encode()) + b"Q",  # BINPERSID
        lambda path: call("numpy.load", str(path).encode()),
        lambda path: call("numpy.memmap", str(path).encode()),  # would make the file
        lambda path: b"cnumpy\nndarray\n" + b"K\x01\x85R",
        lambda path: b"cnumpy.core.multiarray\n_reconstruct\n}b",  # a state for the function itself
        lambda path: array(ROWS, kind=b"O8"),
        lambda path: array(ROWS[:5]),
        lambda path: array(ROWS[:, :1000]),
        lambda path: text(ROWS.tobytes()),
        lambda path: b"N",
    ],
)
def test_anything_else_is_refused_and_does_nothing(tmp_path, opcodes):
    with pytest.raises(DataError, match="a pickle that is no batch of CIFAR-10"):
        read_pickled_batch(pickled(ROWS, LABELS, data=opcodes(tmp_path / "done")))
    assert list(tmp_path.iterdir()) == []


def test_the_refusal_names_what_was_asked_for():
    with pytest.raises(DataError, match=r"\(it names os\.system\); download the archive again\.$"):
        read_pickled_batch(pickled(ROWS, LABELS, data=call("os.system", b"true")))


@pytest.mark.parametrize("content", [b"", b"just text", pickled(ROWS, LABELS)[:-100], b"\x80\x02}."])
def test_what_is_no_pickle(content):
    with pytest.raises(DataError, match="no batch of CIFAR-10"):
        read_pickled_batch(content)


def test_a_number_in_it_reserves_no_memory():
    """What is remembered under a number is kept by the C reader in a table as long as that number."""
    remember = b"r" + struct.pack("<i", 2**24)
    tracemalloc.start()
    try:
        rows, _ = read_pickled_batch(pickled(ROWS, LABELS).replace(b"\x80\x02}", b"\x80\x02}" + remember, 1))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(rows, ROWS)


def test_labels_that_are_no_numbers():
    content = pickled(ROWS, LABELS)
    number = b"](" + b"K" + struct.pack("B", LABELS[0])
    with pytest.raises(DataError, match="no batch of CIFAR-10"):
        read_pickled_batch(content.replace(number, b"](" + text(b"cat")))
