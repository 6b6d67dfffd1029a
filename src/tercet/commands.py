"""One function a command. Each takes the options by name, prints data on stdout and returns the exit status.

What only some commands need is imported there: a prediction would wait as long again for figures and baselines.
"""

from __future__ import annotations

import csv
import json
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tercet.config import PRESETS, Config
from tercet.errors import UsageError
from tercet.files import at_home
from tercet.model.bundle import load_bundle


def run(*, data: str, out: str, overwrite: bool, seeds: int, quiet: bool, **asked: Any) -> int:
    """Print the table, the verdict and where report and results lie."""
    from tercet import pipeline
    from tercet.terminal import print_results, progress

    with progress(quiet) as on_progress:
        results = pipeline.run(
            data, out=out, config=asked_config(**asked), seeds=seeds, overwrite=overwrite, on_progress=on_progress
        )
    print_results(
        results.methods, f"{results.data['note'] or results.data['name']}: {results.data['n_test']:,} test images"
    )
    print(f"{results.verdict}\nreport:  {Path(out) / 'report.html'}\nresults: {Path(out) / 'results.json'}")
    return 0


def train(*, data: str, out: str, overwrite: bool, quiet: bool, **asked: Any) -> int:
    """Print where the model lies."""
    from tercet import pipeline
    from tercet.terminal import progress

    with progress(quiet) as on_progress:
        pipeline.train(data, out=out, config=asked_config(**asked), overwrite=overwrite, on_progress=on_progress)
    print(f"model: {Path(out) / 'model'}")
    return 0


def asked_config(preset: str, **options: Any) -> Config:
    """The preset with the options that were given."""
    return replace(PRESETS[preset], **{name: value for name, value in options.items() if value is not None})


def fetch(*, data: str, archive: str | None, url: str | None, data_dir: str | None, keep: bool, quiet: bool) -> int:
    """Print where the data set lies."""
    from tercet.data.cifar10 import FILES, data_folder, fetch_cifar10
    from tercet.terminal import progress

    folder = at_home(data_dir) if data_dir else data_folder()
    with progress(quiet) as on_progress:
        is_new = fetch_cifar10(
            folder,
            archive=at_home(archive) if archive else None,
            url=url,
            keep=keep,
            on_progress=partial(on_progress, "download, MB"),
        )
    print(f"{data} {'is' if is_new else 'was already'} in {folder}: {', '.join(FILES.values())}")
    if folder != data_folder():
        print(f"for `tercet run {data}`, set TERCET_DATA={shlex.quote(str(folder))}")
    return 0


def evaluate(*, data: str, model: str, as_json: bool, quiet: bool) -> int:  # noqa: ARG001
    """Print the figures of a model on the test part of the data."""
    from tercet import pipeline
    from tercet.evaluation.markup import percent
    from tercet.terminal import print_results

    results = pipeline.evaluate(data, load_bundle(model))
    if as_json:
        print(results.to_json())
    else:
        print_results(results.methods, f"{results.data['name']}: {results.data['n_test']:,} test images")
        found = results.retrieval
        print(
            f"recall@1 {percent(found['recall@1'])}, MAP@R {percent(found['map@r'])}, "
            f"calibration error {percent(results.calibration_error)}"
        )
    return 0


def report(*, run: str, quiet: bool) -> int:  # noqa: ARG001
    """Print where the page lies."""
    from tercet import pipeline

    print(pipeline.report(run))
    return 0


def predict(*, images: Sequence[str], model: str, k: int, form: str, quiet: bool) -> int:  # noqa: ARG001
    """Print a line an image; files that cannot be read are named on stderr, the rest is done."""
    from tercet.inference.images import image_paths, readable_images
    from tercet.inference.predictions import describe_prediction

    if k < 1:
        raise UsageError(f"-k is {k}; expected 1 or more.")
    bundle = load_bundle(model)
    unreadable = Unreadable()
    rows = csv.writer(sys.stdout, lineterminator="\n")
    if form == "csv":
        rows.writerow(["path", "predicted", "probability", *bundle.classes])
    for paths, pixels in readable_images(image_paths(images), bundle.side, unreadable):
        for path, shares in zip(paths, bundle.predict_proba(pixels), strict=True):
            found = describe_prediction(bundle.classes, shares, k)
            if form == "json":
                print(json.dumps({"path": path, **found}))
            elif form == "csv":
                rows.writerow([path, found["predicted"], found["probability"], *map(float, shares)])
            else:
                print("\t".join([path, *(f"{name} {share:.3f}" for name, share in found["top"])]))
    return 1 if unreadable.count else 0


def embed(*, paths: Sequence[str], model: str, out: str, quiet: bool) -> int:  # noqa: ARG001
    """Write the embeddings and print how many there are."""
    from tercet.inference.embeddings import embed_files

    unreadable = Unreadable()
    count = embed_files(load_bundle(model), paths, Path(out), unreadable)
    print(f"{count:,} embeddings: {out}")
    return 1 if unreadable.count else 0


def export(*, model: str, onnx: str, check: str | None, quiet: bool) -> int:  # noqa: ARG001
    """Write the model as ONNX and print what it was compared on and how far the two are apart."""
    from tercet.data.sources import open_dataset
    from tercet.inference.export import export_onnx

    bundle = load_bundle(model)
    compared = open_dataset(check, size=bundle.settings["size"]).test if check else None
    print(f"{onnx}: ONNX Runtime agrees; {export_onnx(bundle, onnx, compared)}")
    return 0


def index(*, paths: Sequence[str], out: str, remove: Sequence[str], model: str | None, quiet: bool) -> int:
    """Print what has changed in the index; files that cannot be read are named on stderr, the rest is done."""
    from tercet.inference.index import update
    from tercet.terminal import progress

    with progress(quiet) as on_progress:
        changes, count = update(out, model, add=paths, remove=remove, on_progress=partial(on_progress, "index"))
    done = f"{changes.added:,} added, {changes.replaced:,} replaced, {changes.unchanged:,} unchanged"
    print(f"{done}, {changes.removed:,} removed; {count:,} images: {out}")
    return 1 if changes.failed else 0


def search(
    *,
    images: Sequence[str],
    index: str,
    k: int,
    sheet: str | None,
    as_json: bool,
    model: str | None,
    quiet: bool,  # noqa: ARG001
) -> int:
    """Print a line a result, or an object an image, and draw the sheet if asked to."""
    from tercet.inference.gallery import Match
    from tercet.inference.images import image_paths, readable_images
    from tercet.inference.index import Index

    if sheet:
        from tercet.inference.sheet import check_sheet, write_sheet

        check_sheet(Path(sheet), len(images), k)
    unreadable = Unreadable()
    several = len(images) > 1 or not Path(images[0]).is_file()  # a folder, a pattern and a list may stand for many
    drawn: list[tuple[str, list[Match]]] = []
    with Index.open(index, model) as opened:
        for names, pixels in readable_images(image_paths(images), opened.bundle.side, unreadable):
            for name, matches in zip(names, opened.query(pixels, k), strict=True):
                if as_json:
                    print(json.dumps({"query": name, "results": [match._asdict() for match in matches]}))
                for path, distance in () if as_json else matches:
                    print("\t".join([f"{distance:.4f}", path, *[name] * several]))
                if sheet:
                    drawn.append((name, matches))
    if sheet and drawn:
        check_sheet(Path(sheet), len(drawn), k)
        write_sheet(Path(sheet), drawn)
    return 1 if unreadable.count else 0


def serve(*, model: str, port: int, quiet: bool) -> int:  # noqa: ARG001
    """Print the address once it answers."""
    from tercet.inference import serve as service

    return service.serve(model, port=port, on_listening=lambda address: print(address, flush=True))


class Unreadable:
    """Names each file that cannot be read on the log, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, path: str, reason: str) -> None:
        """Take one."""
        self.count += 1
        logging.getLogger(__name__).error("tercet: %s: %s", path, reason)
