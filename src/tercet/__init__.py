"""tercet trains image encoders by the triplet loss, classifies on their embeddings and shows how good that is.

The public names, and no others, are in `__all__`. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tercet.data.sources import open_dataset
    from tercet.estimator import TripletClassifier, TripletEmbedder
    from tercet.model.bundle import load_bundle as load
    from tercet.pipeline import run, train
    from tercet.training.losses import triplet_loss

__version__ = "0.1.0"
__all__ = ["TripletClassifier", "TripletEmbedder", "load", "open_dataset", "run", "train", "triplet_loss"]

_HOMES = {
    "TripletClassifier": ("tercet.estimator", "TripletClassifier"),
    "TripletEmbedder": ("tercet.estimator", "TripletEmbedder"),
    "load": ("tercet.model.bundle", "load_bundle"),
    "open_dataset": ("tercet.data.sources", "open_dataset"),
    "run": ("tercet.pipeline", "run"),
    "train": ("tercet.pipeline", "train"),
    "triplet_loss": ("tercet.training.losses", "triplet_loss"),
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tercet' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
