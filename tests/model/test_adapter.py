import pytest
import torch
from torch import nn

from tercet.model.adapter import Adapter, new_adapter, with_adapter
from tercet.model.features import FeatureSet
from tercet.model.pretrained import frozen_encoder, open_backbone


@pytest.fixture
def features():
    views = torch.randn(40, 2, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return FeatureSet(views.half(), torch.arange(40) % 2, ("a", "b"))


def make(features, seed=0, normalize=True):
    return new_adapter(features, dimensions=4, normalize=normalize, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    adapter = Adapter(2, 2, normalize=False)
    adapter.mean.copy_(torch.tensor([1.0, 2.0]))
    adapter.scale.fill_(2.0)
    adapter.linear.weight.data = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    adapter.linear.bias.data = torch.tensor([0.0, 10.0])
    assert adapter(torch.tensor([[3.0, 8.0]])).tolist() == [[1.0, 14.0]]
    adapter.normalize = True
    torch.testing.assert_close(adapter(torch.tensor([[3.0, 8.0]])).norm(), torch.tensor(1.0))


def test_the_features_are_centred_and_scaled_by_those_judged(features):
    adapter = make(features)
    torch.testing.assert_close(adapter.mean, features.judged.mean(0))
    torch.testing.assert_close(adapter.scale, features.judged.std(0, correction=0).mean())


def test_weights_come_from_the_generator_alone(features):
    before = torch.get_rng_state()
    first, again, other = make(features), make(features), make(features, seed=1)
    assert torch.equal(first.linear.weight, again.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_features_that_never_vary_do_no_harm():
    constant = FeatureSet(torch.ones(8, 1, 6).half(), torch.arange(8) % 2, ("a", "b"))
    assert bool(torch.isfinite(make(constant)(constant.judged)).all())


@pytest.mark.parametrize("normalize", [True, False])
def test_the_whole_encoder_is_the_adapter_on_the_features(tiny_set, normalize):
    frozen = frozen_encoder(open_backbone(nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())), 10)
    seen = frozen(tiny_set.images)
    adapter = make(FeatureSet(seen[:, None].half(), tiny_set.labels, tiny_set.classes), normalize=normalize)
    found = with_adapter(frozen, adapter)(tiny_set.images)
    torch.testing.assert_close(found, adapter(seen))
    assert bool(torch.isclose(found.norm(dim=1), torch.ones(48)).all()) is normalize
