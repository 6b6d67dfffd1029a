"""Train on a folder of one's own images, one subfolder a class; without one, on shapes drawn for the purpose.

python examples/own_folder.py [FOLDER [RUN]]
"""

import random
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import tercet


def draw_shapes(folder: Path, count: int = 40) -> Path:
    """Circles, squares and triangles of any colour, size and place, as `folder`/circle/0.png and so on."""
    chance = random.Random(0)
    for name, corners in (("circle", 40), ("square", 4), ("triangle", 3)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.new("RGB", (48, 48), tuple(chance.choices(range(120), k=3)))
            place = (chance.randint(18, 30), chance.randint(18, 30), chance.randint(8, 16))
            colour = tuple(chance.choices(range(136, 256), k=3))
            ImageDraw.Draw(image).regular_polygon(place, corners, chance.randint(0, 90), colour)
            image.save(folder / name / f"{number}.png")
    return folder


def main(folder: str | None = None, run: str = "runs/own-folder") -> None:
    """Train, and tell the class of one image of each subfolder."""
    images = Path(folder) if folder else draw_shapes(Path(tempfile.mkdtemp(prefix="shapes-")))
    bundle = tercet.train(images, out=run)
    paths = [min(path.rglob("*.*")) for path in sorted(images.iterdir()) if path.is_dir()]
    for path, name in zip(paths, bundle.predict(paths), strict=True):
        print(path, name, sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
