"""What benchmarks judge embeddings by, on a few numbers."""

import torch
from benchmarks.probes import hold_out, shifted, stratified


def test_shifted_images_move_and_repeat_their_border():
    image = torch.tensor([[1, 2, 3], [4, 5, 6]])[None, None]
    assert shifted(image, 1, 0)[0, 0].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert shifted(image, 0, -1)[0, 0].tolist() == [[2, 3, 3], [5, 6, 6]]
    assert shifted(image, -1, 1)[0, 0].tolist() == [[4, 4, 5], [4, 4, 5]]


def test_a_share_of_the_labels_holds_every_class():
    labels = torch.tensor([0] * 100 + [1] * 40 + [2] * 3)
    chosen = stratified(labels, 0.1, seed=3)
    assert torch.bincount(labels[chosen]).tolist() == [10, 4, 2]
    assert torch.equal(chosen, stratified(labels, 0.1, seed=3))
    assert not torch.equal(chosen, stratified(labels, 0.1, seed=4))


def test_what_is_held_out_is_not_fitted_on():
    pair = torch.arange(50.0)[:, None], torch.arange(50)
    (rest, rest_labels), (chosen, chosen_labels) = hold_out(pair, 0.1, seed=0)
    assert len(chosen) == 5
    assert sorted([*rest_labels.tolist(), *chosen_labels.tolist()]) == list(range(50))
    assert torch.equal(rest[:, 0].long(), rest_labels)
