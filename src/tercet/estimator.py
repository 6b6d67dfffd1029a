"""scikit-learn estimators over the functions that `tercet train` uses; training is in memory and writes no run folder.

`TripletEmbedder` gives embeddings, `TripletClassifier` classes too. Both take images as uint8 arrays; knows no files.
"""

# ruff: noqa: N803 -- what is fitted is called X in scikit-learn

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from tercet.config import NAMED_LOSSES, PRESETS, Config, resolve
from tercet.data.folder import natural_size
from tercet.data.imageset import ImageSet
from tercet.data.sources import resized
from tercet.errors import DataError, UsageError
from tercet.footprint import require_training_memory
from tercet.model.pretrained import is_available
from tercet.preparation import choose_device, freeze, say_what_differs, with_precision
from tercet.training.bundle import Learned, train_bundle

Estimator = TypeVar("Estimator", bound="TripletEmbedder")
OPTIONS = (
    *("epochs", "loss", "mining", "margin", "encoder", "size", "dimensions"),
    *("normalize", "flip", "precision", "device"),
)  # the parameters that are settings of `Config`, by the same names


class TripletEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Image encoder trained by the triplet loss: images of one class come to lie close together.

    Parameters
    ----------
    preset : {"quick", "standard", "full"}, default="quick"
        How long to train, and how broad a network: `tercet.config.PRESETS`. Of few images more epochs are taken.
    epochs : float, default=None
        Passes over the training images, such as 2.5; None takes the preset's.
    loss : {"proxy-triplet", "centroid-triplet", "triplet", "supcon"}, default=None
        What embeddings are compared by. None takes "triplet" with a `mining`, with raw embeddings and on the features
        of the pretrained encoder, else "proxy-triplet".
    mining : {"all", "semi-hard", "hard", "random"}, default=None
        Which triplets of a batch the loss "triplet" takes; None takes all.
    margin : float, default=None
        Margin of a triplet loss in squared distance; None takes 0.2, for "centroid-triplet" 0, for "triplet" 0.25 or,
        of raw embeddings, 1.
    encoder : {"fast", "classic", "pretrained"}, default=None
        None takes "pretrained" from a size of 96 on where the extra `tercet[pretrained]` is installed, else "fast".
    size : int, default=None
        Side in pixels of what the network sees, 10 to 224; images are brought to it, of oblong ones the centre square.
        None takes 32, 64 or 128, after the images.
    dimensions : int, default=128
        Numbers in an embedding.
    normalize : bool, default=True
        Whether embeddings are scaled to unit length.
    flip : bool, default=True
        Whether an image and its mirror image show the same; False for letters, digits or signs.
    validation_fraction : float, default=0.1
        Share of each class, at least one image, that is not trained on and by which the head is chosen.
    precision : {"fp32", "bf16", "auto"}, default="fp32"
        "auto" takes bfloat16 where a trial shows it to be faster, so it may decide differently another time.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where to train; the trained encoder works on the CPU.
    random_state : int, RandomState instance or None, default=None
        Decides the validation part, the first weights, the order of images. An int gives the same result each time on
        the CPU, and is what `tercet train` calls its seed.

    Attributes
    ----------
    bundle_ : tercet.model.bundle.Bundle
        Encoder, head and class names; `bundle_.save(folder)` writes the model that the command line takes.
    classes_ : ndarray of shape (C,)
        The distinct labels, sorted.
    history_ : list of dict
        One record an epoch, first of the encoder and then of the head.

    Notes
    -----
    `fit` and `fit_transform` take no sample weights. Features of a pretrained encoder are kept in tercet's cache
    folder, so that the next fit on the same images finds them.

    References
    ----------
    Schroff, Kalenichenko and Philbin, FaceNet: a unified embedding for face recognition and clustering, 2015.

    Examples
    --------
    >>> import tercet
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(tercet.TripletEmbedder(mining="semi-hard"), KNeighborsClassifier())
    >>> model.set_params(tripletembedder__margin=0.3)[0]
    TripletEmbedder(margin=0.3, mining='semi-hard')
    """

    def __init__(
        self,
        *,
        preset: str = "quick",
        epochs: float | None = None,
        loss: str | None = None,
        mining: str | None = None,
        margin: float | None = None,
        encoder: str | None = None,
        size: int | None = None,
        dimensions: int = 128,
        normalize: bool = True,
        flip: bool = True,
        validation_fraction: float = 0.1,
        precision: str = "fp32",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.preset = preset
        self.epochs = epochs
        self.loss = loss
        self.mining = mining
        self.margin = margin
        self.encoder = encoder
        self.size = size
        self.dimensions = dimensions
        self.normalize = normalize
        self.flip = flip
        self.validation_fraction = validation_fraction
        self.precision = precision
        self.device = device
        self.random_state = random_state

    def fit(self: Estimator, X: Any, y: Any) -> Estimator:
        """Train on images `X`, uint8 of shape [N, H, W, 3] or [N, H, W], and their labels `y` of shape [N].

        Raises ValueError where these cannot be trained on, TrainingError where training goes wrong beyond help.
        """
        images = as_images(X)
        classes, indices = np.unique(as_labels(y, type(self).__name__), return_inverse=True)
        config = asked_config(self.preset, self.random_state, {name: getattr(self, name) for name in OPTIONS})
        learned = learn(ImageSet.from_arrays(images, indices, classes), config, self.validation_fraction)
        self.bundle_, self.classes_, self.history_ = learned.bundle, classes, learned.history
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "N D"]:
        """The embeddings of images of any side, as float32."""
        check_is_fitted(self)
        return self.bundle_.embed(as_images(X))

    @property
    def _n_features_out(self) -> int:
        return int(self.bundle_.settings["dimensions"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class TripletClassifier(ClassifierMixin, TripletEmbedder):  # type: ignore[misc]
    """Classifier by a small network on an embedding that the triplet loss has trained.

    `TripletEmbedder.fit` and `TripletEmbedder.transform` are its methods too.

    Parameters, attributes, notes and references are those of `TripletEmbedder`.

    Examples
    --------
    >>> import tercet
    >>> classifier = tercet.TripletClassifier(epochs=10, flip=False, random_state=0)
    >>> classifier.fit(images, labels).predict(others)  # doctest: +SKIP
    """

    def predict(self, X: Any) -> Shaped[np.ndarray, " N"]:
        """The most probable class of each image."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])

    def predict_proba(self, X: Any) -> Float[np.ndarray, "N C"]:
        """The probability of each class, in the order of `classes_`."""
        check_is_fitted(self)
        return self.bundle_.predict_proba(as_images(X))


def as_images(given: Any) -> UInt8[np.ndarray, "N ..."]:
    """The images as an array; DataError where they are no uint8 images."""
    images = np.asarray(given)
    if images.dtype != np.uint8:
        raise DataError(
            f"found images of type {images.dtype}; expected uint8: bring the levels to 0..255, then "
            "images.astype('uint8')."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3) or not images.size:
        raise DataError(
            f"found images of shape {list(images.shape)}; expected [N, H, W, 3] or [N, H, W] with at least one image: "
            "reshape flattened ones."
        )
    return images


def as_labels(y: Any, name: str) -> NDArray[Any]:
    """The labels as an array `[N]`; ValueError where they are no classes."""
    if y is None:
        raise DataError(f"{name} requires y to be passed, but the target y is None.")
    labels = column_or_1d(y, warn=True)
    check_classification_targets(labels)
    return np.asarray(labels)


def asked_config(preset: str, random_state: Any, options: dict[str, Any]) -> Config:
    """The preset with the options that were given and the seed that the random state stands for."""
    if preset not in PRESETS:
        raise UsageError(f"preset is {preset!r}; expected one of {', '.join(PRESETS)}.")
    if options["loss"] == "custom":  # which stands for a function, in the settings of a run
        raise UsageError(f"loss is 'custom'; expected one of {', '.join(NAMED_LOSSES)}.")
    is_seed = isinstance(random_state, Integral)
    seed = int(random_state if is_seed else check_random_state(random_state).randint(2**31 - 1))
    return replace(PRESETS[preset], seed=seed, **{name: value for name, value in options.items() if value is not None})


def learn(images: ImageSet, asked: Config, validation_fraction: float) -> Learned:
    """Split off the validation part, fill in the configuration and train, as `tercet train` does."""
    if len(images.classes) < 2:
        raise DataError(f"found one class, {images.classes[0]!r}; expected two or more.")
    if not 0 < validation_fraction < 1:
        raise UsageError(f"validation_fraction is {validation_fraction}; expected a number between 0 and 1.")
    size = asked.size or natural_size(min(images.images.shape[2:]))
    train, validation = resized(images, size).split(asked.seed, validation_fraction)
    for name, found, left in zip(images.classes, images.class_counts(), train.class_counts(), strict=True):
        if left < 2:
            raise DataError(
                f"found {found} images of {name!r}, of which {left} is left beside the validation part; expected two, "
                "the pair that a triplet needs: add images, or leave the class out."
            )
    asked = replace(asked, device=choose_device(asked.device))
    config = resolve(asked, image_count=len(train), size=size, flip=True, has_weights=is_available())
    say_what_differs(asked, config)
    frozen = freeze(config, None)
    require_training_memory(config, (train, validation), frozen)
    return train_bundle(with_precision(config, train), train, validation, frozen=frozen)
