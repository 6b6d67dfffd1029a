import pytest
import torch
from torch import nn

from tercet.model import embed as module
from tercet.model.embed import embed
from tercet.model.encoder import new_encoder


@pytest.fixture
def encoder(tiny_set):
    return new_encoder(
        "fast",
        tiny_set.images,
        tiny_set.channel_statistics(),
        size=12,
        dimensions=8,
        widths=(4, 8),
        normalize=True,
        mirrored=True,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("batch", [48, 10, 1])
def test_batches_make_no_difference(encoder, tiny_set, monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH", batch)
    found = embed(encoder, tiny_set.images)
    assert found.shape == (48, 8)
    with torch.no_grad():
        torch.testing.assert_close(found, encoder.eval()(tiny_set.images))


@pytest.mark.parametrize("training", [True, False])
def test_runs_in_evaluation_mode_and_restores_the_mode(encoder, tiny_set, training):
    encoder.train(training)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    embed(encoder, tiny_set.images)
    assert encoder.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_makes_no_graph(encoder, tiny_set):
    assert not embed(encoder, tiny_set.images).requires_grad


def test_bfloat16_gives_float32_near_the_exact_ones(encoder, tiny_set):
    exact, rounded = (embed(encoder, tiny_set.images, precision=precision) for precision in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)


def test_without_images(encoder):
    assert embed(encoder, torch.zeros(0, 3, 12, 12, dtype=torch.uint8)).shape == (0, 8)


def test_takes_any_module():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, images):
            return self.scale * images.double().mean((2, 3))

    images = torch.tensor([1, 2, 3], dtype=torch.uint8)[None, :, None, None].expand(2, 3, 4, 4)
    assert embed(Mean(), images).tolist() == [[2.0, 4.0, 6.0]] * 2
