"""What is fast equals what is slow and plainly right: losses their definition, searches a sort.

Coordinates are quarters, so that distances are exact in float32, tie often, and images coincide.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import loops
from reliability.tiers import counts, for_all
from tercet.geometry import neighbors
from tercet.geometry.neighbors import nearest
from tercet.inference.gallery import Gallery, Stamp
from tercet.training.losses import centroid_triplet_loss, triplet_loss

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
MINED = {
    "all": lambda points, labels: loops.every_triplet(labels),
    "semi-hard": loops.semi_hard,
    "hard": loops.hard,
}


def points(most_rows, most_dimensions=3, fewest_dimensions=1):
    """Up to `most_rows` points, float32."""
    shapes = st.tuples(st.integers(0, most_rows), st.integers(fewest_dimensions, most_dimensions))
    return shapes.flatmap(
        lambda shape: st.lists(st.integers(-8, 8), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
            lambda quarters: torch.tensor(quarters, dtype=torch.float32).reshape(shape) / 4
        )
    )


def batches(most_rows=9):
    """Points and their labels, of four classes at most."""
    return points(most_rows).flatmap(
        lambda rows: st.tuples(
            st.just(rows), st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)).map(as_labels)
        )
    )


def as_labels(numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def check_values_and_gradients(found, wanted, given, exact):
    torch.testing.assert_close(found.double(), wanted, **CLOSE)
    torch.testing.assert_close(
        torch.autograd.grad(found, given)[0].double(), torch.autograd.grad(wanted, exact)[0], **CLOSE
    )


@pytest.mark.parametrize("mining", MINED)
@counts(few=25, full=500)
def test_a_triplet_loss_equals_the_loop(count, mining):
    # No hinge is exactly 0 at these margins, and so each has one slope.
    @for_all(
        count,
        batch=batches(),
        margin=st.sampled_from([0.2, 0.7, 3.3]),
        reduction=st.sampled_from(["sum", "mean", "active"]),
    )
    def holds(batch, margin, reduction):
        given, labels = batch[0].requires_grad_(), batch[1]
        exact = given.detach().double().requires_grad_()
        triplets = MINED[mining](exact.detach(), labels.tolist())
        found = triplet_loss(given, labels, margin=margin, mining=mining, reduction=reduction)
        wanted = loops.naive_triplet_loss(exact, triplets, margin, reduction)
        if mining == "all":
            check_values_and_gradients(found, wanted, given, exact)
        else:  # of equally far images either may be taken, which changes the gradient only
            torch.testing.assert_close(found.detach().double(), wanted.detach(), **CLOSE)


@counts(few=25, full=500)
def test_hinges_of_exactly_zero_do_not_count(count):
    @for_all(count, batch=batches(), margin=st.integers(0, 64).map(lambda sixteenths: sixteenths / 16))
    def holds(batch, margin):
        triplets = loops.every_triplet(batch[1].tolist())
        for reduction in ("sum", "mean", "active"):
            found = triplet_loss(*batch, margin=margin, reduction=reduction)
            wanted = loops.naive_triplet_loss(batch[0].double(), triplets, margin, reduction)
            torch.testing.assert_close(found.double(), wanted, **CLOSE)


@counts(few=25, full=500)
def test_the_centroid_loss_equals_the_loop(count):
    @for_all(count, batch=batches(), temperature=st.floats(0.1, 2.0), margin=st.floats(0.0, 1.0))
    def holds(batch, temperature, margin):
        given = batch[0].double().requires_grad_()
        settings = {"temperature": temperature, "margin": margin}
        found = centroid_triplet_loss(given, batch[1], **settings)
        check_values_and_gradients(found, loops.naive_centroid(given, batch[1], **settings), given, given)


@counts(few=25, full=500)
def test_the_nearest_are_the_first_of_all_sorted(count):
    @for_all(
        count,
        queries=points(6, 3, 3),
        gallery=points(20, 3, 3),
        k=st.integers(1, 22),
        rows=st.integers(1, 25),
        elements=st.integers(1, 60),
    )
    def holds(queries, gallery, k, rows, elements):
        with patch.multiple(neighbors, GALLERY_ROWS=rows, CHUNK_ELEMENTS=elements):
            distances, indices = nearest(queries, gallery, k)
        every = (queries[:, None] - gallery[None]).square().sum(2)  # [M, N]
        torch.testing.assert_close(distances, every.sort(1).values[:, :k], **CLOSE)
        torch.testing.assert_close(every.gather(1, indices), distances, **CLOSE)
        assert all(len(set(row)) == len(row) for row in indices.tolist())


NAMES = st.sampled_from([f"{folder}/{number}.jpg" for folder in ("a", "b") for number in range(6)])
VECTORS = st.tuples(st.integers(-8, 8), st.integers(-8, 8))
CHANGES = st.one_of(  # files to put with their vectors, a file or folder to remove, or what to do to the index
    st.dictionaries(NAMES, VECTORS, min_size=1), NAMES, st.sampled_from(["a", "b", "save", "save and open", "drop"])
)


@counts(few=25, full=500)
def test_an_index_on_the_disk_finds_what_a_sort_finds(count):
    @for_all(count, changes=st.lists(CHANGES, max_size=8), query=VECTORS, k=st.integers(1, 14))
    def holds(changes, query, k):
        with TemporaryDirectory() as folder:
            gallery, there = changed(folder, changes)
            (found,) = gallery.nearest(np.array([query], np.float32), k)
            gallery.close()
        far = {name: sum((x - y) ** 2 for x, y in zip(vector, query, strict=True)) for name, vector in there.items()}
        assert found == sorted(found, key=lambda match: (match.distance, match.path))
        assert [match.distance for match in found] == sorted(far.values())[:k]
        assert {match.path: match.distance for match in found}.items() <= far.items()


def changed(folder, changes):
    """An index after these changes, and what a dictionary says that it holds."""
    gallery = Gallery.create(Path(folder), 2, model=None, fingerprint="f00d")
    there, saved = {}, {}
    gallery.save()
    for change in changes:
        if isinstance(change, dict):
            gallery.put([(name, Stamp(1, 1)) for name in change], np.array([*change.values()], np.float32))
            there |= change
        elif change == "drop":
            gallery.close()
            gallery, there = Gallery.open(gallery.folder), dict(saved)
        elif change.startswith("save"):
            gallery.save()
            saved = dict(there)
            if change.endswith("open"):
                gallery.close()
                gallery = Gallery.open(gallery.folder)
        else:
            gone = [name for name in there if name == change or name.startswith(f"{change}/")]
            assert gallery.remove(change) == len(gone)
            there = {name: vector for name, vector in there.items() if name not in gone}
    return gallery, there
