import numpy as np

from tercet.inference.predictions import describe_prediction


def test_the_most_probable_come_first_and_of_equal_ones_the_first():
    shares = np.array([0.1, 0.3, 0.2, 0.3, 0.1], np.float32)
    found = describe_prediction("abcde", shares, 4)
    assert [name for name, _ in found["top"]] == ["b", "d", "c", "a"]
    assert (found["predicted"], found["probability"]) == ("abcde"[shares.argmax()], shares.max())
