"""Data in memory goes to the workers through Ray's object store: once per node, and shared by its workers.

So a node needs neither the network nor the files from which the driver has read it.
"""

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from torch.utils.data import TensorDataset

from tuning.data import PARTS, Splits

Held = tuple[Any]
"""A reference to what `put` has stored; in a tuple, for Ray puts the value itself in a bare one's place."""


def put(splits: Splits) -> Held | None:
    """Store data that is in memory; None for a set that is read example by example, or does not fit.

    Those each worker opens itself.
    """
    if not splits.is_in_memory:
        return None
    plain: dict[str, Any] = {part.name: getattr(splits, part.name) for part in fields(splits)}
    for name in PARTS:
        plain[name] = [tensor.numpy() for tensor in plain[name].tensors]
    try:
        return (ray.put(plain),)
    except (RayError, TypeError):  # too large for the store; augmented by what cannot be pickled
        return None


def get(held: Held) -> Splits:
    """Return the data, whose tensors are the object store's own memory: not to be written to."""
    plain: Any = ray.get(held[0])
    return Splits(**{**plain, **{name: TensorDataset(*map(_tensor, plain[name])) for name in PARTS}})


def _tensor(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
