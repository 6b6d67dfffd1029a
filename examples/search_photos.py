"""Index a folder of images and print what looks most like one of them.

    python examples/search_photos.py photos/ new.jpg runs/photos

`runs/photos` is what `tercet run photos/ --out runs/photos` has written. The index is made as `photos.index` in the
current folder. When the script is run again, only images that are new or have changed are embedded.
"""

import sys
from pathlib import Path

from tercet.inference.index import Index


def main(photos: str, query: str, model: str) -> None:
    """Bring the index up to date and search it by one image."""
    folder = Path("photos.index")
    with Index.open(folder, model) if folder.exists() else Index.create(folder, model) as index:
        changes = index.add([photos])
        index.save()
        print(f"{len(index):,} images, of which {changes.added:,} are new")
        for path, distance in index.query([query], k=5)[0]:
            print(f"{distance:.4f}  {path}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
