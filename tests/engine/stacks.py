"""A stack and, beside it, its members as ordinary modules: what the tests of parity compare."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import models
from tests.engine.trials import CPU, settings
from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.batches import Batches
from tuning.engine.layers import HashDropout, replace_dropout
from tuning.engine.stack import Stack
from tuning.records import TrialSpec
from tuning.spec import SweepSpec

Hyperparameters = dict[str, Any]


def doubled(splits: Splits, rows: int) -> Splits:
    """Return at most so many rows of each split in float64, regression targets standardised."""
    changed = {}
    for name in ("train", "validation"):
        dataset = getattr(splits, name)
        assert isinstance(dataset, TensorDataset)
        inputs, targets = (tensor[:rows] for tensor in dataset.tensors)
        if splits.task == "regression":
            targets = (targets - targets.mean()) / targets.std()
            targets = targets.double()
        changed[name] = TensorDataset(inputs.double(), targets)
    return replace(splits, **changed)


@dataclass
class Alone:
    """One member as the solo engine has it."""

    trial: TrialSpec
    model: nn.Module
    dropouts: list[HashDropout]
    optimizer: torch.optim.Optimizer
    hidden: Any = None

    def set_to(self, stack: Stack, row: int, hidden: Any) -> None:
        """Take over the stack's weights, buffers, optimizer state and hidden state."""
        self.model.load_state_dict(stack.layout.state_dict(stack.rows, row))
        groups = self.optimizer.state_dict()["param_groups"]
        kept = stack.layout.optimizer_state(stack.optimizer.state, row, stack.optimizer.steps)
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        self.hidden = None if hidden == () else _row(hidden, row)

    def gradients(self, inputs: Tensor, targets: Tensor, step: int, splits: Splits) -> tuple[Tensor, Tensor]:
        """Return loss and flat gradients of one batch, updating buffers and the hidden state."""
        self.model.train()
        for dropout in self.dropouts:
            dropout.begin(step)
        outputs, self.hidden = solo.predict(self.model, inputs, self.hidden, carry=splits.ordered)
        loss = solo.LOSSES[splits.task](outputs, targets)
        self.optimizer.zero_grad()
        loss.backward()
        flat = [p.grad.reshape(-1) for p in self.model.parameters() if p.grad is not None]
        return loss.detach(), torch.cat(flat)


def _row(hidden: Any, row: int) -> Any:
    return tuple(part[row] for part in hidden) if isinstance(hidden, tuple) else hidden[row]


def build(
    spec: SweepSpec, splits: Splits, trials: Sequence[Hyperparameters], *, dtype: torch.dtype = torch.float64
) -> tuple[Stack, list[Alone]]:
    """Return a stack of trials and the same trials alone, with the same initial weights."""
    specs = [TrialSpec(number=number, hyperparameters=found) for number, found in enumerate(trials)]
    built = [solo.build_model(trial, spec, splits).to(dtype) for trial in specs]
    return stacked(specs, built, spec, splits), [
        alone(t, copy.deepcopy(m), spec) for t, m in zip(specs, built, strict=True)
    ]


def stacked(
    trials: Sequence[TrialSpec], built: Sequence[nn.Module], spec: SweepSpec, splits: Splits
) -> Stack:
    copies = [copy.deepcopy(model) for model in built]
    return Stack(
        trials,
        copies,
        device=CPU,
        seed=spec.seed,
        task=splits.task,
        carry=splits.ordered,
        compile=spec.compile,
    )


def alone(trial: TrialSpec, model: nn.Module, spec: SweepSpec) -> Alone:
    dropouts = replace_dropout(model, spec.seed, trial.number)
    return Alone(trial, model, dropouts, solo.make_optimizer(model, trial.hyperparameters))


def documented(model: str, rows: int, **changes: Any) -> tuple[SweepSpec, Splits]:
    """Return settings of a documented model on a part of its default data, in float64."""
    card = models.CATALOG[model]
    spec, splits = settings(model, epochs=2, batch_size=changes.pop("batch_size", card.batch_size), **changes)
    return spec, doubled(splits, rows)


def batches(spec: SweepSpec, splits: Splits) -> Batches:
    return Batches(splits.train, int(spec.batch_size or 1), CPU, ordered=splits.ordered)


def steps_agree(stack: Stack, members: Sequence[Alone], spec: SweepSpec, splits: Splits) -> int:
    """Train two epochs, comparing each step; return how many member-steps were compared."""
    rows = batches(spec, splits)
    compared = 0
    for epoch in (1, 2):
        hidden: Any = ()
        for step, (inputs, targets) in enumerate(rows.shuffled(0, epoch), start=(epoch - 1) * rows.steps):
            for row, member in enumerate(members):
                member.set_to(stack, row, hidden)
            losses, gradients, hidden = stack.gradients(inputs, targets, hidden, step)
            for row, member in enumerate(members):
                if stack.parameters[row].abs().max() < 1e6:
                    compared += 1
                    loss, flat = member.gradients(inputs, targets, step, splits)
                    assert losses[row].item() == pytest.approx(loss.item(), rel=1e-9)
                    together = torch.cat([gradient[row].reshape(-1) for gradient in gradients])
                    assert (together - flat).norm() <= 1e-9 * flat.norm()
                    for key, value in stack.layout.state_dict(stack.rows, row).items():
                        torch.testing.assert_close(
                            value, member.model.state_dict()[key], rtol=1e-9, atol=1e-12
                        )
            stack.optimizer.step(gradients)
    return compared
