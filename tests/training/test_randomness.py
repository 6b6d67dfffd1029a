import torch

from tercet.training.randomness import derived_generator, derived_seed


def test_depends_on_seed_and_place_alone():
    places = [(0, "batches", 1), (0, "batches", 2), (1, "batches", 1), (0, "weights", 1), (0, "batches"), (0,)]
    assert len({derived_seed(*place) for place in places}) == len(places)
    assert all(0 <= derived_seed(*place) < 2**56 for place in places)


def test_is_the_same_in_every_process_and_version():
    # Python's own hash of text would not be.
    assert derived_seed(3, "weights", 5) == 59465744697013067


def test_a_generator_starts_anew_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (torch.rand(4, generator=derived_generator(0, "x", place)) for place in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
