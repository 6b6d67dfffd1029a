from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tercet.data.imageset import ImageSet
from tercet.evaluation import baselines
from tercet.evaluation.baselines import fit_cnn, fit_logistic_regression, fit_majority
from tercet.model.features import FeatureSet
from tercet.training.checkpoint import Checkpoint
from tercet.training.encoder import train_encoder

NOWHERE = Checkpoint(None, "")


def coloured(count, seed, classes=("red", "green", "blue")):
    """Noise in which the class's channel is a little brighter: linearly separable."""
    labels = torch.arange(count) % 3
    images = torch.randint(80, 180, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    images += 25 * torch.eye(3, dtype=torch.int64)[labels][:, :, None, None]
    return ImageSet(images.to(torch.uint8), labels, classes)


def accuracy(classify, images):
    probabilities = classify(images.images)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(images)))
    return float((probabilities.argmax(1) == images.labels).float().mean())


def test_logistic_regression_on_separable_images():
    steps = []
    classify = fit_logistic_regression(
        coloured(90, 0), coloured(30, 1), lambda done, total: steps.append((done, total))
    )
    assert accuracy(classify, coloured(60, 2)) > 0.9
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("penalties", "chosen"),
    [((1e-2, 1e-3), 1e-2), ((1e-3, 1e-2), 1e-2), ((1e-2, 1e-1), 1e-2)],
    ids=["better first", "better last", "a tie"],
)
def test_logistic_regression_keeps_the_penalty_that_validation_likes_best(monkeypatch, penalties, chosen):
    # Mostly red images: a strong penalty leaves much to the intercept, which says red whatever the image.
    train = coloured(120, 0).select(torch.cat([torch.arange(0, 120, 3), torch.arange(60)]))
    validation, test = coloured(60, 1), coloured(60, 2)
    scores, answers = {}, {}
    for penalty in penalties:
        monkeypatch.setattr(baselines, "INVERSE_PENALTIES", (penalty,))
        classify = fit_logistic_regression(train, validation)
        scores[penalty], answers[penalty] = accuracy(classify, validation), classify(test.images)
    assert max(scores, key=lambda penalty: scores[penalty]) == chosen  # the first of those that tie
    monkeypatch.setattr(baselines, "INVERSE_PENALTIES", penalties)
    found = fit_logistic_regression(train, validation)(test.images)
    torch.testing.assert_close(found, answers[chosen], rtol=0, atol=1e-3)
    (other,) = set(penalties) - {chosen}
    assert not torch.allclose(found, answers[other], rtol=0, atol=1e-2)


def test_logistic_regression_gives_a_class_without_training_images_no_chance():
    classes = ("red", "green", "blue", "unseen")
    classify = fit_logistic_regression(coloured(30, 0, classes), coloured(15, 1, classes))
    assert classify(coloured(6, 2).images)[:, 3].tolist() == [0.0] * 6


def test_logistic_regression_on_large_images_is_that_on_their_averages():
    parts = [coloured(count, seed) for count, seed in ((90, 0), (30, 1), (60, 2))]
    doubled = [replace(part, images=part.images.repeat_interleave(8, 2).repeat_interleave(8, 3)) for part in parts]
    small = [replace(part, images=part.images.repeat_interleave(4, 2).repeat_interleave(4, 3)) for part in parts]
    assert doubled[0].images.shape[-1] == 64
    found = fit_logistic_regression(*doubled[:2])(doubled[2].images)
    torch.testing.assert_close(found, fit_logistic_regression(*small[:2])(small[2].images), rtol=0, atol=1e-4)


def test_logistic_regression_takes_a_share_of_a_large_training_part(monkeypatch):
    """A third, of each class, though every third image is of one class. The pixels' statistics are those of all."""
    fitted = []

    class Watched(LogisticRegression):
        def fit(self, pixels, labels):
            fitted.append((pixels.shape, np.bincount(labels).tolist()))
            return super().fit(pixels, labels)

    monkeypatch.setattr(baselines, "LogisticRegression", Watched)
    monkeypatch.setattr(baselines, "MOST_IMAGES", 40)
    classify = fit_logistic_regression(coloured(120, 0), coloured(30, 1))
    assert fitted == [((40, 192), [14, 13, 13])] * 3
    assert accuracy(classify, coloured(60, 2)) > 0.8


def test_the_majority_by_hand():
    labels = torch.tensor([1, 1, 0, 1])
    classify = fit_majority(ImageSet(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), labels, ("a", "b", "c")))
    assert classify(torch.zeros(2, 3, 2, 2, dtype=torch.uint8)).tolist() == [[0.25, 0.75, 0.0]] * 2


@pytest.fixture
def config(tiny_config):
    """Twenty steps."""
    return replace(tiny_config, widths=(8, 16), batch_size=40, epochs=5)


def test_the_cnn_learns(make_set, config):
    classify, history = fit_cnn(config, make_set(160, seed=1), make_set(60, seed=2), checkpoint=NOWHERE)
    assert accuracy(classify, make_set(200, seed=3)) > 0.9
    assert history[-1]["validation_accuracy"] > 0.9


def test_on_features_the_twin_learns_from_features(config):
    labels = torch.arange(60) % 3
    views = torch.rand(60, 2, 10, generator=torch.Generator().manual_seed(0))
    views[:, :, :3] += torch.eye(3)[labels][:, None]
    features = FeatureSet(views.half(), labels, ("a", "b", "c"))
    config = replace(config, encoder="pretrained", optimizer="adam", learning_rate=0.03, epochs=20)
    classify, history = fit_cnn(config, features, features, checkpoint=NOWHERE)
    found = classify(features.judged)
    assert float((found.argmax(1) == labels).float().mean()) == pytest.approx(history[-1]["validation_accuracy"])
    assert history[-1]["validation_accuracy"] > 0.9


def test_the_cnn_sees_as_many_images_as_the_encoder(tiny_set, tiny_config):
    _, history = fit_cnn(tiny_config, tiny_set, tiny_set, checkpoint=NOWHERE)
    _, encoder_history = train_encoder(tiny_config, tiny_set, tiny_set)
    for ours, theirs in zip(history, encoder_history, strict=True):
        assert all(ours[key] == theirs[key] for key in ("epoch", "step", "images", "learning_rate"))


def test_the_seed_decides_the_cnn_and_the_global_state_does_not(tiny_set, tiny_config):
    before = torch.get_rng_state()
    first, again, other = (
        fit_cnn(replace(tiny_config, seed=seed), tiny_set, tiny_set, checkpoint=NOWHERE)[0](tiny_set.images)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
