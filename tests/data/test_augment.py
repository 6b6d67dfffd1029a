import pytest
import torch

from tercet.data.augment import center_crop, cutout, flip, random_crop


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(count, side=8):
    return torch.randint(256, (count, 3, side, side), generator=seeded(9)).to(torch.uint8)


def shift(images, padding, generator):
    return random_crop(images, images.shape[-1], padding, generator)


@pytest.mark.parametrize("change", [shift, cutout])
def test_keeps_shape_and_type_and_leaves_the_input_alone(change):
    images = random_images(5)
    before = images.clone()
    changed = change(images, 2, seeded())
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("change", [shift, cutout])
def test_zero_is_the_identity(change):
    images = random_images(4)
    assert torch.equal(change(images, 0, seeded()), images)


@pytest.mark.parametrize("change", [shift, cutout])
def test_the_generator_decides(change):
    images = random_images(8)
    assert torch.equal(change(images, 2, seeded(1)), change(images, 2, seeded(1)))
    assert not torch.equal(change(images, 2, seeded(1)), change(images, 2, seeded(2)))


def test_a_crop_is_a_window_of_the_mirrored_border():
    # Rows of 1, 2, 3, mirrored about their ends by one: 2 1 2 3 2, so the windows are 212, 123 and 232.
    row = torch.tensor([1, 2, 3], dtype=torch.uint8)
    images = row.expand(60, 3, 3, 3).contiguous()
    rows = {tuple(image[0, 0].tolist()) for image in shift(images, 1, seeded())}
    assert rows == {(2, 1, 2), (1, 2, 3), (2, 3, 2)}


def test_each_image_is_cut_once_and_every_shift_occurs():
    images = random_images(200)
    padded = torch.nn.functional.pad(images.float(), (2,) * 4, mode="reflect").to(torch.uint8)
    windows = torch.stack([padded[:, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)])  # [25, B, 3, H, W]
    matches = (windows == shift(images, 2, seeded())).flatten(2).all(2)  # [25, B]
    assert bool(matches.any(0).all())
    assert bool(matches.any(1).all())


def test_a_smaller_crop_needs_no_border_and_reaches_every_corner():
    images = random_images(100, side=5)
    windows = torch.stack([images[:, :, y : y + 3, x : x + 3] for y in range(3) for x in range(3)])
    matches = (windows == random_crop(images, 3, 0, seeded())).flatten(2).all(2)  # [9, B]
    assert bool(matches.any(0).all())
    assert bool(matches.any(1).all())


def test_the_central_square_by_hand():
    row = torch.arange(5, dtype=torch.uint8)
    images = row.expand(1, 3, 5, 5)
    assert center_crop(images, 3)[0, 0].tolist() == [[1, 2, 3]] * 3
    assert center_crop(images, 2)[0, 0].tolist() == [[1, 2]] * 2
    assert torch.equal(center_crop(images, 5), images)


def test_flips_the_chosen_only():
    images = random_images(3)
    changed = flip(images, torch.tensor([True, False, True]))
    assert changed[0, 1, 2].tolist() == images[0, 1, 2].tolist()[::-1]
    assert torch.equal(changed[1], images[1])
    assert torch.equal(changed.flip(3)[[0, 2]], images[[0, 2]])


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_cutout_blanks_one_square_in_all_channels(side):
    images = torch.zeros(300, 3, 6, 8, dtype=torch.uint8)
    changed = cutout(images, side, seeded())
    blank = changed != 0
    assert set(changed.unique().tolist()) == {0, 128}
    assert torch.equal(blank.all(1), blank.any(1))
    rows, columns = (blank[:, 0].any(axis).sum(1) for axis in (2, 1))
    assert torch.equal(blank[:, 0].sum((1, 2)), rows * columns)  # a full rectangle
    assert int(rows.max()) == int(columns.max()) == side  # whole inside the image ...
    assert int(rows.min()) == int(columns.min()) == (side + 1) // 2  # ... and its half where centred on the border
    assert bool(blank[:, 0].any(0).all())  # anywhere


@pytest.mark.parametrize(("size", "padding"), [(8, 2), (6, 0), (5, 1)])
def test_crops_equal_those_of_a_loop(size, padding):
    images = random_images(30)
    padded = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    tops, lefts = torch.randint(8 + 2 * padding - size + 1, (2, 30), generator=seeded(4)).tolist()
    wanted = [
        image[:, top : top + size, left : left + size] for image, top, left in zip(padded, tops, lefts, strict=True)
    ]
    assert torch.equal(random_crop(images, size, padding, seeded(4)), torch.stack(wanted))
