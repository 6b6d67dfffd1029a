"""A zoo of forty files as people have them in their folders, and exactly what is to become of each.

Every picture that can be read has a left and a right half, mostly red and blue, once it is read as it should be; so a
wrong turn, a lost alpha channel or a clipped range shows. `READ` tells what the halves show, `SKIPPED` the reason why a
file is left out, and about `IGNORED` no word is lost.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

RED, BLUE, WHITE = (220, 30, 40), (30, 60, 200), (255, 255, 255)
FLAG = (RED, BLUE)  # what the left and the right half show
GRAY = ((100, 100, 100), (200, 200, 200))
ORIENTATION = 0x0112


def flag(left: tuple[int, ...] = RED, right: tuple[int, ...] = BLUE, size: tuple[int, int] = (120, 80)) -> Image.Image:
    """Two halves, side by side."""
    image = Image.new({3: "RGB", 4: "RGBA"}[len(left)], size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    """The flag as a camera held another way writes it: stored turned or mirrored, with a note of how."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(flag().transpose(undo), kind, exif=exif)


def png(width: int, height: int, bits: int, colours: int, lines: bytes) -> bytes:
    """A PNG that Pillow reads but would not write; each line begins with its filter, a zero byte for none."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png_of_16_bit_colours() -> bytes:
    """Three channels of 16 bits."""
    rows = (np.array(flag(), dtype=np.uint16) * 256 + 7).astype(">u2")
    return png(120, 80, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def bomb() -> bytes:
    """Ten kilobytes that become 340 MB: as large as Pillow decodes without a word."""
    return png(9_400, 9_000, 1, 0, bytes(1 + 9_400 // 8) * 9_000)


def larger_bomb() -> bytes:
    """A GIF whose header claims all pixels that it can."""
    content = encoded(flag(), "GIF")
    return content[:6] + b"\xff" * 4 + content[10:]


def gray_levels(bits: int) -> Image.Image:
    """The levels 100 and 200 of 255, in one or two bytes a pixel."""
    levels = np.full((80, 120), 100, np.uint16)
    levels[:, 60:] = 200
    return Image.fromarray(levels * 256 + 7 if bits == 16 else levels.astype(np.uint8))


def palette_with_transparency() -> bytes:
    """A GIF whose right half is a transparent colour of the palette."""
    image = Image.new("P", (120, 80), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (60, 0, 120, 80))
    return encoded(image, "GIF", transparency=1)


def colours_of_print() -> Image.Image:
    """The flag in CMYK."""
    return flag().convert("CMYK")


def two_frames(kind: str) -> bytes:
    """The flag, then something else."""
    return encoded(flag(), kind, save_all=True, append_images=[Image.new("RGB", (120, 80), "black")])


NOISE = Image.effect_noise((120, 80), 60)
CLEAR = flag((*RED, 255), (*BLUE, 0))  # transparent on the right

READ = {  # path -> (content, what its left and right half show)
    "birds/plain.jpg": (encoded(flag(), "JPEG"), FLAG),
    "birds/progressive.jpeg": (encoded(flag(), "JPEG", progressive=True), FLAG),
    "birds/GRAY.JPG": (encoded(gray_levels(8), "JPEG"), GRAY),
    "birds/print.jpg": (encoded(colours_of_print(), "JPEG"), FLAG),
    "birds/turned 3.jpg": (turned(3), FLAG),
    "birds/turned 5.jpg": (turned(5), FLAG),
    "birds/turned 6.jpg": (turned(6), FLAG),
    "birds/turned 8.png": (turned(8, "PNG"), FLAG),
    "birds/two views.jpg": (two_frames("MPO"), FLAG),
    "birds/camera.jfif": (encoded(flag(size=(1200, 800)), "JPEG"), FLAG),
    "fish/plain.png": (encoded(flag(), "PNG"), FLAG),
    "fish/clear.png": (encoded(CLEAR, "PNG"), (RED, WHITE)),
    "fish/palette.png": (encoded(flag().quantize(4), "PNG"), FLAG),
    "fish/gray 16.png": (encoded(gray_levels(16), "PNG"), GRAY),
    "fish/gray clear.png": (encoded(gray_levels(8).convert("LA"), "PNG"), GRAY),
    "fish/colour 16.png": (png_of_16_bit_colours(), FLAG),
    "fish/two colours.png": (encoded(flag((0, 0, 0), WHITE).convert("1"), "PNG"), ((0, 0, 0), WHITE)),
    "fish/really a jpeg.png": (encoded(flag(), "JPEG"), FLAG),
    "fish/ümlaut näme.webp": (encoded(flag(), "WEBP", lossless=True), FLAG),
    "fish/clear.webp": (encoded(CLEAR, "WEBP", lossless=True), (RED, WHITE)),
    "moths/moving.gif": (two_frames("GIF"), FLAG),
    "moths/clear.gif": (palette_with_transparency(), (RED, WHITE)),
    "moths/plain.bmp": (encoded(flag(), "BMP"), FLAG),
    "moths/plain.tif": (encoded(flag(), "TIFF", compression="tiff_lzw"), FLAG),
    "snails/print.tiff": (encoded(colours_of_print(), "TIFF"), FLAG),
    "moths/gray 16.tiff": (encoded(gray_levels(16), "TIFF"), GRAY),
    "moths/pages.tiff": (two_frames("TIFF"), FLAG),
    "moths/deeper/plain.jpg": (encoded(flag(), "JPEG"), FLAG),
}
NO_IMAGE = "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"
TOO_LARGE = "more than the 50 million pixels allowed"
SKIPPED = {  # path -> (content, how the reason begins)
    "birds/phone.heic": (b"\0\0\0\x18ftypheic", NO_IMAGE),
    "fish/cut off.jpg": (encoded(NOISE, "JPEG")[:-900], "unreadable (image file is truncated"),
    "fish/empty.png": (b"", NO_IMAGE),
    "moths/text.jpg": (b"<html>404 not found</html>", NO_IMAGE),
    "moths/measured.tiff": (encoded(Image.new("F", (8, 8)), "TIFF"), "floating-point pixels have no known range"),
    "moths/bomb.png": (bomb(), TOO_LARGE),
    "birds/bomb.gif": (larger_bomb(), TOO_LARGE),
    "cover.jpg": (encoded(flag(), "JPEG"), "not in a class folder"),
}
IGNORED = {
    "birds/.hidden.jpg": encoded(flag(), "JPEG"),
    "birds/Thumbs.db": b"\xd0\xcf\x11\xe0",
    "fish/.DS_Store": b"\0\0\0\1Bud1",
    "__MACOSX/birds/._plain.jpg": b"\0\5\x16\7",
}
FILES = {path: content for path, (content, _) in {**READ, **SKIPPED}.items()} | IGNORED


EMPTY = "ghosts"  # a class folder without an image, which only a folder can hold


def write_zoo(root: Path) -> Path:
    """Write the forty files below `root`, and the empty class folder."""
    (root / EMPTY).mkdir(parents=True)
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root
