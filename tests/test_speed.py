"""Speed relative to the machine's own, so that a slow or busy machine does not fail and a slow change does."""

import time

import pytest
import torch
from benchmarks import losses
from benchmarks.around import default_encoder, random_images

from tercet.model.embed import embed

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


def check_pace(work, yardstick, expected):
    """`work` takes less than SLACK times as long, measured in yardsticks, as it once did."""
    works, yardsticks = [], []
    for _ in range(ATTEMPTS):  # the least over all of them, so that another attempt can only help
        for _ in range(REPETITIONS):  # in turns, so that both meet the same other work
            yardsticks.append(seconds_of(yardstick))
            works.append(seconds_of(work))
        if (found := min(works) / min(yardsticks)) < SLACK * expected:
            return
    pytest.fail(f"took {found:.2f} yardsticks; expected {expected}")


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_embedding_keeps_up_with_the_matrix_product():
    images, matrix = random_images(500), torch.randn(1024, 1024)
    encoder = default_encoder(images)
    # 17 images in the time of 10^9 operations: docs/log.md, 2026-11-24.
    expected = len(images) / 17 / (10 * 2 * 1024**3 / 1e9)
    check_pace(lambda: embed(encoder, images), lambda: [matrix @ matrix for _ in range(10)], expected)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("mining", "expected"), [("all", 1.5), ("semi-hard", 2.2), ("hard", 0.85)])
def test_losses_keep_up_with_exponentials_of_all_pairs(mining, expected):  # docs/log.md, 2026-11-27
    pairs, result = torch.randn(2, 1024, 1024)  # into what is there: new memory costs now more, now less
    step = losses.step(losses.our_loss(mining), 1024)
    check_pace(step, lambda: [torch.exp(pairs, out=result) for _ in range(20)], expected)
