"""Whole runs are held to a yardstick: stacked and solo differ as two solo runs do after one rounding.

Training is chaotic: weights changed by one unit in the last place end elsewhere. So runs are compared
with what such a change does, not with a number of digits.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine import stacks
from tests.engine.stacks import Alone
from tuning.engine.stack import Stack

TRIALS: list[dict[str, Any]] = [
    {"lr": 1e-3, "momentum": 0.5, "dropout": 0.1, "bn_momentum": 0.3},
    {"lr": 3e-3, "momentum": 0.9, "dropout": 0.3, "bn_momentum": 0.1},
]


def flat(member: Alone) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in member.model.parameters()])


def train(member: Alone, inputs: Tensor, targets: Tensor, step: int, splits: Any) -> None:
    member.gradients(inputs, targets, step, splits)
    member.optimizer.step()


def nudged(member: Alone, spec: Any) -> Alone:
    """Return a member whose weights are larger by one unit in the last place."""
    model = copy.deepcopy(member.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.nextafter(parameter, torch.full_like(parameter, torch.inf)))
    other = stacks.alone(member.trial, model, spec)
    other.dropouts = [module for module in model.modules() if isinstance(module, type(member.dropouts[0]))]
    return other


@pytest.mark.parametrize("model", ["net", "batchnorm_net", "dropout_net", "cnn", "lstm", "rnn"])
def test_a_whole_run_differs_from_solo_as_solo_does_from_a_nudged_start(model: str) -> None:
    rows = {"cnn": 70, "lstm": 70, "rnn": 8, "batchnorm_net": 200}.get(model, 30)
    spec, splits = stacks.documented(model, rows)
    stack, members = stacks.build(spec, splits, TRIALS)
    others = [nudged(member, spec) for member in members]
    for epoch in (1, 2):
        one_epoch(stack, members, others, epoch, spec, splits)
    for row, (member, other) in enumerate(zip(members, others, strict=True)):
        yardstick = (flat(member) - flat(other)).norm()
        difference = (stack.parameters[row] - flat(member)).norm()
        assert yardstick > 0 and difference <= 100 * yardstick, (model, row)


def one_epoch(
    stack: Stack, members: list[Alone], others: list[Alone], epoch: int, spec: Any, splits: Any
) -> None:
    batches = stacks.batches(spec, splits)
    hidden: Any = ()
    for member in (*members, *others):
        member.hidden = None
    for step, (inputs, targets) in enumerate(batches.shuffled(0, epoch), start=(epoch - 1) * batches.steps):
        _, gradients, hidden = stack.gradients(inputs, targets, hidden, step)
        stack.optimizer.step(gradients)
        for member in (*members, *others):
            train(member, inputs, targets, step, splits)
