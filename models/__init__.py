"""The catalog of documented models. A new model is one more entry of `CATALOG`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from models.batchnorm import BatchNormNet
from models.checks import unknown
from models.cnn import CNN
from models.dropout import dropout_net, overfitting_net
from models.lstm import LSTM
from models.mlp import Net, quick_net
from models.rnn import RNN
from models.shapes import image_arguments, row_arguments, sequence_arguments, vector_arguments

SearchSpace = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    build: Callable[..., nn.Module]
    """The model's class, or a function that returns the model."""
    task: Literal["classification", "regression"]
    data: str
    """Name of the default data set."""
    summary: str
    """One line for the list of models."""
    epochs: int
    """Epochs of a default sweep's trial."""
    batch_size: int
    """Examples in a training batch of a default sweep."""
    search: SearchSpace
    """Default search ranges, in the notation of a spec."""
    from_data: Callable[[tuple[int, ...], int], dict[str, Any]]
    """(one example's input shape, number of outputs) -> constructor arguments; ValueError if the
    model cannot take such an input."""


def _search(lr_low: float, lr_high: float, *, dropout_high: float = 0.6) -> SearchSpace:
    return {
        "lr": {"low": lr_low, "high": lr_high, "log": True},
        "momentum": {"low": 0.0, "high": 0.99},
        "dropout": {"low": 0.0, "high": dropout_high},
        "bn_momentum": {"low": 0.01, "high": 0.9},
    }


# The ranges are those over which most trials of plain SGD with momentum learn the default data.
CATALOG: dict[str, Card] = {
    "net": Card(
        build=Net,
        task="regression",
        data="noisy_square",
        summary="one hidden layer, as a class",
        epochs=60,
        batch_size=64,
        search=_search(1e-3, 0.3),
        from_data=vector_arguments,
    ),
    "quick_net": Card(
        build=quick_net,
        task="regression",
        data="noisy_square",
        summary="one hidden layer, built quickly as a Sequential",
        epochs=60,
        batch_size=64,
        search=_search(1e-3, 0.3),
        from_data=vector_arguments,
    ),
    "cnn": Card(
        build=CNN,
        task="classification",
        data="mnist5k",
        summary="two convolutions and a linear layer, for images",
        epochs=5,
        batch_size=64,
        search=_search(1e-4, 0.3),
        from_data=image_arguments,
    ),
    "lstm": Card(
        build=LSTM,
        task="classification",
        data="mnist5k",
        summary="an LSTM that reads an image row by row",
        epochs=6,
        batch_size=64,
        search=_search(1e-2, 1.0),
        from_data=row_arguments,
    ),
    "rnn": Card(
        build=RNN,
        task="regression",
        data="sine",
        summary="a simple RNN that follows a curve, its hidden state handed on",
        epochs=5,
        batch_size=1,
        search=_search(3e-4, 0.05),
        from_data=sequence_arguments,
    ),
    "overfitting_net": Card(
        build=overfitting_net,
        task="regression",
        data="noisy_line",
        summary="two wide hidden layers that overfit twenty points",
        epochs=100,
        batch_size=20,
        search=_search(1e-4, 0.03),
        from_data=vector_arguments,
    ),
    "dropout_net": Card(
        build=dropout_net,
        task="regression",
        data="noisy_line",
        summary="the same two wide layers, with dropout against overfitting",
        epochs=100,
        batch_size=20,
        search=_search(1e-4, 0.03),
        from_data=vector_arguments,
    ),
    "batchnorm_net": Card(
        build=BatchNormNet,
        task="regression",
        data="parabola",
        summary="eight narrow layers, badly initialised, with batch norm",
        epochs=12,
        batch_size=64,
        # Eight layers of ten units lose the signal at the usual dropout rates.
        search=_search(1e-4, 0.01, dropout_high=0.1),
        from_data=vector_arguments,
    ),
}


def hyperparameters(name: str) -> tuple[str, ...]:
    """Return what the model's constructor takes."""
    return tuple(inspect.signature(_card(name).build).parameters)


def build(name: str, /, **arguments: Any) -> nn.Module:
    """Return a freshly initialised model of the catalog."""
    takes = hyperparameters(name)
    for hyperparameter in arguments:
        if hyperparameter not in takes:
            raise ValueError(unknown(f"hyperparameter of model {name!r}", hyperparameter, takes))
    return CATALOG[name].build(**arguments)


def _card(name: str) -> Card:
    if name not in CATALOG:
        raise ValueError(unknown("model", name, CATALOG))
    return CATALOG[name]
