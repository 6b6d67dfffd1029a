from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from tercet.evaluation.duplicates import count_duplicates


def pictures(count, side=32, seed=0):
    """Smooth random pictures, no two alike."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (40 + 170 * smooth).to(torch.uint8)


def changed(images, change):
    arrays = [np.asarray(change(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def compressed(image):
    file = BytesIO()
    image.save(file, "JPEG", quality=75)
    return Image.open(file)


CHANGES = {
    "compressed": compressed,
    "shrunk and enlarged": lambda image: image.resize((24, 24), Image.Resampling.LANCZOS).resize(image.size),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
}


@pytest.mark.parametrize("side", [32, 73])
def test_different_pictures_are_no_duplicates(side):
    assert count_duplicates(pictures(200, side), [pictures(400, side, seed=1)]) == {"exact": 0, "near": 0}


def test_equal_pixels_are_exact_duplicates_wherever_they_lie():
    test, train = pictures(10), pictures(30, seed=1)
    train[7], train[29] = test[3], test[3]
    assert count_duplicates(test, [train[:20], train[20:]]) == {"exact": 1, "near": 0}
    assert count_duplicates(test, [train[20:]]) == {"exact": 1, "near": 0}
    assert count_duplicates(test, [train[8:29]]) == {"exact": 0, "near": 0}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_copy_goes_through_leaves_a_near_duplicate(change):
    test, train = pictures(20), pictures(60, seed=1)
    train[10:15] = changed(test[5:10], CHANGES[change])
    train[40] = test[0]
    assert count_duplicates(test, [train]) == {"exact": 1, "near": 5}


def test_a_mirrored_picture_is_not_counted():
    """A limit, not a wish: the count is a lower bound."""
    assert count_duplicates(pictures(20).flip(3), [pictures(20)])["near"] == 0


def test_plain_pictures_are_not_taken_for_each_other():
    """Noise apart they show nothing, whatever their colour."""
    noise = torch.randint(-2, 3, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    plain = (torch.arange(60, 220, 4)[:, None, None, None] + noise).to(torch.uint8)
    assert count_duplicates(plain[::2], [plain[1::2]]) == {"exact": 0, "near": 0}
    assert count_duplicates(plain[:3], [plain[:3]]) == {"exact": 3, "near": 0}
    same = torch.full((2, 3, 16, 16), 255, dtype=torch.uint8)
    assert count_duplicates(same, [same]) == {"exact": 2, "near": 0}


def test_nothing_to_compare_with():
    none = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert count_duplicates(none, [pictures(3)]) == {"exact": 0, "near": 0}
    assert count_duplicates(pictures(3), [none]) == {"exact": 0, "near": 0}
