"""Draw a sailing ship, so that there is an image to try a model on: `python examples/drawing.py ship.png`.

tercet predict ship.png
"""

import sys

from PIL import Image, ImageDraw, ImageFilter

SIDE = 256


def ship() -> Image.Image:
    """A ship on the sea under a bright sky."""
    image = Image.new("RGB", (SIDE, SIDE), (168, 200, 228))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 170, SIDE, SIDE), fill=(38, 84, 120))
    for row in range(178, SIDE, 13):
        draw.line((0, row, SIDE, row - 3), fill=(70, 120, 156), width=2)
    draw.line((128, 40, 128, 160), fill=(70, 50, 40), width=5)
    draw.polygon([(122, 48), (122, 146), (52, 146)], fill=(246, 244, 238))
    draw.polygon([(134, 58), (134, 146), (198, 146)], fill=(226, 222, 214))
    draw.polygon([(36, 156), (220, 156), (196, 192), (62, 192)], fill=(96, 48, 40))
    return image.filter(ImageFilter.GaussianBlur(1))


if __name__ == "__main__":
    ship().save(sys.argv[1])
