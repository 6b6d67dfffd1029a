import threading

import pytest
import torch

from tercet.training import ranking
from tercet.training.ranking import by_rows, row_blocks, row_order, row_ranks, sorted_rows


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["random", "tied", "wide", "equal", "close"])
def test_ranks_are_those_of_a_count(dtype, kind):
    generator = torch.Generator().manual_seed(0)
    values, thresholds = torch.rand(2, 30, 90, generator=generator).to(dtype)
    shape = {
        "random": lambda numbers: numbers,
        "tied": lambda numbers: (5 * numbers).round(),
        "wide": lambda numbers: 10 ** (8 * numbers - 4),
        "equal": lambda numbers: torch.ones_like(numbers),
        "close": lambda numbers: 1 + 4 * torch.finfo(dtype).eps * (3 * numbers).round(),
    }[kind]
    values, thresholds = shape(values), shape(thresholds[:, :70])
    for endings in (1, 3):  # infinities at the end
        thresholds[:, -endings:] = torch.inf
        ordered = thresholds.sort(dim=1).values
        wanted = (ordered[:, None] <= values[:, :, None]).sum(2)
        assert torch.equal(row_ranks(values, ordered), wanted)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_ranks_of_what_is_not_finite_stay_among_the_thresholds(value):
    thresholds = torch.tensor([[0.5, 1.0, torch.inf, torch.inf]])
    ranks = row_ranks(torch.tensor([[value, 0.7]]), thresholds)
    assert 0 <= int(ranks[0, 0]) <= 4
    assert int(ranks[0, 1]) == 1
    everywhere = torch.full((1, 4), value)
    assert 0 <= int(row_ranks(everywhere, everywhere).min()) <= int(row_ranks(everywhere, everywhere).max()) <= 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sorted_rows_come_with_the_columns_where_they_were(dtype):
    values = torch.rand(5, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    found, columns = sorted_rows(values)
    assert torch.equal(found, values.sort(dim=1).values)
    assert torch.equal(found, values.gather(1, columns))


def test_row_blocks_cover_the_rows(monkeypatch):
    monkeypatch.setattr(ranking, "CACHED_ELEMENTS", 12)
    assert row_blocks(torch.zeros(7, 4)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert row_blocks(torch.zeros(2, 50)) == [slice(0, 1), slice(1, 2)]
    assert row_blocks(torch.zeros(0, 0)) == []
