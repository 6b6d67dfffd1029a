"""The jobs, each a short walk through the stations: `train` stops after the head, `run` does all, `evaluate` judges.

Each takes data by name or path and keeps everything in a run folder, from which an interrupted run goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from torch import nn

from tercet.config import PRESETS, Config
from tercet.data.sources import class_names, open_dataset
from tercet.errors import DataError, UsageError
from tercet.evaluation.card import write_card
from tercet.evaluation.figures import write_figures
from tercet.evaluation.report import write_report
from tercet.evaluation.results import Results, load_results, method_figures
from tercet.evaluation.seeds import combine_seeds
from tercet.geometry.metrics import expected_calibration_error, retrieval
from tercet.model.bundle import Bundle, load_bundle
from tercet.model.embed import embed
from tercet.model.pretrained import Backbone, name_of, own_network
from tercet.preparation import OnProgress, prepare, refuse_out_inside_data, repeating_command
from tercet.run_folder import RunFolder, read_json
from tercet.stations import judge, learn
from tercet.training.losses import Loss


def train(
    data: str | Path,
    *,
    out: str | Path,
    config: Config = PRESETS["quick"],
    loss: Loss | None = None,
    backbone: Backbone | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Bundle:
    """Train an encoder and its head on `data` into the run folder `out`; return them as a Bundle.

    `loss(embeddings, labels)` replaces the configured loss. `backbone` takes the place of the network pretrained on
    ImageNet: an `nn.Module` from pixels `[B, 3, H, W]`, scaled as (x - 127) / 128, to features `[B, F]`, which stays
    frozen; or a safetensors file with other weights of EfficientNet-Lite0. The same call again goes on where it was
    interrupted. DataError where the data cannot be trained on or has no room in memory, UsageError where settings mean
    nothing or `out` holds something else, TrainingError where training goes wrong beyond help.
    """
    config = _with_backbone(_with_loss(config, loss), backbone)
    with RunFolder(out) as folder:
        work = prepare("train", data, folder, config, overwrite, on_progress, backbone)
        if (folder.model / "config.json").exists():
            return load_bundle(folder.model, own_network(backbone))
        return learn(work, loss).bundle


def run(
    data: str | Path,
    *,
    out: str | Path,
    config: Config = PRESETS["quick"],
    loss: Loss | None = None,
    backbone: Backbone | None = None,
    seeds: int = 1,
    overwrite: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Results:
    """The whole job into the run folder `out`: encoder, head, baselines, figures in numbers and pictures, report.

    `loss` and `backbone` are those of `train`. With several `seeds` it is repeated in `out/seed-0` and so on, and the
    results are means with standard deviations. The same call again goes on where it was interrupted.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}; expected 1 or more.")
    config = _with_backbone(_with_loss(config, loss), backbone)
    with RunFolder(out) as folder:
        if seeds > 1:
            again = partial(run, loss=loss, backbone=backbone)
            return _run_seeds(data, folder, config, again, seeds, overwrite, on_progress)
        work = prepare("run", data, folder, config, overwrite, on_progress, backbone)
        if not folder.results.exists():
            results = judge(work, learn(work, loss))
            write_figures(folder.path)
            results.save(folder.results)  # with it all that takes time is done
        if not (folder.path / "report.html").exists():
            write_card(folder.path)
            write_report(folder.path)
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        return load_results(folder.results)


def evaluate(data: str | Path, bundle: Bundle) -> Results:
    """Judge a Bundle on the test part of `data`, whose classes must be the Bundle's.

    Give data with a test/ part of its own, or exactly the data trained on. Where a test part is split off data that has
    changed since, images trained on may be in it.
    """
    dataset = open_dataset(data, size=bundle.settings["size"])
    if dataset.test.classes != bundle.classes:
        raise DataError(
            f"{dataset.name} has the classes {class_names(dataset.test.classes)} where the model has "
            f"{class_names(bundle.classes)}; evaluate on data with the model's classes."
        )
    embeddings = embed(bundle.encoder, dataset.test.images)
    probabilities = bundle.probabilities(embeddings)
    recall_at_1, map_at_r = retrieval(embeddings, dataset.test.labels)
    return Results(
        data={"name": dataset.name, "classes": list(bundle.classes), "n_test": len(dataset.test)},
        methods={"triplet_mlp_head": method_figures(probabilities, dataset.test.labels, bundle.classes, 0.0)},
        retrieval={"recall@1": recall_at_1, "map@r": map_at_r},
        calibration_error=expected_calibration_error(probabilities, dataset.test.labels),
        verdict="",
    )


def report(run_folder: str | Path) -> Path:
    """Draw the figures, the page and the model card of a finished run again, from what it saved; return the page."""
    write_figures(Path(run_folder))
    write_card(Path(run_folder))
    return write_report(Path(run_folder))


def _with_loss(config: Config, loss: Loss | None) -> Config:
    """The configuration that says which loss is used; the name of a loss of one's own stands for it."""
    if loss is None:
        if config.loss == "custom":
            raise UsageError("the loss is 'custom' but none was given; pass loss=.")
        return config
    if isinstance(loss, nn.Module) and any(weight.requires_grad for weight in loss.parameters()):
        raise UsageError("the loss has weights of its own, which are not trained here; give one without.")
    return replace(config, loss="custom", custom_loss=getattr(loss, "__qualname__", type(loss).__qualname__))


def _with_backbone(config: Config, backbone: Backbone | None) -> Config:
    """The configuration that names the backbone of one's own by what it is made of."""
    if backbone is None:
        if config.backbone is not None:
            raise UsageError(
                f"the configuration names the backbone {config.backbone!r} but none was given; pass backbone=."
            )
        return config
    if config.encoder not in (None, "pretrained"):
        raise UsageError(f"the encoder is {config.encoder!r} but a backbone was given; leave one of the two out.")
    return replace(config, encoder="pretrained", backbone=name_of(backbone))


def _run_seeds(
    data: str | Path,
    folder: RunFolder,
    config: Config,
    run_one: Callable[..., Results],
    seeds: int,
    overwrite: bool,
    on_progress: OnProgress,
) -> Results:
    refuse_out_inside_data(data, folder)
    asked = {**asdict(config), "seeds": seeds}
    command = repeating_command("run", data, folder.path, config, seeds)
    if folder.claim(asked, None, overwrite=overwrite) is None:
        folder.write_json("run.json", {"asked": asked, "command": command})
    results = []
    for seed in range(config.seed, config.seed + seeds):
        part = folder.path / f"seed-{seed}"
        progress = partial(_with_prefix, on_progress, f"seed {seed}: ")
        results.append(run_one(data, out=part, config=replace(config, seed=seed), on_progress=progress))
        if seed == config.seed:
            record = {**read_json(part / "run.json"), "asked": asked, "command": command}
            folder.write_json("run.json", record)
    combined = combine_seeds(results)
    combined.save(folder.results)
    write_card(folder.path)
    write_report(folder.path)
    return combined


def _with_prefix(on_progress: OnProgress, prefix: str, station: str, done: int, total: int) -> None:
    on_progress(prefix + station, done, total)
