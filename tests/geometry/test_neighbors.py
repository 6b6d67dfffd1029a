import pytest
import torch

from tercet.geometry import neighbors
from tercet.geometry.neighbors import knn_probabilities, nearest


@pytest.fixture(params=[10**6, 40, 1], ids=["one chunk", "chunks of two rows", "row by row"])
def chunk_elements(request, monkeypatch):
    monkeypatch.setattr(neighbors, "CHUNK_ELEMENTS", request.param)


@pytest.fixture(params=[10**6, 20, 7, 1], ids=["at once", "in one block exactly", "in blocks", "row by row"])
def gallery_rows(request, monkeypatch):
    monkeypatch.setattr(neighbors, "GALLERY_ROWS", request.param)


def random_points(count, seed):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.usefixtures("chunk_elements", "gallery_rows")
def test_equals_sorting_all_distances():
    queries, gallery = random_points(7, 0), random_points(20, 1)
    every = torch.cdist(queries, gallery).square()  # [M, N]
    distances, indices = nearest(queries, gallery, 6)
    assert torch.equal(indices, every.argsort(1)[:, :6])
    torch.testing.assert_close(distances, every.sort(1).values[:, :6])
    distances, indices = nearest(queries[:1], gallery, 6)  # one query goes another way
    assert torch.equal(indices, every.argsort(1)[:1, :6])
    torch.testing.assert_close(distances, every.sort(1).values[:1, :6])


def test_lowers_k_to_the_rows_there_are():
    points = random_points(3, 0)
    assert nearest(points, points, 10)[1].shape == (3, 3)
    assert nearest(points[:0], points, 2)[1].shape == (0, 2)
    assert nearest(points, points[:0], 2)[1].shape == (3, 0)


def test_blocks_smaller_than_k_lose_nothing(monkeypatch):
    monkeypatch.setattr(neighbors, "GALLERY_ROWS", 3)
    queries, gallery = random_points(4, 0), random_points(11, 1)
    _, indices = nearest(queries, gallery, 10)
    assert torch.equal(indices, torch.cdist(queries, gallery).argsort(1)[:, :10])


def test_votes_by_hand():
    # k = 2: weights 1 and 1 / (1 + 1/2) = 2/3, so shares 3/5 and 2/5.
    found = knn_probabilities(torch.tensor([[1, 0], [2, 2]]), 3)
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.6, 0.0], [0.0, 0.0, 1.0]]))


def test_a_majority_outvotes_the_nearest():
    # k = 3: weights 1, 3/4, 3/5; the two farther ones have 27/20 against 1.
    found = knn_probabilities(torch.tensor([[0, 1, 1]]), 2)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.35]]) / 2.35)
