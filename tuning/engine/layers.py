"""Dropout whose masks are a function of (sweep seed, trial, step, layer, position), drawn from a hash.

Both engines use it, so that a trial trained alone and the same trial in a cohort drop the same units,
and a resumed trial needs no random state. The hash is `lowbias32` (C. Wellons, Prospecting for hash
functions, 2018), a 32-bit mixer; torch has no unsigned 32-bit arithmetic, so it runs in int64.
"""

import torch
from torch import Tensor, nn

from tuning.seeds import derive

_32_BITS = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """Hash whole numbers in [0, 2**32) to whole numbers in [0, 2**32), elementwise."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _32_BITS
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _32_BITS
    return x ^ (x >> 16)


def uniform_bits(key: Tensor, shape: torch.Size) -> Tensor:
    """Return int64 numbers in [0, 2**32) of `shape`, uniform over positions and keys.

    `key` is a scalar int64 tensor in [0, 2**32).
    """
    positions = torch.arange(shape.numel(), device=key.device).view(shape)
    return _mix(_mix(positions ^ key) + key & _32_BITS)


class HashDropout(nn.Module):
    """`nn.Dropout` with a hash for a generator; the engine calls `begin` before each step."""

    def __init__(self, p: float, key: int) -> None:
        super().__init__()
        self.p = p
        self.key = key
        self.begin(0)

    def begin(self, step: int) -> None:
        self.step = step
        self.calls = 0  # a module that a forward pass uses twice draws two masks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        bits = derive(self.key, self.step, self.calls) & _32_BITS
        self.calls += 1
        key = torch.tensor(bits, device=x.device)
        keep = uniform_bits(key, x.shape) >= int(self.p * 2**32)
        return x * keep / (1 - self.p)


def replace_dropout(model: nn.Module, seed: int, trial: int) -> list[HashDropout]:
    """Put a `HashDropout` in the place of every `nn.Dropout` of a model; parameters stay as they are."""
    placed = []
    for parent_name, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout:
                layer = f"{parent_name}.{name}".lstrip(".")
                dropout = HashDropout(child.p, derive(seed, trial, layer))
                setattr(parent, name, dropout)
                placed.append(dropout)
    return placed
