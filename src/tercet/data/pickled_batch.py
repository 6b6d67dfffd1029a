"""A batch of CIFAR-10's Python archive: a pickle of Python 2, read without trusting it.

A pickle names the functions that rebuild it. The official batches name three, all of NumPy, and these are not called
either: stand-ins keep what they would have been given, and the bytes are looked at here. Any other name is refused.
The one module of tercet that unpickles; the archive's other form, which is plain bytes, is the one we download.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tercet.errors import DataError


class _Array:
    """What `_reconstruct` would have made; its state is (version, shape, type, whether by columns, bytes)."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


class _Kind:
    """What `dtype` would have made."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, _: Any) -> None:
        """Nothing in the state of uint8 is of interest."""


STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,  # only ever handed to `_reconstruct`
    ("numpy", "dtype"): _Kind,
}


class _Reader(pickle._Unpickler):  # the one in Python: that in C makes room for what a number in the pickle asks for
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return STAND_INS[module, name]


def read_pickled_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The rows of 3,072 channel values `[n, 3072]` of a batch, and the label of each."""
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
        _, shape, kind, by_columns, levels = batch[b"data"].state
        labels = np.array(batch[b"labels"], dtype=np.int64)
        if kind.name != b"u1" or shape != (len(labels), 3072):
            raise ValueError("expected as many rows of 3,072 bytes as labels")
        return np.frombuffer(levels, np.uint8).reshape(shape, order="F" if by_columns else "C"), labels
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        raise DataError(
            f"found a pickle that is no batch of CIFAR-10 ({error}); download the archive again."
        ) from error
