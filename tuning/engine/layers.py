"""Dropout whose masks are a function of (sweep seed, trial, step, layer, position), drawn from a hash.

Both engines use it, so that a trial trained alone and the same trial in a cohort drop the same units,
and a resumed trial needs no random state.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from tuning.seeds import derive

# Odd constants of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
_WEYL = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def hashed(counters: Tensor) -> Tensor:
    """Hash int64 numbers to int64 numbers that are uniform in their high bits, elementwise.

    SplitMix64 but for its shifts: torch shifts signed numbers arithmetically, which costs one of the
    64 bits and spares the masks that a logical shift would take.
    """
    x = counters * _WEYL
    x = (x ^ (x >> 32)) * _MIX_1
    return (x ^ (x >> 29)) * _MIX_2


def kept(counters: Tensor, rate: float) -> Tensor:
    """Return which counters are kept when a share `rate` of all is dropped."""
    return hashed(counters) >= int((rate - 0.5) * 2**64)


@lru_cache(maxsize=64)
def _positions(shape: torch.Size, device: torch.device) -> Tensor:
    return torch.arange(shape.numel(), device=device).view(shape)


class HashDropout(nn.Module):
    """`nn.Dropout` with a hash for a generator; the engine calls `begin` before each step."""

    def __init__(self, p: float, key: int) -> None:
        super().__init__()
        self.p = p
        self.key = key
        self.begin(1, 0)

    def begin(self, epoch: int, step: int) -> None:
        self.step = (epoch, step)
        self.calls = 0  # a module that a forward pass uses twice draws two masks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        key = derive(self.key, *self.step, self.calls)
        self.calls += 1
        keep = kept(_positions(x.shape, x.device) + key, self.p)
        return x * (keep * (1 / (1 - self.p)))


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
