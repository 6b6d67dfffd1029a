"""The figures of the report: what each shows, in words for those who see it and for those who cannot."""

from __future__ import annotations

from pathlib import Path

from tercet.evaluation.markup import data_address, escape, percent
from tercet.evaluation.separation import Separation

# file -> what it shows to one who cannot see it, and its caption
FIGURES = {
    "tsne.png": (
        "Scatter plot: each test image a point, coloured by its class, class names written on the clusters.",
        "The embeddings of the test images laid out in the plane by t-SNE. Points that lie together are alike to "
        "the encoder; distances between islands and their sizes mean nothing.",
    ),
    "distances.png": (
        "Two histograms: distances between test images of the same class, and of different classes.",
        "Euclidean distances of pairs of test images, drawn at random; the search of tercet gives their squares. The "
        "further left the first hill lies of the second, the better the encoder tells the classes apart.",
    ),
    "confusion.png": (
        "Confusion matrix: for each true class the percentage of its test images given to each class.",
        "Embedding and small network on the test images: each row a true class, each column a predicted one.",
    ),
    "accuracy.png": (
        "Line chart: validation accuracy of the encoder and of the same network by cross-entropy against training "
        "time, and of the small network by epoch.",
        "Accuracy on the validation images, which no method was trained on; for the small network on its training "
        "images too. The encoder is judged by the nearest neighbours in its embedding.",
    ),
    "loss.png": (
        "Line charts: the loss of each training by epoch.",
        "The losses have different scales and meanings. With --loss triplet the encoder's is the mean over active "
        "triplets, which solved ones leave, so it need not fall: their share says more.",
    ),
}


def figure(run: Path, name: str, note: str) -> str:
    """One figure of the run with its caption; nothing if it was not drawn."""
    path = run / "figures" / name
    if not path.is_file():
        return ""
    alternative, caption = FIGURES[name]
    return (
        f'<figure><img class="chart" alt="{escape(alternative)}" src="{data_address(path.read_bytes(), "png")}">'
        f"<figcaption>{escape(caption + note)}</figcaption></figure>"
    )


def separation_sentence(pairs: Separation | None) -> str:
    """How much the two histograms overlap, and what that means."""
    if pairs is None:
        return ""
    return (
        f"<p>The two hills share {percent(pairs.overlap)} of their area. Of two pairs, one of the same class and one "
        f"of different classes, the first is the nearer in {percent(pairs.order)} of cases; chance would give 50 %.</p>"
    )
