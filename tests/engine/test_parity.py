"""The stacked engine computes what the solo engine computes, for every member, step by step.

Whole runs cannot be compared to many digits: training is chaotic. So before each step the solo models
are set to the stack's state, and the step is compared.
"""

import math
from typing import Any

import pytest

import models
from tests.engine import stacks

SEARCHED: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0},
        {"lr": 3e-3, "momentum": 0.9, "weight_decay": 1e-3},
        {"lr": 1e-2, "momentum": 0.5, "weight_decay": 0.1},
    ],
    "rmsprop": [
        {"lr": 1e-4, "momentum": 0.0, "alpha": 0.9},
        {"lr": 1e-3, "momentum": 0.8, "alpha": 0.99, "weight_decay": 1e-2},
        {"lr": 3e-3, "momentum": 0.3},
    ],
    "adagrad": [{"lr": 1e-3}, {"lr": 1e-2, "weight_decay": 1e-2}, {"lr": 0.1}],
    "adam": [
        {"lr": 1e-4, "momentum": 0.9},
        {"lr": 1e-3, "momentum": 0.5, "beta2": 0.9, "weight_decay": 1e-2},
        {"lr": 1e-2, "momentum": 0.0, "beta2": 0.99},
    ],
}
"""Three trials per optimizer; dropout and batch norm are added below, with numbers of their own."""

RATES = [0.1, 0.3, 0.5]
BN_MOMENTA = [0.05, 0.3, 0.9]
ROWS = {"cnn": 70, "lstm": 70, "rnn": 6, "batchnorm_net": 200}


def trials(optimizer: str, *, dropout: bool, norm: bool) -> list[dict[str, Any]]:
    extra = [
        {"dropout": rate if dropout else 0.0, "bn_momentum": momentum if norm else None}
        for rate, momentum in zip(RATES, BN_MOMENTA, strict=True)
    ]
    return [{"optimizer": optimizer, **a, **b} for a, b in zip(SEARCHED[optimizer], extra, strict=True)]


@pytest.mark.parametrize("dropout", [False, True], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("norm", [False, True], ids=["no norm", "norm"])
@pytest.mark.parametrize("optimizer", SEARCHED)
@pytest.mark.parametrize("model", models.CATALOG)
def test_every_step_is_that_of_each_member_alone(
    model: str, optimizer: str, norm: bool, dropout: bool
) -> None:
    spec, splits = stacks.documented(model, ROWS.get(model, 30))
    stack, members = stacks.build(spec, splits, trials(optimizer, dropout=dropout, norm=norm))
    compared = stacks.steps_agree(stack, members, spec, splits)
    assert compared >= 3 * 2 * stacks.batches(spec, splits).steps * 0.6
    metrics = stack.evaluate(stacks.batches(spec, splits).in_order())
    assert len(metrics) == 3 and all(math.isfinite(found["val_loss"]) for found in metrics)
