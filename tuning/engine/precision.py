"""Automatic mixed precision: products in bfloat16, sums, losses, weights and optimizer in float32.

Only training: a model is measured, kept and loaded in float32, so that its metrics mean the same everywhere.
https://docs.pytorch.org/docs/stable/amp.html
"""

import contextlib
from contextlib import AbstractContextManager

import torch

from tuning.spec import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return what a forward pass and its loss are computed within; for fp32 it does nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
