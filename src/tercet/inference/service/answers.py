"""What is answered about an image and about the service: plain dictionaries, which become JSON.

Knows a model and its surroundings, nothing of requests but the status 404.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from starlette.exceptions import HTTPException

from tercet.data.decode import FORMATS, MAX_PIXELS
from tercet.evaluation.thumbnails import columns_of
from tercet.inference.predictions import describe_prediction
from tercet.inference.service.surroundings import Gallery, Surroundings
from tercet.inference.service.uploads import MOST_BYTES
from tercet.model.bundle import Bundle

MOST_ASKED = 1_000  # classes or neighbours
SHOWN_NEIGHBORS = 8


@dataclass(frozen=True, eq=False)
class Model:
    """A Bundle and what is known around it."""

    bundle: Bundle
    surroundings: Surroundings

    @property
    def gallery(self) -> Gallery:
        """The training images; status 404 where they are not known."""
        if self.surroundings.gallery is None:
            raise HTTPException(404, self.surroundings.missing[0])
        return self.surroundings.gallery


Embedding = Float[np.ndarray, "1 D"]
Answerer = Callable[[Model, Embedding, int], dict[str, Any]]  # the integer is k


def embed(model: Model, pixels: UInt8[np.ndarray, "H H 3"]) -> Embedding:
    """The embedding of one image."""
    return model.bundle.embed(pixels[None])


def predict(model: Model, embedding: Embedding, k: int) -> dict[str, Any]:
    """The k most probable classes, as `tercet predict --json` has them."""
    shares = model.bundle.probabilities(torch.from_numpy(embedding))[0].numpy()
    return describe_prediction(model.bundle.classes, shares, k)


def embedding_alone(model: Model, embedding: Embedding, k: int) -> dict[str, Any]:  # noqa: ARG001
    """The numbers of the embedding."""
    return {"embedding": embedding[0].tolist()}


def search(model: Model, embedding: Embedding, k: int) -> dict[str, Any]:
    """The k nearest of all training images."""
    gallery = model.gallery
    neighbors = gallery.nearest(torch.from_numpy(embedding), k)
    return {"neighbors": neighbors, "searched": len(gallery.labels)}


def describe(model: Model, embedding: Embedding, k: int) -> dict[str, Any]:
    """All that the page shows: classes, neighbours that have a picture, the place on the map."""
    gallery, drawn, point = model.surroundings.gallery, model.surroundings.map, torch.from_numpy(embedding)
    return {
        **predict(model, embedding, k),
        "neighbors": gallery.nearest(point, SHOWN_NEIGHBORS, pictured=True) if gallery else None,
        "place": drawn.place(point) if drawn else None,
    }


# Path: what answers, the default k where there is one, what is answered in words.
ENDPOINTS: dict[str, tuple[Answerer, int | None, str]] = {
    "/api/predict": (predict, 3, "the k most probable classes"),
    "/api/embed": (embedding_alone, None, "the embedding"),
    "/api/search": (search, 10, "the k nearest training images by squared distance, nearest first"),
    "/api/describe": (describe, 5, "all that the page shows: classes, pictured neighbours, place on the map"),
}


def about(model: Model) -> dict[str, Any]:
    """What the service is, takes and answers."""
    surroundings = model.surroundings
    return {
        "service": "tercet",
        "version": version("tercet"),
        "model": surroundings.name,
        "classes": list(model.bundle.classes),
        "dimensions": model.bundle.settings["dimensions"],
        "endpoints": {
            **{f"POST {path}": words + f"; ?k={k} unless told" * bool(k) for path, (_, k, words) in ENDPOINTS.items()},
            "GET /api/map": "the t-SNE map of test images",
            "GET /healthz": "whether the service answers",
        },
        "body": "an image file as it is, or multipart/form-data with one file",
        "formats": list(FORMATS),
        "limits": {"bytes": MOST_BYTES, "pixels": MAX_PIXELS},
        "training_images": describe_gallery(surroundings.gallery),
        "map": surroundings.map is not None,
        "missing": list(surroundings.missing),
    }


def describe_gallery(gallery: Gallery | None) -> dict[str, Any] | None:
    """How many training images there are, how many are on the sheet of pictures, and in how many columns."""
    if gallery is None:
        return None
    pictured = len(gallery.pictured) if gallery.sheet else 0
    return {"count": len(gallery.labels), "pictured": pictured, "columns": columns_of(pictured)}
