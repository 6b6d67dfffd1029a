"""Speed relative to the machine's own, so that a slow or busy machine does not fail and a slow change does."""

import time

import pytest
import torch
from benchmarks.around import default_encoder, random_images

from tercet.model.embed import embed

# Images embedded in the time of 10^9 operations of a float32 matrix product, on one thread: docs/log.md, 2026-11-24.
IMAGES_PER_GIGAFLOP = 17.0
SLACK = 2.0  # beyond noise, which the least of many repetitions nearly takes out
ATTEMPTS, REPETITIONS = 3, 5


def seconds_of(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.fixture
def one_thread():
    """Threads that wait for one another lose far more to other work than one does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_embedding_keeps_up_with_the_matrix_product():
    images, matrix = random_images(500), torch.randn(1024, 1024)
    encoder = default_encoder(images)
    products, passes = [], []
    for _ in range(ATTEMPTS):  # the least over all of them, so that another attempt can only help
        for _ in range(REPETITIONS):  # in turns, so that both meet the same other work
            products.append(seconds_of(lambda: [matrix @ matrix for _ in range(10)]))
            passes.append(seconds_of(lambda: embed(encoder, images)))
        images_per_gigaflop = len(images) / min(passes) / (10 * 2 * 1024**3 / min(products) / 1e9)
        if images_per_gigaflop > IMAGES_PER_GIGAFLOP / SLACK:
            return
    pytest.fail(f"{images_per_gigaflop:.1f} images in the time of a gigaflop; expected {IMAGES_PER_GIGAFLOP}")
