import io

import pytest
import torch
from PIL import Image

from tercet.evaluation import thumbnails
from tercet.evaluation.thumbnails import columns_of, read_tiles, tile_side, write_grid


def plain(count, height, width=None):
    """Images of one colour each: the i-th has the level 20 i."""
    levels = torch.arange(count, dtype=torch.uint8) * 20
    return levels[:, None, None, None].expand(count, 3, height, width or height).clone()


def level(tile):
    return Image.open(io.BytesIO(tile)).convert("RGB").getpixel((3, 3))[0]


def test_tiles_come_back_in_the_order_asked_for(tmp_path):
    write_grid(tmp_path / "grid.webp", plain(8, 16), torch.tensor([5, 0, 7, 2]), columns=3, lossless=True)
    tiles, side = read_tiles(tmp_path / "grid.webp", columns=3)
    assert side == 16
    assert [level(tile) for tile in tiles] == [100, 0, 140, 40, 0, 0]  # the last row ends in black


def test_large_images_are_made_small_and_wide_ones_cut_to_their_middle(tmp_path):
    images = plain(2, 120, 200)
    images[:, :, :, :40] = 255
    write_grid(tmp_path / "grid.webp", images, torch.tensor([1]), columns=1, lossless=True)
    tiles, side = read_tiles(tmp_path / "grid.webp", columns=1)
    assert side == 96
    picture = Image.open(io.BytesIO(tiles[0])).convert("L")
    assert picture.getextrema()[1] < 40


@pytest.mark.parametrize(
    ("side", "count", "expected"), [(32, 10_000, 32), (224, 10_000, 32), (224, 100, 96), (8, 5, 8), (64, 2_500, 64)]
)
def test_a_tile_is_as_large_as_the_image_and_the_page_allow(side, count, expected):
    assert tile_side(torch.zeros(1, 3, side, side, dtype=torch.uint8), count) == expected


def test_a_grid_with_more_room_has_larger_tiles():
    images = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    assert tile_side(images, 5_000) == 32
    assert tile_side(images, 5_000, most_pixels=5_000 * 64 * 64) == 64


def test_a_lossy_grid_keeps_to_its_bytes(tmp_path, monkeypatch):
    noise = torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_grid(tmp_path / "fine.webp", noise, torch.arange(100), columns=10)
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 40_000)
    write_grid(tmp_path / "coarse.webp", noise, torch.arange(100), columns=10)
    assert (tmp_path / "coarse.webp").stat().st_size <= 40_000 < (tmp_path / "fine.webp").stat().st_size


def test_the_same_images_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_grid(tmp_path / name, plain(8, 16), torch.arange(8), columns=3)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_columns_hold_all_tiles():
    for count in (1, 2, 4, 5, 99, 100, 101, 10_000):
        columns = columns_of(count)
        assert (columns - 1) ** 2 < count <= columns**2
