"""What the estimators refuse, each in a sentence; as ValueErrors, which scikit-learn's tools expect."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from tercet import TripletClassifier, TripletEmbedder

GREY = np.zeros((12, 8, 8), np.uint8)
NAMES = np.array(["cat", "dog"] * 6)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (GREY / 255, r"found images of type float64; expected uint8: bring the levels to 0\.\.255"),
        (np.full((12, 8, 8), np.nan, np.float32), "found images of type float32"),
        (GREY.astype(np.int64), "found images of type int64"),
        (GREY.astype(complex), "found images of type complex128"),
        (GREY.reshape(12, 64), r"found images of shape \[12, 64\]; .* reshape flattened ones"),
        (GREY[..., None], r"found images of shape \[12, 8, 8, 1\]"),
        (GREY[0], r"found images of shape \[8, 8\]"),
        (GREY[:0], r"found images of shape \[0, 8, 8\].* at least one image"),
        (GREY[:, :0], r"found images of shape \[12, 0, 8\]"),
        (["a.png"] * 12, "found images of type <U5"),
        (csr_array(GREY[0]), "found images of type object"),
    ],
)
def test_images(images, sentence):
    for kind in (TripletClassifier, TripletEmbedder):
        with pytest.raises(ValueError, match=sentence):
            kind().fit(images, NAMES)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (None, "TripletClassifier requires y to be passed"),
        (NAMES[:5], r"found labels of shape \[5\] for 12 images"),
        (["cat"] * 12, "found one class, 'cat'; expected two or more"),
        (["cat"] * 11 + ["dog"], "found 1 images of 'dog', of which 1 is left"),
        (["cat"] * 10 + ["dog"] * 2, "found 2 images of 'dog', of which 1 is left"),
        (np.linspace(0, 1, 12), "Unknown label type"),
        (np.where(np.arange(12) > 5, np.nan, 1.0), "NaN"),
        (np.zeros((12, 2), int), "1d array"),
    ],
)
def test_labels(labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        TripletClassifier().fit(GREY, labels)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"preset": "long"}, "preset is 'long'; expected one of quick, standard, full"),
        ({"loss": "l2"}, "loss is 'l2'"),
        ({"loss": "supcon", "mining": "hard"}, "mining is 'hard' with --loss supcon"),
        ({"loss": "custom"}, "loss is 'custom'"),
        ({"size": 4}, "size is 4"),
        ({"validation_fraction": 0}, "validation_fraction is 0; expected a number between 0 and 1"),
        ({"validation_fraction": 0.9}, "of which 1 is left"),
        ({"random_state": -1}, "seed is -1"),
        ({"device": "abacus"}, "device is 'abacus'"),
    ],
)
def test_parameters(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        TripletClassifier(**parameters).fit(GREY, NAMES)


def test_answers_before_fit_and_after_a_fit_that_failed():
    for kind, names in (
        (TripletClassifier, ("predict", "predict_proba", "transform")),
        (TripletEmbedder, ("transform",)),
    ):
        estimator = kind()
        with pytest.raises(ValueError, match="one class"):
            estimator.fit(GREY, ["cat"] * 12)
        for name in names:
            with pytest.raises(NotFittedError):
                getattr(estimator, name)(GREY)
        with pytest.raises(NotFittedError):
            estimator.get_feature_names_out()
