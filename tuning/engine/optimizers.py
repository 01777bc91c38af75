"""Update rules on stacked parameters: row k of every tensor is trial k, with its own numbers.

All parameters of a trial lie in one row, so an update is a handful of operations, for as many rows as a
cache holds, however many layers a model has. The rules are those of `torch.optim`, which takes one
learning rate for all, number for number; their state bears its names, so that a trial can change engines.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuning.resolve import optimizer_defaults

Columns = dict[str, Tensor]
"""Hyperparameters by name, (trials, 1) each, in the type of the parameters."""

State = dict[str, Tensor]
"""Optimizer state by its name in `torch.optim`, (trials, elements) each."""

BLOCK = 2**17
"""Elements that a CPU core updates at a time: each operation finds in its cache what the one before left."""

RMSPROP_EPS, ADAGRAD_EPS, ADAM_EPS = 1e-8, 1e-10, 1e-8

STATE_NAMES = {
    "sgd": ("momentum_buffer",),
    "rmsprop": ("square_avg", "momentum_buffer"),
    "adagrad": ("sum",),
    "adam": ("exp_avg", "exp_avg_sq"),
}


def columns(optimizer: str, trials: Sequence[Mapping[str, Any]], like: Tensor) -> Columns:
    """Return the numbers of each trial's hyperparameters, with torch.optim's defaults."""
    return {
        key: torch.tensor([[float(trial.get(key, default))] for trial in trials], dtype=torch.float64).to(
            like
        )
        for key, default in optimizer_defaults(optimizer).items()
    }


def sgd(parameters: Tensor, gradients: Tensor, state: State, numbers: Columns, step: int) -> None:
    # torch.optim starts its buffer as a copy of the first gradient: the same as from zero.
    buffer = state["momentum_buffer"].mul_(numbers["momentum"]).add_(gradients)
    parameters.addcmul_(buffer, numbers["lr"], value=-1)


def rmsprop(parameters: Tensor, gradients: Tensor, state: State, numbers: Columns, step: int) -> None:
    average = state["square_avg"].lerp_(gradients.square(), 1 - numbers["alpha"])
    buffer = state["momentum_buffer"].mul_(numbers["momentum"])
    buffer.addcdiv_(gradients, average.sqrt().add_(RMSPROP_EPS))
    parameters.addcmul_(buffer, numbers["lr"], value=-1)


def adagrad(parameters: Tensor, gradients: Tensor, state: State, numbers: Columns, step: int) -> None:
    total = state["sum"].addcmul_(gradients, gradients)
    parameters.addcmul_(gradients / total.sqrt().add_(ADAGRAD_EPS), numbers["lr"], value=-1)


def adam(parameters: Tensor, gradients: Tensor, state: State, numbers: Columns, step: int) -> None:
    beta1, beta2, lr = numbers["momentum"].double(), numbers["beta2"].double(), numbers["lr"].double()
    average = state["exp_avg"].lerp_(gradients, 1 - numbers["momentum"])
    square = state["exp_avg_sq"].mul_(numbers["beta2"])
    square.add_(gradients.square().mul_((1 - beta2).to(gradients)))
    root = square.sqrt().div_((1 - beta2**step).sqrt().to(gradients)).add_(ADAM_EPS)
    parameters.addcmul_(average / root, (lr / (1 - beta1**step)).to(gradients), value=-1)


RULES: dict[str, Callable[[Tensor, Tensor, State, Columns, int], None]] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adam": adam,
}


class StackedOptimizer:
    """One of `RULES` with its state, zero at the start.

    Args:
        parameters: (trials, elements), updated in place.
        trials: hyperparameters of each.
    """

    def __init__(self, name: str, parameters: Tensor, trials: Sequence[Mapping[str, Any]]) -> None:
        self.state: State = {key: torch.zeros_like(parameters) for key in STATE_NAMES[name]}
        self.steps = 0
        """Taken so far, the same of all: they are at the same epoch."""
        self._rule = RULES[name]
        numbers = columns(name, trials, parameters)
        self._decays = bool(numbers["weight_decay"].any())
        self._blocks = [
            _Block(rows, parameters[rows], _of(self.state, rows), _of(numbers, rows))
            for rows in _blocks(parameters)
        ]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step along gradients, (trials, ...) each, in the order of the elements."""
        self.steps += 1
        flat = [gradient.flatten(1) if gradient.dim() > 1 else gradient[:, None] for gradient in gradients]
        for block in self._blocks:
            along = torch.cat([gradient[block.rows] for gradient in flat], dim=1)
            if self._decays:
                along.addcmul_(block.parameters, block.numbers["weight_decay"])
            self._rule(block.parameters, along, block.state, block.numbers, self.steps)


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows that are updated together: views of the whole."""

    rows: slice
    parameters: Tensor
    state: State
    numbers: Columns


def _blocks(parameters: Tensor) -> Iterator[slice]:
    """Yield rows that a cache holds together; on a GPU all of them, which launches the fewest kernels."""
    trials, elements = parameters.shape
    most = BLOCK * torch.get_num_threads()
    size = max(1, most // max(1, elements)) if parameters.device.type == "cpu" else trials
    for start in range(0, trials, size):
        yield slice(start, start + size)


def _of(tensors: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {key: found[rows] for key, found in tensors.items()}
