"""Dropout whose masks are a function of (sweep seed, trial, layer, call, step, position), drawn from a hash.

Both engines use it, so that a trial trained alone and the same trial in a cohort drop the same units,
and a resumed trial needs no random state.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tuning.seeds import derive

# Odd constants of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
_WEYL = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64

LANES = 4
"""Numbers of 16 bits in one hash: each decides on one unit, so rates are kept to 1/65536."""

STEP_STRIDE = 2**40
"""Counters between one step's masks and the next one's: more than a mask has elements."""

MOST_AHEAD = 2**17
"""Elements of masks that are drawn at a time, at most, but for one step's."""

CALLS = 2**20
"""More than a layer is called in one step."""

ELEMENTWISE = (nn.Dropout,)
CHANNELWISE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""These drop whole channels."""


def hashed(counters: Tensor) -> Tensor:
    """Hash int64 numbers to int64 numbers, all of whose 16-bit parts are uniform.

    SplitMix64 but for its shifts: torch shifts signed numbers arithmetically, which costs one of the
    64 bits and spares the masks that a logical shift would take; the last step adds for that reason.
    """
    x = counters * _WEYL
    x.bitwise_xor_(x >> 32).mul_(_MIX_1)
    x.bitwise_xor_(x >> 29).mul_(_MIX_2)
    return x.add_(x >> 32)


def masks(keys: Tensor, steps: range, shape: torch.Size, rates: Tensor, like: Tensor) -> Tensor:
    """Return dropout masks, (steps, trials, *shape): 0, or 1 / (1 - rate) where kept.

    In memory the rows of a mask, its first dimension, lie side by side. A step with fewer rows than
    `shape` has takes the first rows of its mask.

    Args:
        keys: int64, one per trial.
        steps: numbers of steps, counted from the start of the training.
        rates: float64, one per trial.
        like: tells type and device of the masks.
    """
    rows, width = shape[0], shape[1:].numel()
    quads = -(-rows // LANES)
    device = like.device
    positions = torch.arange(width, device=device)[:, None] + torch.arange(quads, device=device) * width
    starts = torch.arange(steps.start, steps.stop, device=device)[:, None] * STEP_STRIDE + keys
    drawn = hashed(starts[:, :, None, None] + positions).view(torch.int16)[..., :rows]
    least = ((rates * 2**16).round() - 2**15).clamp(max=2**15 - 1).to(torch.int16)[:, None, None]
    scales = torch.where(rates < 1, 1 / (1 - rates), 0.0).to(like)[:, None, None]
    kept = torch.empty(drawn.shape, dtype=like.dtype, device=device)
    torch.ge(drawn, least, out=kept).mul_(scales)
    return kept.transpose(2, 3).reshape(len(steps), len(keys), *shape)


def mask_shape(x: Tensor, *, channelwise: bool) -> torch.Size:
    """Return the shape of the mask of an input x (rows, channels, ...)."""
    return torch.Size((*x.shape[:2], *(1 for _ in x.shape[2:]))) if channelwise else x.shape


class MaskSource:
    """One layer's masks for some trials, drawn for more and more steps ahead.

    Drawn step by step they cost a small net a quarter of its speed.
    """

    def __init__(self, seed: int, trials: Sequence[int], layer: str, rates: Sequence[float]) -> None:
        self._of = seed, trials, layer
        self._rates = torch.tensor(rates, dtype=torch.float64)
        self._keys: dict[int, Tensor] = {}
        self._drawn: dict[int, tuple[range, Tensor]] = {}
        """By call of the layer within a step: which steps, and their masks."""

    def mask(self, step: int, call: int, shape: torch.Size, like: Tensor) -> Tensor:
        """Return the masks of one step and call, (trials, *shape)."""
        steps, drawn = self._drawn.get(call, (range(0), torch.empty(0, 0, 0)))
        if step not in steps or shape[1:] != drawn.shape[3:] or shape[0] > drawn.shape[2]:
            elements = len(self._rates) * shape.numel()
            ahead = max(1, min(2 * len(steps), MOST_AHEAD // max(1, elements)))
            steps = range(step, step + ahead)
            rates = self._rates.to(like.device)
            drawn = masks(self._key(call).to(like.device), steps, shape, rates, like)
            self._drawn[call] = steps, drawn
        return drawn[step - steps.start, :, : shape[0]]

    def _key(self, call: int) -> Tensor:
        if call not in self._keys:
            seed, trials, layer = self._of
            self._keys[call] = torch.tensor([derive(seed, trial, layer, call) for trial in trials])
        return self._keys[call]


class HashDropout(nn.Module):
    """`nn.Dropout` with a hash for a generator; the engine calls `begin` before each step."""

    def __init__(self, p: float, seed: int, trial: int, layer: str, *, channelwise: bool = False) -> None:
        super().__init__()
        self.p = p
        self.channelwise = channelwise
        self._source = MaskSource(seed, [trial], layer, [p])
        self.begin(0)

    def begin(self, step: int, part: tuple[int, int, int] | None = None) -> None:
        """Say which step comes, counted from the start of the training.

        Args:
            part: first and last row (excluded) of the batch that the input has, and all its rows, where other
                ranks have the others.
        """
        self.step, self._part = step, part
        self.calls = 0  # a module that a forward pass uses twice draws two masks

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        self.calls += 1
        shape = mask_shape(x, channelwise=self.channelwise)
        if self._part is None:
            return x * self._source.mask(self.step, self.calls - 1, shape, x)[0]
        first, stop, rows = self._part
        fold, rest = divmod(len(x), stop - first)  # rows of the input that come of one of the batch
        if rest:  # its first axis is not the batch's: masks of the rank's own
            return x * self._source.mask(self.step, self.calls - 1 + CALLS * stop, shape, x)[0]
        whole = torch.Size((rows * fold, *shape[1:]))
        mask = self._source.mask(self.step, self.calls - 1, whole, x)[0]
        return x * mask[first * fold : stop * fold]


def replace_dropout(model: nn.Module, seed: int, trial: int) -> list[HashDropout]:
    """Put a `HashDropout` in the place of every `nn.Dropout` of a model; parameters stay as they are."""
    placed = []
    for parent_name, parent in list(model.named_modules()):
        for name, child in list(parent.named_children()):
            if type(child) in ELEMENTWISE + CHANNELWISE:
                layer = f"{parent_name}.{name}".lstrip(".")
                is_channelwise = type(child) in CHANNELWISE
                dropout = HashDropout(child.p, seed, trial, layer, channelwise=is_channelwise)
                setattr(parent, name, dropout)
                placed.append(dropout)
    return placed
