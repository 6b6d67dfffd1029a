"""One image file to pixels: upright, RGB on white, square, uint8.

The formats are a short list because every decoder is a surface for damaged or hostile files. Knows nothing of folders,
classes or tensors.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from tercet.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # decoded; 0.5 GB at the worst, 16-bit and then RGB: a guess
MAX_SCANNED = 20 * MAX_PIXELS  # pixels times passes of a progressive JPEG, which has about 10: 3 s at the worst
LARGE_PIXELS = 4_000_000  # beyond it images are decoded two at a time, so that threads do not multiply memory: a guess
_LARGE = threading.Semaphore(2)

Pixels = NDArray[np.uint8]


def stored_side(size: int) -> int:
    """The side at which images are kept for a network that takes `size` pixels.

    Beyond 32 an eighth more, from which training cuts at random places and evaluation the centre: He et al., Deep
    residual learning, 2015, keep 256 for 224. Small images are kept whole, and training mirrors a border instead.

    >>> [stored_side(size) for size in (32, 64, 128, 224)]
    [32, 73, 146, 256]
    """
    return size if size <= 32 else size * 8 // 7


def read_image(file: Path | BytesIO, side: int) -> Pixels:
    """Read the first frame of an image file as uint8 `[side, side, 3]`: the short side resized, the centre kept.

    A file that cannot be read is a DataError which gives the reason alone, for the caller knows the file's name.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the time; threefold leaves nothing to be seen.
            full = image.width * image.height
            image.draft(image.mode, (3 * side, 3 * side))
            if "progressive" in image.info and full * _count_scans(image) > MAX_SCANNED:
                raise DataError("more passes over the picture than a JPEG has")
            # The decoder of progressive ones holds the whole image all the same.
            decoded = full if "progressive" in image.info else image.width * image.height
            if decoded > MAX_PIXELS:
                raise DataError(f"more than the {MAX_PIXELS // 1_000_000} million pixels allowed")
            with _LARGE if decoded > LARGE_PIXELS else nullcontext():
                image.load()
                return to_pixels(image, side)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than the {MAX_PIXELS // 1_000_000} million pixels allowed") from error
    except UnidentifiedImageError as error:
        raise DataError("not a JPEG, PNG, WebP, GIF, BMP or TIFF image") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"unreadable ({reason})") from error


def _count_scans(image: ImageFile.ImageFile) -> int:
    """The passes over the picture; each takes the time of an image and as little as 75 bytes."""
    file = image.fp
    assert file is not None
    place = file.tell()
    file.seek(0)
    count = sum(block.count(b"\xff\xda") for block in iter(lambda: file.read(2**20), b""))
    file.seek(place)
    return count


def to_pixels(image: Image.Image, side: int) -> Pixels:
    """An open image of any mode as uint8 `[side, side, 3]`: upright, RGB, transparency on white, the centre square."""
    with suppress(Exception):  # damaged EXIF says nothing against the pixels
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    return fit(_to_rgb(image), side)


def read_short_side(file: BytesIO) -> int | None:
    """The shorter side of an image, from its header alone; None where there is no readable header."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            return min(image.size)
    except MemoryError:
        raise
    except Exception:  # as above; the reason is reported when the image itself is read
        return None


def fit(image: Image.Image, side: int, method: Image.Resampling = Image.Resampling.LANCZOS) -> Pixels:
    """Cut the centre square out of an RGB image and resize it; an image of `side` x `side` is not touched."""
    if image.size != (side, side):
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        box = (left, top, left + short, top + short)
        image = image.resize((side, side), method, box=box, reducing_gap=3.0)
    return np.array(image, dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Gray, palette, alpha, 16-bit or CMYK to RGB."""
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # Pillow would clip 16-bit levels at 255 instead of scaling them
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise DataError("integer pixels beyond 16 bits have no known range")
        image = Image.fromarray((levels // 256).astype(np.uint8))
    if image.has_transparency_data:
        colours = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", colours.size, "white")
        image.paste(colours, mask=colours)
    return image if image.mode == "RGB" else image.convert("RGB")
