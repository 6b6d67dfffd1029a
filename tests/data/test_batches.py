import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.data.batches import batch_shape, epoch_batches


def plan(labels, classes_per_batch, images_per_class, seed=0):
    return epoch_batches(labels, classes_per_batch, images_per_class, torch.Generator().manual_seed(seed))


def of_counts(*counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@given(
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=7),
    images_per_class=st.integers(1, 6),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_every_image_comes_in_batches_of_p_classes_by_k(counts, images_per_class, data):
    classes_per_batch = data.draw(st.integers(1, len(counts)))
    labels = of_counts(*counts)[torch.randperm(sum(counts), generator=torch.Generator().manual_seed(len(counts)))]
    batches = plan(labels, classes_per_batch, images_per_class)
    assert batches.shape[1] == classes_per_batch * images_per_class
    assert batches.unique().tolist() == list(range(len(labels)))
    for batch in labels[batches].reshape(len(batches), classes_per_batch, images_per_class):
        assert bool((batch == batch[:, :1]).all())
        assert len(batch[:, 0].unique()) == classes_per_batch


def test_equal_classes_that_fit_give_each_image_once():
    batches = plan(of_counts(12, 12, 12), 3, 4)
    assert batches.shape == (3, 12)
    assert batches.flatten().sort().values.tolist() == list(range(36))


def test_a_class_of_fewer_than_k_repeats_its_images():
    batches = plan(of_counts(2, 5), 2, 5)
    assert batches.shape == (1, 10)
    rare = batches[0][batches[0] < 2]
    assert len(rare) == 5
    assert set(rare.tolist()) == {0, 1}


def test_a_class_twenty_times_rarer_comes_in_every_batch():
    labels = of_counts(200, 10)
    batches = plan(labels, 2, 5)
    assert len(batches) == 40  # the runs of the larger class
    assert bool((labels[batches] == 1).sum(1).eq(5).all())
    assert batches[labels[batches] == 0].unique().tolist() == list(range(200))


def test_with_more_classes_than_a_batch_holds_all_take_turns():
    labels = of_counts(*[4] * 9)
    batches = plan(labels, 3, 4)
    assert len(batches) == 3
    assert batches.flatten().sort().values.tolist() == list(range(36))


def test_the_generator_decides():
    labels = of_counts(20, 20)
    assert torch.equal(plan(labels, 2, 5, seed=1), plan(labels, 2, 5, seed=1))
    assert not torch.equal(plan(labels, 2, 5, seed=1), plan(labels, 2, 5, seed=2))


def test_labels_need_not_count_from_zero():
    batches = plan(torch.tensor([7, 3, 7, 3]), 2, 2)
    assert sorted(batches[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("counts", "batch_size", "shape"),
    [
        ([5000] * 10, 500, (10, 50)),
        ([8] * 10, 500, (10, 8)),  # K stops at the largest class
        ([3] * 100, 64, (16, 3)),  # 64 / 16 = 4 would fit, but no class has four
        ([1, 1], 64, (2, 2)),  # two of each at least, so that an anchor has a positive
        ([9], 64, (1, 9)),
        ([50] * 5, 8, (2, 4)),
    ],
)
def test_batch_shape(counts, batch_size, shape):
    assert batch_shape(counts, batch_size) == shape
