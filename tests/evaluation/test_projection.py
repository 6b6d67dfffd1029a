import signal

import numpy as np
import openTSNE.tsne
import pytest
import torch

from tercet.errors import DataError
from tercet.evaluation.projection import FFT_FROM, STEPS_HELD, name_places, tsne
from tercet.geometry.neighbors import nearest


def two_blobs(images_per_blob):
    noise = torch.randn(2 * images_per_blob, 8, generator=torch.Generator().manual_seed(0))
    return noise + torch.tensor([0.0, 50.0]).repeat_interleave(images_per_blob)[:, None]


def test_tsne_keeps_two_far_blobs_apart():
    points = tsne(two_blobs(20), seed=0)
    assert points.shape == (40, 2)
    assert points.dtype == np.float32
    first, second = points[:20], points[20:]
    gap = np.linalg.norm(first.mean(0) - second.mean(0))
    assert gap > 2 * max(np.linalg.norm(blob - blob.mean(0), axis=1).max() for blob in (first, second))


def test_tsne_gives_the_same_bytes_for_the_same_seed():
    embeddings = two_blobs(10)
    assert tsne(embeddings, seed=3).tobytes() == tsne(embeddings, seed=3).tobytes()


@pytest.mark.slow
def test_neighbours_stay_neighbours_on_the_interpolated_gradient():
    on_a_curve = torch.linspace(0, 20, FFT_FROM)
    embeddings = torch.stack([(on_a_curve / scale).sin() for scale in range(1, 17)], dim=1)
    points = torch.from_numpy(tsne(embeddings, seed=0))
    (_, near), (_, shown) = (nearest(rows, rows, 11) for rows in (embeddings, points))
    kept = [len(set(first) & set(second)) - 1 for first, second in zip(near.tolist(), shown.tolist(), strict=True)]
    assert sum(kept) / (10 * FFT_FROM) > 0.9


def test_tsne_leaves_the_global_generators_alone():
    before = np.random.get_state()[1].copy()
    tsne(two_blobs(4), seed=0)
    assert (np.random.get_state()[1] == before).all()


def test_a_signal_acts_between_steps(monkeypatch):
    """Raised within one it can crash the compiled tree, as the signals of the reliability set found."""
    build, trees = openTSNE.tsne.QuadTree, []

    def strike(*arguments):
        trees.append(build(*arguments))
        if len(trees) == 3:
            signal.raise_signal(signal.SIGINT)
        return trees[-1]

    monkeypatch.setattr(openTSNE.tsne, "QuadTree", strike)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as ended:
            tsne(two_blobs(10), seed=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert "let_go" in [entry.name for entry in ended.traceback]
    assert len(trees) == STEPS_HELD


@pytest.mark.parametrize(
    "embeddings", [torch.eye(4), torch.arange(5.0)[:, None], torch.ones(6, 3), torch.eye(2).repeat(5, 1)]
)
def test_tsne_takes_few_flat_equal_and_repeated_rows(embeddings):
    assert np.isfinite(tsne(embeddings, seed=0)).all()


def test_tsne_refuses_fewer_than_four_rows():
    with pytest.raises(DataError, match="found 3 embeddings"):
        tsne(torch.eye(3), seed=0)


def test_a_name_stands_where_its_class_is_densest():
    points = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [10.0, 10.0]])
    places = name_places(points, np.array([0, 0, 0, 0]), np.array([[1.0, 1.0]]), must_place=True)
    assert places[0][0] < 1


def test_a_name_gives_way_to_an_earlier_one_on_the_same_spot():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [50.0, 50.0], [100.0, 100.0]])
    places = name_places(points, np.array([0, 1, 1, 1, 1]), np.array([[2.0, 1.0], [2.0, 1.0]]), must_place=True)
    assert places[0].tolist() == [0, 0.6]  # beside its only point
    assert places[1].tolist() == [3, 0]


@pytest.mark.parametrize(("side", "way"), [(0.0, 1), (100.0, -1)])
def test_a_name_that_would_hide_its_class_stands_beside_it_towards_the_middle(side, way):
    few = np.array([[0.0, side], [1.0, side + 0.4 * way], [2.0, side]])
    many = np.stack([np.linspace(20, 90, 40), np.full(40, 50.0)], axis=1)
    points, labels = np.concatenate([few, many, [[50.0, 100.0 - side]]]), np.array([0] * 3 + [1] * 41)
    places = name_places(points, labels, np.array([[6.0, 2.0], [6.0, 2.0]]), must_place=True)
    assert places[0][1] == pytest.approx(side + way * (0.4 + 0.6 * 2))
    assert places[1][1] == 50  # a small part of the class is under it


def test_a_name_with_no_free_place_is_written_over_another_only_if_it_must_be():
    points, labels, boxes = np.zeros((2, 2)), np.array([0, 1]), np.ones((2, 2))
    assert set(name_places(points, labels, boxes, must_place=True)) == {0, 1}
    assert set(name_places(points, labels, boxes, must_place=False)) == {0}


def test_a_class_without_points_has_no_place():
    places = name_places(np.zeros((1, 2)), np.array([2]), np.ones((3, 2)), must_place=True)
    assert set(places) == {2}
