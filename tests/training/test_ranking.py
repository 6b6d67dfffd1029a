import threading

import pytest
import torch

from tercet.training import ranking
from tercet.training.ranking import by_rows, row_order


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["random", "tied", "wide"])
def test_the_order_is_that_of_python_s_sort(dtype, kind):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(20, 50, generator=generator, dtype=dtype)
    values = {"random": values, "tied": (3 * values).round(), "wide": 10 ** (60 * values - 30)}[kind]
    last = torch.rand(20, 50, generator=generator) < 0.5
    for order, row, flags in zip(row_order(values, last).tolist(), values.tolist(), last.tolist(), strict=True):
        assert order == sorted(range(50), key=lambda column: (row[column], flags[column], column))


def test_the_order_leaves_its_values_alone():
    values = torch.rand(3, 4)
    before = values.clone()
    row_order(values, values > 0.5)
    assert torch.equal(values, before)


def test_blocks_cover_the_rows_in_order(two_threads, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 12)
    blocks = by_rows(lambda rows: (rows.start, rows.stop), torch.zeros(10, 4))
    assert blocks == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert by_rows(lambda rows: (rows.start, rows.stop), torch.zeros(2, 50)) == [(0, 1), (1, 2)]
    assert by_rows(lambda rows: (rows.start, rows.stop), torch.zeros(0, 0)) == [(0, 0)]


def test_two_threads_work_in_the_modes_of_the_caller(two_threads, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 1)
    meeting = threading.Barrier(2, timeout=30)  # breaks unless two blocks are at work at a time

    def modes(rows):
        meeting.wait()
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    assert by_rows(modes, torch.zeros(2, 1)) == [(False, True)] * 2
    with torch.no_grad():
        assert by_rows(modes, torch.zeros(2, 1)) == [(False, False)] * 2
    with torch.inference_mode():
        assert by_rows(modes, torch.zeros(2, 1)) == [(True, False)] * 2


def test_an_error_of_a_thread_is_raised(two_threads, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 1)
    with pytest.raises(ZeroDivisionError):
        by_rows(lambda rows: 1 // rows.start, torch.zeros(4, 1))
