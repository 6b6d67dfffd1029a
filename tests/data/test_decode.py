from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tercet.data import decode
from tercet.data.decode import read_image, read_short_side, stored_side, to_pixels
from tercet.errors import DataError

RED = (255, 0, 0)


def encoded(image, format="PNG", **options):
    file = BytesIO()
    image.save(file, format, **options)
    return BytesIO(file.getvalue())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_each_format_gives_its_colour(format):
    pixels = read_image(encoded(Image.new("RGB", (20, 10), RED), format), 8)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.mean((0, 1)), RED, atol=2)


def test_a_path_is_read_as_well(tmp_path):
    Image.new("RGB", (4, 4), RED).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 4) == RED).all()


def test_an_image_of_the_right_size_is_not_touched():
    original = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert (read_image(encoded(Image.fromarray(original)), 8) == original).all()


def test_the_centre_is_cut_out_and_nothing_squashed():
    image = Image.new("RGB", (30, 10), "blue")
    image.paste(RED, (10, 0, 20, 10))
    assert (read_image(encoded(image), 10) == RED).all()
    assert (read_image(encoded(image.rotate(90, expand=True)), 10) == RED).all()
    np.testing.assert_allclose(read_image(encoded(image), 5)[2, 2], RED, atol=4)


def test_shrinking_averages():
    checks = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    np.testing.assert_allclose(read_image(encoded(checks), 8), 127, atol=3)


def test_a_large_jpeg_is_shrunk_to_the_same_picture_as_a_png():
    slope = np.linspace(0, 255, 800).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(slope, (600, 1))] * 3, axis=2))
    jpeg, png = read_image(encoded(image, "JPEG", quality=95), 32), read_image(encoded(image), 32)
    np.testing.assert_allclose(jpeg.astype(int), png.astype(int), atol=4)


def test_the_first_frame_of_a_gif():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, "blue")]
    assert (read_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 4) == RED).all()


def test_16_bit_gray_keeps_its_range():
    levels = np.array([[0, 65535], [32768, 256]], dtype=np.uint16)
    pixels = read_image(encoded(Image.fromarray(levels)), 2)
    assert pixels[..., 0].tolist() == [[0, 255], [128, 1]]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_becomes_rgb(mode):
    assert (read_image(encoded(Image.new(mode, (2, 2), 255)), 2) == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(mode):
    assert (read_image(encoded(Image.new(mode, (2, 2))), 2) == 255).all()


def test_a_palette_with_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putdata([0, 1])
    pixels = np.array(read_image(encoded(image.resize((2, 2)), transparency=0), 2))
    assert pixels[0].tolist() == [[255, 255, 255], list(RED)]


def test_a_cmyk_jpeg():
    pixels = read_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), 8)
    np.testing.assert_allclose(pixels.mean((0, 1)), RED, atol=3)


def test_an_image_turned_by_exif_stands_upright():
    image = Image.new("RGB", (8, 8), "blue")
    image.paste(RED, (0, 0, 8, 4))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    pixels = read_image(encoded(image, "PNG", exif=exif), 8)
    assert (pixels[:, 4:] == RED).all()
    assert (pixels[:, :4] == (0, 0, 255)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_fault_of_the_pixels():
    file = encoded(Image.new("RGB", (8, 8), RED), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05broken")
    np.testing.assert_allclose(read_image(file, 8).mean((0, 1)), RED, atol=2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a JPEG"),
        (b"just text", "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG").getvalue()[:-800], "truncated"),
        (encoded(Image.effect_noise((64, 64), 50)).getvalue()[:2000], "truncated"),
        (encoded(Image.new("L", (4, 4)), "PPM").getvalue(), "not a JPEG"),
        (encoded(Image.new("F", (4, 4)), "TIFF").getvalue(), "floating-point"),
        (encoded(Image.new("I", (4, 4), 1_000_000), "TIFF").getvalue(), "beyond 16 bits"),
    ],
)
def test_what_cannot_be_read_says_why(content, reason):
    with pytest.raises(DataError, match=reason):
        read_image(BytesIO(content), 8)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "none.jpg", 8)


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="million pixels allowed"):
        read_image(encoded(Image.new("L", (10, 10))), 8)


def test_of_a_jpeg_the_pixels_that_are_decoded_count(monkeypatch):
    """A quarter of each side is, unless it is progressive: then the decoder holds all of it."""
    image = Image.new("RGB", (400, 400), RED)
    monkeypatch.setattr(decode, "MAX_PIXELS", 400 * 400 - 1)
    np.testing.assert_allclose(read_image(encoded(image, "JPEG"), 16).mean((0, 1)), RED, atol=2)
    with pytest.raises(DataError, match="million pixels allowed"):
        read_image(encoded(image, "JPEG", progressive=True), 16)


def test_large_images_are_decoded_two_at_a_time(monkeypatch):
    """With both places taken a small image gets through and a large one waits."""
    monkeypatch.setattr(decode, "LARGE_PIXELS", 50)
    large, small = encoded(Image.new("L", (10, 10))), encoded(Image.new("L", (5, 5)))
    with ThreadPoolExecutor(1) as pool:
        with decode._LARGE, decode._LARGE:
            waiting = pool.submit(read_image, large, 4)
            assert read_image(small, 4).shape == (4, 4, 3)
            assert wait([waiting], timeout=0.2).not_done
        assert waiting.result(timeout=10).shape == (4, 4, 3)


@pytest.mark.parametrize(("size", "side"), [(9, 9), (32, 32), (33, 37), (64, 73), (128, 146), (224, 256)])
def test_side_at_which_images_are_kept(size, side):
    assert stored_side(size) == side


def test_an_open_image_is_read_like_its_file():
    image = Image.new("RGBA", (8, 4), (*RED, 0))
    image.paste((*RED, 255), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for save in ({}, {"exif": exif}):
        file = encoded(image, **save)
        assert np.array_equal(to_pixels(Image.open(file), 4), read_image(BytesIO(file.getvalue()), 4))
    assert image.size == (8, 4)


def test_short_side_is_read_from_the_header():
    assert read_short_side(encoded(Image.new("RGB", (30, 20)))) == 20
    assert read_short_side(BytesIO(b"just text")) is None


def test_a_jpeg_of_endless_passes_is_refused_and_a_small_one_of_many_is_read(monkeypatch):
    monkeypatch.setattr(decode, "MAX_SCANNED", 20 * 64 * 64)
    content = encoded(Image.new("L", (64, 64), 90), "JPEG", progressive=True).getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    assert read_image(BytesIO(content[:-2] + 10 * last + content[-2:]), 8).mean() == pytest.approx(90, abs=2)
    with pytest.raises(DataError, match="more passes over the picture"):
        read_image(BytesIO(content[:-2] + 20 * last + content[-2:]), 8)
