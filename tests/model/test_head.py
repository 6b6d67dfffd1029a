import torch

from tercet.model.head import Head


def test_standardises_and_multiplies():
    head = Head(2, 3, hidden=None)
    head.mean.copy_(torch.tensor([1.0, 2.0]))
    head.std.copy_(torch.tensor([1.0, 4.0]))
    with torch.no_grad():
        head.layers[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        head.layers[0].bias.copy_(torch.tensor([0.0, 0.0, 10.0]))
    # (3, 10) stands 2 deviations above the mean both ways.
    assert head(torch.tensor([[3.0, 10.0]])).tolist() == [[2.0, 2.0, 14.0]]


def test_shapes_with_and_without_a_hidden_layer():
    def shapes(hidden):
        return [tuple(weight.shape) for name, weight in Head(8, 3, hidden).named_parameters() if "weight" in name]

    assert shapes(5) == [(5, 8), (3, 5)]
    assert shapes(None) == [(3, 8)]
    assert Head(8, 3, 5)(torch.zeros(4, 8)).shape == (4, 3)


def test_the_standardisation_is_saved_but_not_learnt():
    head = Head(8, 3, None)
    assert {"mean", "std"} <= set(head.state_dict())
    assert {"mean", "std"}.isdisjoint(name for name, _ in head.named_parameters())
