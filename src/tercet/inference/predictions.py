"""A prediction in words and numbers, the same on the command line and in the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from numpy import ndarray


def describe_prediction(classes: Sequence[str], shares: Float[ndarray, " C"], k: int) -> dict[str, Any]:
    """`predicted`, its `probability`, and `top`: the k most probable classes as [name, probability] pairs."""
    best = (-shares).argsort(kind="stable")[:k]  # of equal ones the first, as `Bundle.predict` has it
    top = [(classes[index], float(shares[index])) for index in best]
    return {"predicted": top[0][0], "probability": top[0][1], "top": top}
