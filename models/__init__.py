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
    source: str
    """What the document of these models says of it: section, and how it is trained there."""
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
        source=(
            "“Building a network”: a class with a hidden layer, ReLU and a linear output; trained for 100"
            " steps by SGD, learning rate 0.2, on the mean squared error"
        ),
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
        source="“Quick building”: the same network, 1 - 10 - 1, as `torch.nn.Sequential`",
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
        source=(
            "“Convolutional networks”: twice convolution (5 x 5, padding 2), ReLU and max pooling, 16 and"
            " 32 filters, then one linear layer to 10 classes"
        ),
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
        source=(
            "“RNN classification”: an LSTM of 64 units reads an image row by row, 28 pixels each, and a "
            "linear layer judges its last output; it does much better there than a plain RNN"
        ),
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
        source=(
            "“RNN regression”: a plain RNN of 32 units with a linear layer at every time step; its hidden"
            " state is handed on from one stretch of the curve to the next"
        ),
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
        source="“Dropout against overfitting”: two wide hidden layers with ReLU, the network that overfits",
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
        source=(
            "“Dropout against overfitting”: the same network with dropout of 0.5 after each of the first "
            "two layers, switched off by `eval()` when it predicts"
        ),
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
        source=(
            "“Batch normalization”: eight layers of ten units whose weights begin too small (normal, "
            "0.1), each with batch norm of momentum 0.5 or without; what enters each layer and each "
            "activation is collected and drawn"
        ),
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
