import pytest
import torch

from tercet.evaluation import readers
from tercet.evaluation.readers import fit_knn, fit_linear
from tercet.geometry.neighbors import knn_probabilities, nearest


def blobs(count, seed, spread=0.5):
    """Three clouds on the axes of space, 3 from the origin."""
    labels = torch.arange(count) % 3
    return 3 * torch.eye(3)[labels] + spread * torch.randn(
        count, 3, generator=torch.Generator().manual_seed(seed)
    ), labels


def accuracy(read, data):
    embeddings, labels = data
    probabilities = read(embeddings)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(labels)))
    return float((probabilities.argmax(1) == labels).float().mean())


def test_a_linear_layer_reads_separable_clouds(monkeypatch):
    monkeypatch.setattr("tercet.training.head.PEAK_RATE", 0.05)  # for few steps
    assert accuracy(fit_linear(blobs(90, 0), blobs(30, 1), class_counts=[1] * 3, seed=0), blobs(60, 2)) > 0.95


def test_neighbours_read_separable_clouds():
    assert accuracy(fit_knn(blobs(90, 0), blobs(30, 1), 3), blobs(60, 2)) > 0.95


def test_neighbours_read_what_a_line_cannot_part():
    # Class 0 at both ends, class 1 in between.
    def line(count):
        places = torch.linspace(-3, 3, count)[:, None]
        return places, (places[:, 0].abs() < 1).long()

    assert accuracy(fit_knn(line(60), line(31), 2), line(47)) > 0.9


def test_a_gallery_smaller_than_the_counts_tried():
    assert accuracy(fit_knn(blobs(6, 0, spread=0.1), blobs(6, 1, spread=0.1), 3), blobs(9, 2, spread=0.1)) == 1.0


@pytest.mark.parametrize("spread", [0.1, 2.5], ids=["every count is right", "the counts differ"])
def test_the_number_of_neighbours_is_the_best_on_validation(spread):
    (gallery, labels), validation = blobs(120, 0, spread), blobs(60, 1, spread)

    def read_by(k):
        def read(embeddings):
            _, indices = nearest(embeddings, gallery, k)
            return knn_probabilities(labels[indices], 3)

        return read

    scores = [accuracy(read_by(k), validation) for k in readers.NEIGHBOR_COUNTS]
    best = readers.NEIGHBOR_COUNTS[scores.index(max(scores))]  # the first of those that tie
    queries, _ = blobs(20, 2, spread)
    assert torch.equal(fit_knn((gallery, labels), validation, 3)(queries), read_by(best)(queries))
