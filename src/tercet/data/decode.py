"""One image file to pixels: upright, RGB on white, square, uint8.

The formats are a short list because every decoder is a surface for damaged or hostile files. Knows nothing of folders,
classes or tensors.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tercet.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000  # about 150 MB as RGB, so that a few threads at once stay within an ordinary machine

Pixels = NDArray[np.uint8]


def read_image(file: Path | BytesIO, size: int) -> Pixels:
    """Read the first frame of an image file as uint8 `[size, size, 3]`: the centre square, resized.

    A file that cannot be read is a DataError which gives the reason alone, for the caller knows the file's name.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"more than the {MAX_PIXELS // 1_000_000} million pixels allowed")
            # A JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the time; threefold leaves nothing to be seen.
            image.draft(image.mode, (3 * size, 3 * size))
            image.load()
            with suppress(Exception):  # damaged EXIF says nothing against the pixels
                ImageOps.exif_transpose(image, in_place=True)
            return fit(_to_rgb(image), size)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"more than the {MAX_PIXELS // 1_000_000} million pixels allowed") from error
    except UnidentifiedImageError as error:
        raise DataError("not a JPEG, PNG, WebP, GIF, BMP or TIFF image") from error
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types on damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"unreadable ({reason})") from error


def read_short_side(file: BytesIO) -> int | None:
    """The shorter side of an image, from its header alone; None where there is no readable header."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            return min(image.size)
    except MemoryError:
        raise
    except Exception:  # as above; the reason is reported when the image itself is read
        return None


def fit(image: Image.Image, size: int, method: Image.Resampling = Image.Resampling.LANCZOS) -> Pixels:
    """Cut the centre square out of an RGB image and resize it; an image of `size` x `size` is not touched."""
    if image.size != (size, size):
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        box = (left, top, left + short, top + short)
        image = image.resize((size, size), method, box=box, reducing_gap=3.0)
    return np.array(image, dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Gray, palette, alpha, 16-bit or CMYK to RGB."""
    if image.mode == "F":
        raise DataError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # Pillow would clip 16-bit levels at 255 instead of scaling them
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise DataError("integer pixels beyond 16 bits have no known range")
        image = Image.fromarray((levels // 256).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image if image.mode == "RGB" else image.convert("RGB")
