"""Dropout whose masks are a function of (sweep seed, trial, step, layer, position), drawn from a hash.

Both engines use it, so that a trial trained alone and the same trial in a cohort drop the same units,
and a resumed trial needs no random state.
"""

import torch
from torch import Tensor, nn

from tuning.seeds import derive

# Odd constants of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
_WEYL = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64

STEP_STRIDE = 2**40
"""Counters between one step's masks and the next one's: more than a mask has elements."""

MOST_AHEAD = 2**17
"""Elements of masks that are drawn at a time, at most, but for one step's."""

_NONE = range(0), torch.empty(0, 0)


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


def masks(key: int, steps: range, shape: torch.Size, rate: float, like: Tensor) -> Tensor:
    """Return the dropout masks of several steps, (len(steps), *shape): 0, or 1 / (1 - rate) where kept.

    A step with fewer rows than `shape` has takes the first rows of its mask.
    """
    positions = torch.arange(shape.numel(), device=like.device)
    starts = torch.arange(steps.start, steps.stop, device=like.device) * STEP_STRIDE + key
    keep = kept(starts[:, None] + positions, rate).view(len(steps), *shape)
    return keep.to(like.dtype) * (1 / (1 - rate))


class HashDropout(nn.Module):
    """`nn.Dropout` with a hash for a generator; the engine calls `begin` before each step.

    Masks are drawn for more and more steps ahead within an epoch: drawn step by step they cost a small
    net a quarter of its speed.
    """

    def __init__(self, p: float, key: int) -> None:
        super().__init__()
        self.p = p
        self.key = key
        self.epoch = 0
        self.begin(1, 0)

    def begin(self, epoch: int, step: int) -> None:
        if epoch != self.epoch:
            self.drawn: dict[int, tuple[range, Tensor]] = {}
            """By call of the module within a step: which steps, and their masks."""
        self.epoch, self.step = epoch, step
        self.calls = 0  # a module that a forward pass uses twice draws two masks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        steps, drawn = self.drawn.get(self.calls, _NONE)
        if self.step not in steps or x.shape[1:] != drawn.shape[2:] or len(x) > drawn.shape[1]:
            ahead = max(1, min(2 * len(steps), MOST_AHEAD // max(1, x.numel())))
            steps = range(self.step, self.step + ahead)
            drawn = masks(derive(self.key, self.epoch, self.calls), steps, x.shape, self.p, x)
            self.drawn[self.calls] = steps, drawn
        self.calls += 1
        return x * drawn[self.step - steps.start, : len(x)]


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
