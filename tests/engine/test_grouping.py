"""Which models can be stacked with each other."""

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import models
from tuning.engine.grouping import by_structure, difference


class Own(nn.Module):
    """A model with an attribute of whatever kind."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.out, self.value = nn.Linear(1, 1), value


@pytest.mark.parametrize("name", models.CATALOG)
def test_documented_models_that_differ_in_numbers_are_alike(name: str) -> None:
    built = [models.build(name, dropout=0.1 * n, bn_momentum=0.2 * n) for n in (1, 2, 3)]
    assert by_structure(built) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("model", "a", "b", "what"),
    [
        ("net", {"n_hidden": 4}, {"n_hidden": 5}, "Linear.weight"),
        ("net", {"activation": "relu"}, {"activation": "tanh"}, "ReLU"),
        ("net", {"dropout": 0.0}, {"dropout": 0.1}, "the modules of Net"),
        ("net", {"bn_momentum": None}, {"bn_momentum": 0.1}, "the modules of Net"),
        ("rnn", {"carry_hidden": True}, {"carry_hidden": False}, "RNN.carry_hidden"),
        ("cnn", {"image_size": 28}, {"image_size": 32}, "Linear.weight"),
    ],
)
def test_models_that_differ_in_more_are_not_and_it_can_be_said_in_what(
    model: str, a: dict[str, Any], b: dict[str, Any], what: str
) -> None:
    found = difference(models.build(model, **a), models.build(model, **b))
    assert found is not None and found.startswith(what)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1),
        (0.5, 0.5),
        ("a", "a"),
        (None, None),
        ([1, {"a": (2, 3)}], [1, {"a": (2, 3)}]),
        (pathlib.Path("a"), pathlib.Path("a")),
        (torch.float32, torch.float32),
        (torch.ones(2), torch.ones(2)),
        (torch.relu, torch.relu),
    ],
)
def test_equal_attributes_are_alike(a: Any, b: Any) -> None:
    assert difference(Own(a), Own(b)) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (0.1, 0.2),
        (1, True),
        (None, 0),
        ([1, 2], [1, 3]),
        (torch.ones(2), torch.zeros(2)),
        (torch.ones(2), torch.ones(2).double()),
        (object(), object()),
        (lambda x: x, lambda x: x),
        (np.ones(2), np.ones(2)),
    ],
)
def test_attributes_that_differ_or_cannot_be_compared_separate_models(a: Any, b: Any) -> None:
    """A rate that a model keeps for `functional.dropout`, say: the template's would be used for all."""
    assert difference(Own(a), Own(b)) == "Own.value"


def test_a_plain_average_of_batch_statistics_is_not_stacked_with_a_moving_one() -> None:
    plain = nn.Sequential(nn.BatchNorm1d(2, momentum=None))
    assert difference(plain, nn.Sequential(nn.BatchNorm1d(2, momentum=0.1))) == "BatchNorm1d.momentum"
    assert difference(plain, nn.Sequential(nn.BatchNorm1d(2, momentum=None))) is None


def test_numbers_of_layers_without_a_twin_separate_models() -> None:
    class Mine(nn.Dropout):
        pass

    assert difference(nn.Sequential(Mine(0.1)), nn.Sequential(Mine(0.2))) == "Mine.p"
    hooked = [nn.Sequential(nn.Dropout(0.1 * n)) for n in (1, 2)]
    for model in hooked:
        model[0].register_forward_hook(lambda *_: None)
    assert difference(*hooked) == "Dropout.p"
