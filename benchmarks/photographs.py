"""Photographs: what a pretrained encoder gains over one trained from scratch, by the number of training images a class.

    python -m benchmarks.photographs make FOLDER     500 mixed photographs in five classes, to try tercet on
    python -m benchmarks.photographs measure         needs $TERCET_CIFAR10; about half an hour
    python -m benchmarks.photographs table

Two sets. "Cut-outs": photographs of birds, flowers, fruit, mammals and vegetables, cut out, from Debian's package
tuxpaint-stamps-default (fetched by apt-get, so Debian or Ubuntu only), each pasted at a random place, size and turn
onto a random part of a photograph of buildings that comes with scikit-learn; sizes, shapes and formats vary. No cut-out
is in both training and test. "CIFAR-10 at 128": images of 32 x 32 from the JPEG copy, enlarged. The seed draws the
training images, the first weights and the order; the test images stay.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_image

import tercet
from benchmarks import records
from benchmarks.tables import markdown, spread
from tercet.config import Config
from tercet.pipeline import evaluate

CLASSES = {
    "birds": "animals/birds",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "mammals": "animals/mammals",
    "vegetables": "food/vegetables",
}
FORMATS = (".jpg", ".jpg", ".png", ".webp")
PACKAGE = "tuxpaint-stamps-default"
ENCODERS = ("pretrained", "fast")
IMAGES_PER_CLASS, SEEDS = (5, 20, 100), 3
TEST_CUT_OUTS, TEST_CIFAR = 60, 200  # test images a class
SIZE = 128
RUNS = Path("runs/photographs")


def cut_outs() -> dict[str, list[Path]]:
    """The cut-out photographs of each class, drawings left out; fetched once."""
    home = RUNS / PACKAGE
    if not home.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
            subprocess.run(["dpkg-deb", "-x", next(Path(folder).glob("*.deb")), home], check=True)
    stamps = home / "usr/share/tuxpaint/stamps"
    return {
        label: [path for path in sorted((stamps / place).rglob("*.png")) if "cartoon" not in path.parts]
        for label, place in CLASSES.items()
    }


def photograph(cut_out: Path, scene: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The cut-out on a random part of the scene, as a picture of random shape and exposure."""
    width, height = (int(generator.integers(180, 520)) for _ in range(2))
    left, top = (int(generator.integers(0, room)) for room in (scene.width - width, scene.height - height))
    picture = scene.crop((left, top, left + width, top + height)).convert("RGBA")
    with Image.open(cut_out) as stored:
        thing = stored.convert("RGBA")
    thing = thing.crop(thing.getbbox()).rotate(generator.uniform(-20, 20), expand=True)
    short = min(width, height)  # things lie inside the central square, as in most photographs
    scale = generator.uniform(0.5, 0.95) * short / max(thing.size)
    thing = thing.resize((max(1, int(thing.width * scale)), max(1, int(thing.height * scale))))
    place = [
        (side - short) // 2 + int(generator.integers(0, short - extent + 1))
        for side, extent in zip((width, height), thing.size, strict=True)
    ]
    picture.alpha_composite(thing, (place[0], place[1]))
    return ImageEnhance.Brightness(picture.convert("RGB")).enhance(generator.uniform(0.7, 1.25))


def write_photographs(folder: Path, part: str, images_per_class: int, seed: int) -> None:
    """Class folders of photographs; "train" and "test" draw on different cut-outs, "all" on all of them."""
    generator = np.random.default_rng(seed)
    scene = Image.fromarray(load_sample_image("china.jpg"))
    scene = scene.resize((2 * scene.width, 2 * scene.height))
    for label, paths in cut_outs().items():
        chosen = {"train": paths[::2], "test": paths[1::2], "all": paths}[part]
        (folder / label).mkdir(parents=True)
        for number in range(images_per_class):
            picture = photograph(chosen[number % len(chosen)], scene, generator)
            picture.save(folder / label / f"{label}-{number:03}{generator.choice(FORMATS)}")


def cut_out_data(images_per_class: int, seed: int) -> Path:
    """A folder with train/ and test/."""
    folder = RUNS / f"cut-outs-{images_per_class}-{seed}"
    if not folder.is_dir():
        write_photographs(folder / "train", "train", images_per_class, seed)
        write_photographs(folder / "test", "test", TEST_CUT_OUTS, seed=1_000)
    return folder


def cifar_data(images_per_class: int, seed: int) -> Path:
    """An .npz of CIFAR-10 images with few training images."""
    file = RUNS / f"cifar10-{images_per_class}-{seed}.npz"
    if not file.is_file():
        dataset = tercet.open_dataset("cifar10")
        arrays: dict[str, Any] = {}
        for part, images, count, draw in (
            ("train", dataset.train, images_per_class, seed),
            ("test", dataset.test, TEST_CIFAR, 0),
        ):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(draw))
            chosen = images.select(torch.cat([order[images.labels[order] == c][:count] for c in range(10)]))
            arrays[f"{part}_images"] = chosen.images.permute(0, 2, 3, 1).numpy()
            arrays[f"{part}_labels"] = chosen.labels.numpy()
        np.savez(file, **arrays)
    return file


DATA = {"cut-out photographs": cut_out_data, "CIFAR-10 at 128, JPEG copy": cifar_data}


def measure(data: str, images_per_class: int, encoder: str, seed: int) -> None:
    """Train encoder and head once and append a record; nothing if it is there with the same settings."""
    config = Config(encoder=encoder, size=SIZE, seed=seed)
    key = {
        "data": data,
        "images_per_class": images_per_class,
        "encoder": encoder,
        "seed": seed,
        "settings": records.settings(config),
    }
    if records.has("photographs", **key):
        return
    source = DATA[data](images_per_class, seed)
    out = RUNS / f"{source.name}-{encoder}"
    started = time.perf_counter()
    bundle = tercet.train(source, out=out, config=config, overwrite=True)
    seconds = time.perf_counter() - started
    results = evaluate(source, bundle)
    figures = results.methods["triplet_mlp_head"]
    records.append(
        "photographs",
        {
            **key,
            "n_test": results.data["n_test"],
            "test_accuracy": figures["test_accuracy"],
            "ci95": figures["ci95"],
            "retrieval": results.retrieval,
            "wall_seconds": round(seconds, 1),
        },
    )


def table() -> str:
    """Test accuracy in percent and seconds, mean and standard deviation over seeds, as Markdown."""
    cells = defaultdict(list)
    for record in records.read("photographs"):
        cells[record["data"], record["encoder"], record["images_per_class"]].append(record)
    rows = [["", *(f"{count} a class" for count in IMAGES_PER_CLASS), f"seconds at {IMAGES_PER_CLASS[-1]}"]]
    for data, encoder in product(DATA, ENCODERS):
        found = [records.newest(cells[data, encoder, count]) for count in IMAGES_PER_CLASS]
        accuracies = [
            spread([record["test_accuracy"] for record in some], ".1f", 100) if some else "" for some in found
        ]
        seconds = spread([record["wall_seconds"] for record in found[-1]], ".0f") if found[-1] else ""
        name = "pretrained" if encoder == "pretrained" else "from scratch"
        rows.append([f"{data}, {name}", *accuracies, seconds])
    return markdown(rows)


def main() -> None:
    """Run the step that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("make", "measure", "table"))
    parser.add_argument("folder", nargs="?", type=Path)
    asked = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    if asked.step == "make":
        if asked.folder is None:
            parser.error("make needs a FOLDER")
        write_photographs(asked.folder, "all", 100, seed=0)
    elif asked.step == "measure":
        for seed, data, count, encoder in product(range(SEEDS), DATA, IMAGES_PER_CLASS, ENCODERS):
            measure(data, count, encoder, seed)
    else:
        print(table())


if __name__ == "__main__":
    main()
