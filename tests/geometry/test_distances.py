import torch

from tercet.geometry.distances import squared_distances


def test_four_points_by_hand():
    # From (1, 1): to (1, 1) 0; to (4, 5) 3^2 + 4^2 = 25; to (0, 1) 1; to (-1, -1) 4 + 4 = 8.
    gallery = torch.tensor([[1.0, 1.0], [4.0, 5.0], [0.0, 1.0], [-1.0, -1.0]])
    assert squared_distances(torch.tensor([[1.0, 1.0]]), gallery).tolist() == [[0.0, 25.0, 1.0, 8.0]]


def test_equals_the_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (torch.randn(count, 4, generator=generator, dtype=torch.float64) for count in (5, 7))
    found = squared_distances(queries, gallery)
    for row, query in enumerate(queries):
        for column, other in enumerate(gallery):
            torch.testing.assert_close(found[row, column], ((query - other) ** 2).sum())


def test_is_never_negative_far_from_the_origin():
    # In float32 |x|^2 is about 3e6 here, so its rounding alone would give values below 0.
    points = 1000 + torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    assert float((points.square().sum(1)[:, None] + points.square().sum(1) - 2 * points @ points.T).min()) < 0
    assert float(squared_distances(points, points).min()) >= 0


def test_orders_unit_vectors_as_the_cosine_does():
    units = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    torch.testing.assert_close(squared_distances(units, units), 2 - 2 * units @ units.T)


def test_without_rows():
    assert squared_distances(torch.zeros(0, 3), torch.zeros(4, 3)).shape == (0, 4)
