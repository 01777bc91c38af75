"""The stacked update rules agree with stock torch.optim, fed the same gradients and states."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.engine.test_parity import SEARCHED
from tuning.engine import optimizers, solo
from tuning.engine.optimizers import StackedOptimizer

SHAPES = [(5, 3), (5,), (2, 2, 2), ()]
STEPS = 30


def stock(trial: dict[str, Any], row: torch.Tensor) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    parts = row.split([torch.Size(shape).numel() for shape in SHAPES])
    parameters = [nn.Parameter(part.clone().view(shape)) for part, shape in zip(parts, SHAPES, strict=True)]
    holder = nn.Module()
    for index, parameter in enumerate(parameters):
        holder.register_parameter(f"p{index}", parameter)
    return parameters, solo.make_optimizer(holder, trial)


@pytest.mark.parametrize("optimizer", SEARCHED)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("rows_at_a_time", [1, 2, 1000])
def test_many_steps_are_those_of_torch(
    optimizer: str, scale: float, rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    trials = [{"optimizer": optimizer, **found} for found in SEARCHED[optimizer]]
    size = sum(torch.Size(shape).numel() for shape in SHAPES)
    rows = torch.randn(len(trials), size, dtype=torch.float64)
    monkeypatch.setattr(optimizers, "BLOCK", size * rows_at_a_time)
    others = [stock(trial, row) for trial, row in zip(trials, rows, strict=True)]
    stacked = StackedOptimizer(optimizer, rows, trials)
    for _ in range(STEPS):
        gradients = scale * torch.randn_like(rows)
        for row, (parameters, other) in zip(gradients, others, strict=True):
            parts = row.split([parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.grad = part.clone().view(parameter.shape)
            other.step()
        parts = gradients.split([torch.Size(shape).numel() for shape in SHAPES], dim=1)
        stacked.step([part.view(-1, *shape) for part, shape in zip(parts, SHAPES, strict=True)])
        for row, (parameters, _) in zip(rows, others, strict=True):
            flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
            torch.testing.assert_close(row, flat, rtol=1e-12, atol=1e-12)
    for name, found in stacked.state.items():
        for row, (trial, (parameters, other)) in zip(found, zip(trials, others, strict=True), strict=True):
            if name in other.state[parameters[0]] and other.state[parameters[0]][name] is not None:
                flat = torch.cat([other.state[parameter][name].reshape(-1) for parameter in parameters])
                torch.testing.assert_close(row, flat, rtol=1e-12, atol=0)
            else:
                assert name == "momentum_buffer" and not trial["momentum"]
    assert stacked.steps == STEPS


def test_rows_larger_than_a_block_are_updated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for optimizer, trials in SEARCHED.items():
        whole, gradients = torch.randn(3, 7), torch.randn(3, 7)
        single = whole.clone()
        StackedOptimizer(optimizer, whole, trials).step([gradients])
        with monkeypatch.context() as small:
            small.setattr(optimizers, "BLOCK", 1)
            StackedOptimizer(optimizer, single, trials).step([gradients])
        assert torch.equal(whole, single)


def test_one_trial_that_is_not_finite_leaves_the_others_bit_equal() -> None:
    torch.manual_seed(0)
    rows = torch.randn(3, 7)
    for optimizer, trials in SEARCHED.items():
        a, b = rows.clone(), rows.clone()
        healthy = StackedOptimizer(optimizer, a, trials)
        touched = StackedOptimizer(optimizer, b, trials)
        for _ in range(3):
            gradients = torch.randn_like(rows)
            healthy.step([gradients])
            gradients[1] = torch.nan
            touched.step([gradients])
        assert b[1].isnan().all() and not a.isnan().any()
        assert torch.equal(a[[0, 2]], b[[0, 2]])
