"""The stations between data and results: learn, fit what it is compared with, judge."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from tercet.evaluation.baselines import fit_cnn, fit_logistic_regression, fit_majority
from tercet.evaluation.examples import save_examples, save_thumbnails, save_training_images, shown_indices
from tercet.evaluation.projection import FEWEST_POINTS, tsne
from tercet.evaluation.readers import fit_knn, fit_linear
from tercet.evaluation.results import Results, correctness, method_figures, write_predictions
from tercet.evaluation.verdict import verdict_of_one
from tercet.files import write_arrays
from tercet.geometry.metrics import expected_calibration_error, retrieval
from tercet.model.embed import embed
from tercet.model.features import judged
from tercet.preparation import Work
from tercet.run_folder import peak_memory_bytes
from tercet.training.bundle import Learned, as_taken, train_bundle
from tercet.training.losses import Loss

T = TypeVar("T")


def learn(work: Work, loss: Loss | None = None) -> Learned:
    """Train encoder and head; write the history and the Bundle."""
    learned = train_bundle(
        work.config,
        work.train,
        work.validation,
        frozen=work.frozen,
        loss=loss,
        checkpoint=work.checkpoint("encoder"),
        on_progress=work.on_progress,
    )
    work.folder.write_history(learned.history)
    learned.bundle.save(work.folder.model)  # last: with it training is finished
    return learned


class Fitted(NamedTuple):
    """A way to classify, and the seconds it took to fit."""

    classify: Callable[[Tensor], Tensor]
    seconds: float


def fit_readers(work: Work, learned: Learned) -> dict[str, Fitted]:
    """The methods that take embeddings: the head, a linear layer, the nearest neighbours."""
    train_pair = (learned.train_embeddings, work.train.labels)
    validation_pair = (learned.validation_embeddings, work.validation.labels)
    class_count = len(work.train.classes)
    linear, linear_seconds = timed(
        lambda: fit_linear(
            train_pair,
            validation_pair,
            class_count=class_count,
            seed=work.config.seed,
            class_weight=work.config.class_weight,
        )
    )
    knn, knn_seconds = timed(lambda: fit_knn(train_pair, validation_pair, class_count))
    return {
        "triplet_mlp_head": Fitted(learned.bundle.probabilities, learned.encoder_seconds + learned.head_seconds),
        "triplet_linear_head": Fitted(linear, learned.encoder_seconds + linear_seconds),
        "triplet_knn": Fitted(knn, learned.encoder_seconds + knn_seconds),
    }


def fit_baselines(work: Work, learned: Learned) -> dict[str, Fitted]:
    """The methods that take images, or the CNN features; the CNN's record joins the history."""
    cnn, records = fit_cnn(
        work.config,
        learned.train,
        learned.validation,
        checkpoint=work.checkpoint("cnn"),
        on_step=work.progress("CNN baseline"),
    )
    work.folder.write_history([*learned.history, *({"phase": "cnn", **record} for record in records)])
    logistic, logistic_seconds = timed(
        lambda: fit_logistic_regression(work.train, work.validation, work.progress("logistic regression"))
    )
    majority, majority_seconds = timed(lambda: fit_majority(work.train))
    return {
        "cnn_cross_entropy": Fitted(cnn, learned.feature_seconds + records[-1]["seconds"]),
        "logistic_regression": Fitted(logistic, logistic_seconds),
        "majority": Fitted(majority, majority_seconds),
    }


def judge(work: Work, learned: Learned) -> Results:
    """Read the test set once a method; write predictions, embeddings and the projection."""
    readers, baselines = fit_readers(work, learned), fit_baselines(work, learned)
    test, fitted = work.test, readers | baselines
    (taken, embeddings), embed_seconds = timed(lambda: embed_test(work, learned))
    probabilities = {name: method.classify(embeddings) for name, method in readers.items()}
    probabilities |= {
        name: method.classify(taken if name == "cnn_cross_entropy" else test.images)
        for name, method in baselines.items()
    }
    ours = probabilities["triplet_mlp_head"]
    work.on_progress("t-SNE", 0, 1)
    projection_seconds = 0.0
    shown = shown_indices(len(test), work.config.seed)
    if len(shown) >= FEWEST_POINTS:
        points, projection_seconds = timed(lambda: tsne(embeddings[shown], work.config.seed))
        write_arrays(work.folder.projection, points=points, labels=test.labels[shown].numpy(), indices=shown.numpy())
        save_thumbnails(work.folder.path, test, shown)
    trained = (work.train, learned.train_embeddings)
    save_examples(work.folder.path, trained, (test, embeddings), ours, work.config.seed)
    save_training_images(work.folder.path, work.train, work.config.seed)
    work.on_progress("t-SNE", 1, 1)
    write_arrays(
        work.folder.embeddings,
        train=learned.train_embeddings.numpy(),
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
            name: method_figures(shares, test.labels, test.classes, fitted[name].seconds)
            for name, shares in probabilities.items()
        },
        retrieval={"recall@1": recall_at_1, "map@r": map_at_r},
        calibration_error=expected_calibration_error(ours, test.labels),
        verdict=verdict_of_one({name: correctness(shares, test.labels) for name, shares in probabilities.items()}),
        timing={
            "load_seconds": work.data["load_seconds"],
            "feature_seconds": round(learned.feature_seconds, 3),
            "encoder_seconds": round(learned.encoder_seconds, 3),
            "head_seconds": round(learned.head_seconds, 3),
            "embed_test_seconds": round(embed_seconds, 3),
            "projection_seconds": round(projection_seconds, 3),
        },
        peak_memory_bytes=peak_memory_bytes(),
    )


def embed_test(work: Work, learned: Learned) -> tuple[Tensor, Tensor]:
    """What the network takes for each test image, and what it makes of it, in float32 as the Bundle does.

    Features are kept in half precision, so a Bundle that stands on a frozen network may differ in the fourth digit.
    """
    (test,), _ = as_taken(work.frozen, work.test, mirrored=False, on_step=work.progress("test features"))
    return judged(test), embed(learned.network, judged(test))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started
