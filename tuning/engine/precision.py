"""Automatic mixed precision: products in bfloat16, sums, losses, weights and optimizer in float32.

Only training: a model is measured, kept and loaded in float32, so that its metrics mean the same everywhere.
https://docs.pytorch.org/docs/stable/amp.html
"""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from tuning.spec import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return what a forward pass and its loss are computed within; for fp32 it does nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    if device.type == "cpu" and not _has_onednn_bf16():
        return _without_onednn()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _has_onednn_bf16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """bfloat16 where oneDNN has none, as on a CPU without AVX-512: torch asks it for an LSTM all the same."""
    was = torch._C._get_mkldnn_enabled()  # what torch.backends.mkldnn.enabled is, to a type checker too
    torch._C._set_mkldnn_enabled(False)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield
    finally:
        torch._C._set_mkldnn_enabled(was)
