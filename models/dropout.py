"""A net that overfits twenty points, and the same net with dropout against it."""

from torch import nn

from models.activations import activation_layer, between
from models.checks import check_sizes


def overfitting_net(
    n_feature: int = 1,
    n_hidden: int = 300,
    n_output: int = 1,
    activation: str = "relu",
    dropout: float = 0.0,
    bn_momentum: float | None = None,
) -> nn.Sequential:
    check_sizes(n_feature=n_feature, n_hidden=n_hidden, n_output=n_output)
    return nn.Sequential(
        nn.Linear(n_feature, n_hidden),
        between(n_hidden, activation, dropout, bn_momentum),
        nn.Linear(n_hidden, n_hidden),
        between(n_hidden, activation, dropout, bn_momentum),
        nn.Linear(n_hidden, n_output),
    )


def dropout_net(
    n_feature: int = 1,
    n_hidden: int = 300,
    n_output: int = 1,
    activation: str = "relu",
    dropout: float = 0.5,
    bn_momentum: float | None = None,
) -> nn.Sequential:
    check_sizes(n_feature=n_feature, n_hidden=n_hidden, n_output=n_output)
    return nn.Sequential(
        nn.Linear(n_feature, n_hidden),
        between(n_hidden, None, dropout, bn_momentum),  # drops half of the neurons
        activation_layer(activation),
        nn.Linear(n_hidden, n_hidden),
        between(n_hidden, None, dropout, bn_momentum),
        activation_layer(activation),
        nn.Linear(n_hidden, n_output),
    )
