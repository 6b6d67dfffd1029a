"""One function a command. Each takes the options by name, prints data on stdout and returns the exit status.

What only some commands need is imported there: a prediction would wait as long again for figures and baselines.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tercet.config import PRESETS, Config
from tercet.data.archive import File, list_folder, read_file
from tercet.data.parallel import decode_files
from tercet.errors import DataError, UsageError
from tercet.files import write_arrays
from tercet.model.bundle import Bundle, load_bundle

CHUNK = 256  # images decoded at a time, so that a million files need no more memory than a thousand


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

    folder = Path(data_dir).expanduser() if data_dir else data_folder()
    with progress(quiet) as on_progress:
        is_new = fetch_cifar10(
            folder,
            archive=Path(archive).expanduser() if archive else None,
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
    from tercet.terminal import print_results

    results = pipeline.evaluate(data, load_bundle(model))
    if as_json:
        print(results.to_json())
    else:
        print_results(results.methods, f"{results.data['name']}: {results.data['n_test']:,} test images")
        found = results.retrieval
        print(
            f"recall@1 {found['recall@1']:.4f}, MAP@R {found['map@r']:.4f}, "
            f"calibration error {results.calibration_error:.4f}"
        )
    return 0


def report(*, run: str, quiet: bool) -> int:  # noqa: ARG001
    """Print where the page lies."""
    from tercet import pipeline

    print(pipeline.report(run))
    return 0


def predict(*, images: Sequence[str], model: str, k: int, as_json: bool, quiet: bool) -> int:  # noqa: ARG001
    """Print a line an image; files that cannot be read are named on stderr, the rest is done."""
    if k < 1:
        raise UsageError(f"-k is {k}; expected 1 or more.")
    bundle = load_bundle(model)
    unreadable: list[str] = []
    for paths, pixels in _readable(images, bundle, unreadable):
        for path, shares in zip(paths, bundle.predict_proba(pixels), strict=True):
            top = [(bundle.classes[index], float(shares[index])) for index in shares.argsort(kind="stable")[::-1][:k]]
            if as_json:
                print(json.dumps({"path": path, "predicted": top[0][0], "probability": top[0][1], "top": top}))
            else:
                print("\t".join([path, *(f"{name} {share:.3f}" for name, share in top)]))
    return 1 if unreadable else 0


def embed(*, paths: Sequence[str], model: str, out: str, quiet: bool) -> int:  # noqa: ARG001
    """Write the embeddings and print how many there are."""
    bundle = load_bundle(model)
    unreadable: list[str] = []
    done: list[str] = []
    blocks = []
    for names, pixels in _readable(_files(paths), bundle, unreadable):
        done += names
        blocks.append(bundle.embed(pixels))
    if not done:
        raise DataError(f"found no readable image in {', '.join(paths)}; expected image files or folders of them.")
    try:
        write_arrays(Path(out), embeddings=np.concatenate(blocks), paths=np.array(done))
    except OSError as error:
        raise DataError(f"--out {out} cannot be written ({error.strerror}); give another path.") from error
    print(f"{len(done):,} embeddings: {out}")
    return 1 if unreadable else 0


def serve(*, model: str, port: int, quiet: bool) -> int:  # noqa: ARG001
    """Print the address once it answers."""
    from tercet.inference import serve as service

    return service.serve(model, port=port, on_listening=lambda address: print(address, flush=True))


def _files(paths: Sequence[str]) -> Iterator[str]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from (str(file) for _, file in list_folder(path))
        else:
            yield str(path)


def _readable(
    paths: Sequence[str] | Iterator[str], bundle: Bundle, unreadable: list[str]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Paths and pixels `[n, side, side, 3]`, a chunk at a time; unreadable files go to the list and the log."""
    decoded = decode_files((File(path, partial(read_file, Path(path))) for path in paths), bundle.side)
    while chunk := list(islice(decoded, CHUNK)):
        names, pixels = [], []
        for path, outcome in chunk:
            if isinstance(outcome, str):
                unreadable.append(path)
                logging.getLogger(__name__).error("tercet: %s: %s", path, outcome)
            else:
                pixels.append(outcome)
                names.append(path)
        if names:
            yield names, np.stack(pixels)
