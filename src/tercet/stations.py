"""The stations between data and results: learn, fit what it is compared with, judge."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tercet.evaluation.baselines import fit_cnn, fit_logistic_regression, fit_majority
from tercet.evaluation.examples import save_examples, save_thumbnails, save_training_images, shown_indices
from tercet.evaluation.projection import FEWEST_POINTS, tsne
from tercet.evaluation.readers import fit_knn, fit_linear
from tercet.evaluation.results import Results, correctness, method_figures, write_predictions
from tercet.evaluation.verdict import LABELS, verdict_of_one
from tercet.files import write_arrays
from tercet.geometry.metrics import expected_calibration_error, retrieval
from tercet.memory import peak_memory_bytes
from tercet.model.features import Part, judged
from tercet.preparation import Work
from tercet.training.bundle import Learned, as_taken, embed_all, embed_some, train_bundle
from tercet.training.losses import Loss
from tercet.training.stages import Product, timed

Classify = Callable[[Tensor], Tensor]  # what a method takes of N images -> probabilities [N, C]


def learn(work: Work, loss: Loss | None = None) -> Learned:
    """Train encoder and head; write the history and the Bundle."""
    learned = train_bundle(
        work.config,
        work.train,
        work.validation,
        frozen=work.frozen,
        loss=loss,
        checkpoint=work.checkpoint("encoder"),
        stages=work.stages,
        on_progress=work.on_progress,
    )
    work.folder.write_history(learned.history)
    learned.bundle.save(work.folder.model)  # last: with it training is finished
    return learned


def fit_readers(work: Work, learned: Learned, gallery: Tensor, embeddings: Tensor) -> dict[str, Product]:
    """The methods that take embeddings, and what they make of the test part: the head, a linear layer, the nearest.

    The nearest are sought in the `gallery`, which holds all training images.
    """
    fits: dict[str, Callable[[], Classify]] = {
        "triplet_mlp_head": lambda: learned.bundle.probabilities,
        "triplet_linear_head": lambda: fit_linear(
            learned.read,
            learned.validation_read,
            class_counts=work.train.class_counts(),
            seed=work.config.seed,
            class_weight=work.config.class_weight,
        ),
        "triplet_knn": lambda: fit_knn((gallery, work.train.labels), learned.validation_read, len(work.train.classes)),
    }
    return {name: work.stages.once(name, partial(judged_once, fit, embeddings)) for name, fit in fits.items()}


def fit_baselines(work: Work, learned: Learned, taken: Tensor) -> dict[str, Product]:
    """The methods that take images, and what they make of the test part; the CNN takes features where there are any.

    The CNN's record joins the history.
    """
    cnn = work.stages.once("cnn_cross_entropy", partial(fit_and_judge_cnn, work, learned, taken))
    work.folder.write_history([*learned.history, *({"phase": "cnn", **record} for record in cnn.record["history"])])
    fits: dict[str, Callable[[], Classify]] = {
        "logistic_regression": lambda: fit_logistic_regression(
            work.train, work.validation, work.progress("logistic regression")
        ),
        "majority": lambda: fit_majority(work.train),
    }
    others = {name: work.stages.once(name, partial(judged_once, fit, work.test.images)) for name, fit in fits.items()}
    return {"cnn_cross_entropy": cnn, **others}


def judged_once(fit: Callable[[], Classify], inputs: Tensor) -> Product:
    """Fit a method and let it classify the test part; the seconds are those of the fit."""
    classify, seconds = timed(fit)
    return Product({"probabilities": classify(inputs)}, {"seconds": seconds})


def fit_and_judge_cnn(work: Work, learned: Learned, taken: Tensor) -> Product:
    """The CNN's training goes on from its own checkpoint."""
    classify, history = fit_cnn(
        work.config,
        learned.train,
        learned.validation,
        checkpoint=work.checkpoint("cnn"),
        on_step=work.progress(LABELS["cnn_cross_entropy"]),
    )
    seconds = learned.feature_seconds + history[-1]["seconds"]
    return Product({"probabilities": classify(taken)}, {"seconds": seconds, "history": history})


def judge(work: Work, learned: Learned) -> Results:
    """Read the test set once a method; write predictions, embeddings and the projection."""
    test = work.test
    taken = judged(test_part(work))
    # In float32, as the Bundle does. Features are kept in half precision, so one that stands on a frozen network may
    # differ in the fourth digit.
    embedded = work.stages.once("test_embeddings", partial(embed_all, learned.network, taken, "fp32"))
    embedded_gallery = work.stages.once("train_embeddings", partial(embed_gallery, work, learned))
    embeddings, gallery = embedded.tensors["embeddings"], embedded_gallery.tensors["embeddings"]
    methods = fit_readers(work, learned, gallery, embeddings) | fit_baselines(work, learned, taken)
    seconds = fit_seconds(methods, learned, embedded_gallery.record["seconds"])
    probabilities = {name: method.tensors["probabilities"] for name, method in methods.items()}
    ours = probabilities["triplet_mlp_head"]
    projection_seconds = project(work, embeddings)
    save_examples(work.folder.path, (work.train, gallery), (test, embeddings), ours, work.config.seed)
    save_training_images(work.folder.path, work.train, work.config.seed)
    write_arrays(
        work.folder.embeddings,
        train=gallery.numpy(),
        train_labels=work.train.labels.numpy(),
        test=embeddings.numpy(),
        test_labels=test.labels.numpy(),
        classes=np.array(test.classes),
    )
    write_predictions(work.folder.predictions, test, ours)
    recall_at_1, map_at_r = retrieval(embeddings, test.labels)
    return Results(
        data={key: value for key, value in work.data.items() if key != "load_seconds"},
        methods={
            name: method_figures(shares, test.labels, test.classes, seconds[name])
            for name, shares in probabilities.items()
        },
        retrieval={"recall@1": recall_at_1, "map@r": map_at_r},
        calibration_error=expected_calibration_error(ours, test.labels),
        verdict=verdict_of_one({name: correctness(shares, test.labels) for name, shares in probabilities.items()}),
        timing={
            "load_seconds": work.data["load_seconds"],
            "feature_seconds": round(learned.feature_seconds, 3),
            "encoder_seconds": round(learned.encoder_seconds + learned.embedding_seconds, 3),
            "head_seconds": round(learned.head_seconds, 3),
            "embed_train_seconds": round(embedded_gallery.record["seconds"], 3),  # those that the head did not need
            "embed_test_seconds": round(embedded.record["seconds"], 3),
            "projection_seconds": round(projection_seconds, 3),
        },
        peak_memory_bytes=peak_memory_bytes(),
    )


def embed_gallery(work: Work, learned: Learned) -> Product:
    """The embeddings of all training images; the seconds are those of the ones that the head did not learn from."""
    embeddings = torch.empty(len(work.train), work.config.dimensions)
    embeddings[learned.chosen], seconds = learned.read[0], 0.0
    rest = torch.ones(len(work.train), dtype=torch.bool).index_fill(0, learned.chosen, value=False).nonzero().flatten()
    if len(rest):
        network = copy.deepcopy(learned.network).to(work.config.device)  # that of the Bundle stays on the CPU
        embedded = embed_some(network, learned.train, rest, work.config.precision)
        embeddings[rest], seconds = embedded.tensors["embeddings"], embedded.record["seconds"]
    return Product({"embeddings": embeddings}, {"seconds": seconds})


def fit_seconds(methods: Mapping[str, Product], learned: Learned, rest_seconds: float) -> dict[str, float]:
    """The seconds until each method could classify: of one that reads embeddings, the encoder's and theirs too."""
    seconds = {name: float(method.record["seconds"]) for name, method in methods.items()}
    seconds["triplet_mlp_head"] = learned.head_seconds
    embedding = {
        "triplet_mlp_head": learned.embedding_seconds,
        "triplet_linear_head": learned.embedding_seconds,
        "triplet_knn": learned.embedding_seconds + rest_seconds,
    }
    return seconds | {name: seconds[name] + learned.encoder_seconds + more for name, more in embedding.items()}


def project(work: Work, embeddings: Tensor) -> float:
    """Write the t-SNE of the test part with its thumbnails, where there are points enough; return its seconds."""
    shown = shown_indices(len(work.test), work.config.seed)
    if len(shown) < FEWEST_POINTS:
        return 0.0
    drawn = work.stages.once("tsne", partial(draw, work, embeddings[shown]))
    points = drawn.tensors["points"].numpy()
    write_arrays(work.folder.projection, points=points, labels=work.test.labels[shown].numpy(), indices=shown.numpy())
    save_thumbnails(work.folder.path, work.test, shown)
    return float(drawn.record["seconds"])


def draw(work: Work, embeddings: Tensor) -> Product:
    """The t-SNE of embeddings."""
    work.on_progress("t-SNE", 0, 1)
    points, seconds = timed(lambda: tsne(embeddings, work.config.seed))
    work.on_progress("t-SNE", 1, 1)
    return Product({"points": torch.from_numpy(points)}, {"seconds": seconds})


def test_part(work: Work) -> Part:
    """What the network takes for each test image."""
    (part,), _ = as_taken(work.frozen, work.test, both_sides=False, on_step=work.progress("test features"))
    return part
