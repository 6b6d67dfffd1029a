"""Classify image files by an exported model, with onnxruntime, Pillow and NumPy alone.

tercet export --model runs/photos --onnx photos.onnx
python examples/onnx_only.py photos.onnx a.jpg b.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read_pixels(path: str, side: int) -> np.ndarray:
    """An image file as the network saw images in training: uint8 [side, side, 3]."""
    with Image.open(path) as image:
        image.draft(image.mode, (3 * side, 3 * side))  # of a large JPEG, decode no more than that takes
        return fit(to_rgb(ImageOps.exif_transpose(image)), side)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, with transparency on white and 16 bits scaled to 8."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.new("RGB", colours.size, "white")
        image.paste(colours, mask=colours)
    return image.convert("RGB")


def fit(image: Image.Image, side: int) -> np.ndarray:
    """The largest centred square, resized; an image of that size stays as it is."""
    if image.size != (side, side):
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        box = (left, top, left + short, top + short)
        image = image.resize((side, side), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.asarray(image)


def main(model: str, *paths: str) -> None:
    """Print a line an image: its path, the most probable class, that probability."""
    session = onnxruntime.InferenceSession(model)
    described = session.get_modelmeta().custom_metadata_map
    classes, side = json.loads(described["classes"]), int(described["side"])
    for path in paths:
        pixels = read_pixels(path, side)
        (probabilities,) = session.run(["probabilities"], {"images": pixels[None]})  # or "embeddings"
        best = probabilities[0].argmax()
        print(path, classes[best], f"{probabilities[0, best]:.6f}", sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
