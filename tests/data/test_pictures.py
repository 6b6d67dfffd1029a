"""Images as people have them; that they are read as in training is seen in tests/model/test_bundle.py."""

import numpy as np
import pytest
import torch
from PIL import Image

from tercet.data.pictures import as_pixels
from tercet.errors import DataError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("photo.png", "a single image; expected a list"),
        (Image.new("RGB", (4, 4)), "a single image; expected a list"),
        (np.zeros((2, 4, 4, 3), np.float32), "an array of type float32"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"shape \[2, 4, 4, 4\]"),
        (np.zeros((20, 30, 3), np.uint8), r"\[20, 30, 3\], which looks like one coloured image; .* image\[None, :, :"),
        (np.zeros((20, 30, 4), np.uint8), r"\[20, 30, 4\], which looks like one coloured image"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "found a Tensor; expected paths, PIL images or uint8 arrays"),
        (".", "the folder '.'; expected a list"),
        (["missing.png"], "missing.png"),
    ],
)
def test_refuses_what_are_no_images(given, says):
    with pytest.raises(DataError, match=says) as refused:
        as_pixels(given, 8)
    assert "\n" not in str(refused.value)


def test_grey_images_of_a_few_pixels_are_many():
    assert as_pixels(np.zeros((30, 3, 3), np.uint8), 8).shape == (30, 3, 8, 8)


def test_a_list_may_hold_any_of_them(tmp_path):
    gray = np.full((9, 3), 7, np.uint8)  # three pixels wide, and yet one grey image
    Image.fromarray(gray).save(tmp_path / "gray.png")
    found = as_pixels([gray, np.stack([gray] * 3, 2), Image.fromarray(gray), tmp_path / "gray.png"], 8)
    assert found.shape == (4, 3, 8, 8)
    assert (found == 7).all()
