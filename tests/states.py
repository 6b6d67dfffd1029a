"""States of a small training for tests of what is kept of one."""

import torch
from torch import nn

from tercet.training.checkpoint import TrainingState


def fresh_state(seed):
    """A state of a network with weights, statistics and a counter, whose optimizers have made one step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, average = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
        optimizers = [
            torch.optim.SGD(network[0].parameters(), 0.1, momentum=0.9),
            torch.optim.AdamW(network[1].parameters(), 0.1),
        ]
        network(torch.randn(5, 3)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    return TrainingState(network, average, optimizers)


def filled_state(step=7):
    state = fresh_state(step)
    state.step = step
    state.count(0.25, images=10, seconds=1.5)
    state.close_epoch(1, {"validation_accuracy": 0.5})
    state.count(1 / 3, images=6, seconds=0.1)
    return state


def counted_state():
    """A state of which every number is known, on any machine."""
    state = filled_state()
    state.batches, state.gaps = torch.tensor([[2, 0], [1, 3]]), torch.tensor([0.5, 0.25, 1.0, 2.0])
    with torch.no_grad():
        for number, tensor in enumerate(state.tensors().values()):
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) + number)
    state.keep()
    return state


def same_tensors(state, other):
    ours, theirs = state.tensors(), other.tensors()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
